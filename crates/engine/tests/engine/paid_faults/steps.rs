//! The table: every call into the world from the offer of a request to the end of its payment, and what goes wrong with it.

use crate::fault_columns::{
    COMMIT, CONNECT, DO, DO_OR_LIE, LOOK, LOOK_LATE, PART, address, backend, database, upstream, wallet,
};
use crate::scene::{Call, CallFault, When};
use CallFault::{Away, Dies, Lost, Refused};
use When::{After, Before};

/// What a customer does while nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Pays, sends the request with the proof, and claims what the answer did not cost.
    Buys,
    /// The same, and the wallet reports no payments by itself: they must be looked up.
    BuysUnreported,
    /// Pays, and claims the money without having sent the request.
    Claims,
    /// Pays, and does not come back before the payment has expired; claims it then.
    Leaves,
    /// Pays when the invoice has expired, and sends the request then.
    PaysLate,
    /// Buys the answer to a text, which is evaluated first.
    BuysText,
    /// Buys embeddings.
    BuysEmbeddings,
    /// Buys a call of the service behind a mounted route. What the service may have done is not done again.
    BuysCall,
    /// Pays a deposit of the scheme `Payment`, opens its session with a request, has another done, tops it up with a second deposit, and
    /// closes it.
    Spends,
}

impl Flow {
    pub const ALL: [Self; 9] = [
        Self::Buys,
        Self::BuysUnreported,
        Self::Claims,
        Self::Leaves,
        Self::PaysLate,
        Self::BuysText,
        Self::BuysEmbeddings,
        Self::BuysCall,
        Self::Spends,
    ];

    /// Whether the customer sends the request, so that it can be sent again or claimed.
    pub const fn is_sent(self) -> bool {
        !matches!(self, Self::Claims | Self::Leaves)
    }

    /// Whether the request costs what it was quoted at, so that nothing of it is refunded once it is answered.
    pub const fn is_fixed_price(self) -> bool {
        matches!(self, Self::BuysEmbeddings | Self::BuysCall)
    }

    /// Whether the wallet reports the payment by itself.
    pub const fn is_reported(self) -> bool {
        !matches!(self, Self::BuysUnreported | Self::Claims | Self::PaysLate)
    }
}

/// What the customer does once something has gone wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Sends the same again.
    Repeats,
    /// Wants the money.
    Claims,
}

/// A call of a flow, and what goes wrong with it, one fault at a time.
pub struct Step {
    /// What the call does, for whoever reads a failure.
    pub what: &'static str,
    pub flow: Flow,
    pub call: Call,
    /// Which of these calls, counted from 1.
    pub nth: u32,
    /// Which server makes it: the first, or, after the death of that, the second.
    pub server: usize,
    /// What has gone wrong at the first server, and makes this step necessary.
    pub after: Option<(Call, CallFault)>,
    /// The customers that come to this step; `None` means all.
    pub only: Option<Then>,
    pub faults: &'static [CallFault],
}

const fn step(what: &'static str, flow: Flow, call: Call, faults: &'static [CallFault]) -> Step {
    Step { what, flow, call, nth: 1, server: 0, after: None, only: None, faults }
}

pub const STEPS: &[Step] = &[
    // The offer.
    step("the offer is recorded", Flow::Buys, database("session_create"), COMMIT),
    step("the invoice is made", Flow::Buys, wallet("invoice_create"), DO),
    step("the invoice is recorded", Flow::Buys, database("invoice_issue"), COMMIT),
    // The payment arrives.
    step("payments are listened to", Flow::Buys, wallet("payments_received"), LOOK),
    step("held payments are listened to", Flow::Buys, wallet("payments_held"), LOOK),
    step("the reported payment is credited", Flow::Buys, database("payment_credit"), COMMIT),
    step("the payment is looked up for its proof", Flow::BuysUnreported, wallet("invoice_status"), LOOK_LATE),
    step(
        "the payment that was looked up is credited",
        Flow::BuysUnreported,
        database("payment_credit"),
        COMMIT,
    ),
    step("the payment is looked up for a claim", Flow::Claims, wallet("invoice_status"), LOOK_LATE),
    step("the invoice expires", Flow::PaysLate, database("invoice_expire"), COMMIT),
    step("the late payment is credited", Flow::PaysLate, database("payment_credit"), COMMIT),
    // The work.
    step("the request begins", Flow::Buys, database("session_request_begin"), COMMIT),
    step("the backend begins", Flow::Buys, backend("stream"), DO),
    step("the answer begins", Flow::Buys, backend("event"), PART),
    Step { nth: 3, ..step("the answer goes on", Flow::Buys, backend("event"), PART) },
    Step { nth: 4, ..step("the answer ends", Flow::Buys, backend("event"), PART) },
    step("a text is evaluated", Flow::BuysText, backend("complete"), DO),
    step("texts are embedded", Flow::BuysEmbeddings, backend("embed"), DO),
    step("the answer is charged and stored", Flow::Buys, database("session_request_finish"), COMMIT),
    step("the service is connected to", Flow::BuysCall, upstream("is_reachable"), CONNECT),
    step("the call begins", Flow::BuysCall, database("session_request_begin"), COMMIT),
    step("the service is called", Flow::BuysCall, upstream("call"), DO),
    step("the call is charged and stored", Flow::BuysCall, database("session_request_finish"), COMMIT),
    // A session of the scheme `Payment`.
    step("the session is opened", Flow::Spends, database("session_open"), COMMIT),
    step("the request that opens it begins", Flow::Spends, database("session_request_begin"), COMMIT),
    Step {
        nth: 2,
        ..step("the second request begins", Flow::Spends, database("session_request_begin"), COMMIT)
    },
    Step {
        nth: 2,
        ..step("the second answer is charged", Flow::Spends, database("session_request_finish"), COMMIT)
    },
    Step { nth: 2, ..step("the top-up is credited", Flow::Spends, database("payment_credit"), COMMIT) },
    step("the top-up is moved to the session", Flow::Spends, database("session_top_up_move"), COMMIT),
    step("the session is closed", Flow::Spends, database("session_close"), COMMIT),
    step("the refund to the return invoice begins", Flow::Spends, database("payout_begin"), COMMIT),
    step("the refund is sent to the return invoice", Flow::Spends, wallet("payment_send"), DO_OR_LIE),
    step("the refund to the return invoice is booked", Flow::Spends, database("payout_finish"), COMMIT),
    // The refund becomes due.
    step("the rest is claimed", Flow::Buys, database("session_close"), COMMIT),
    step("all of it is claimed", Flow::Claims, database("session_close"), COMMIT),
    step("the payment expires", Flow::Leaves, database("session_expire"), COMMIT),
    step("what has expired is claimed", Flow::Leaves, database("session_close"), COMMIT),
    // The refund is paid.
    step("the wallet is asked whether it works", Flow::Buys, wallet("balance"), LOOK),
    step("the address is asked for an invoice", Flow::Buys, address(), DO),
    step("the refund is looked up before it is paid", Flow::Buys, wallet("payment_status"), LOOK),
    step("the refund begins", Flow::Buys, database("payout_begin"), COMMIT),
    step("the refund is sent", Flow::Buys, wallet("payment_send"), DO_OR_LIE),
    step("the refund is booked", Flow::Buys, database("payout_finish"), COMMIT),
    // After a fault.
    Step {
        nth: 2,
        after: Some((wallet("payment_send"), Lost { happens: true })),
        ..step(
            "the refund whose outcome is not known is looked up",
            Flow::Buys,
            wallet("payment_status"),
            LOOK_LATE,
        )
    },
    Step {
        nth: 2,
        after: Some((wallet("payment_send"), Lost { happens: false })),
        ..step(
            "the refund that has not been sent is looked up",
            Flow::Buys,
            wallet("payment_status"),
            LOOK_LATE,
        )
    },
    Step {
        nth: 2,
        after: Some((wallet("payment_send"), Lost { happens: true })),
        ..step("that its outcome is not known is recorded", Flow::Buys, database("payout_finish"), COMMIT)
    },
    Step {
        after: Some((backend("event"), Lost { happens: true })),
        ..step("the failure of the work is recorded", Flow::Buys, database("session_request_finish"), COMMIT)
    },
    Step {
        after: Some((backend("event"), Lost { happens: true })),
        ..step("what the failed work has cost is recorded", Flow::Buys, database("post"), COMMIT)
    },
    Step {
        after: Some((backend("event"), Lost { happens: true })),
        ..step(
            "the key of the failed request is released",
            Flow::Buys,
            database("idempotency_release"),
            COMMIT,
        )
    },
    Step {
        after: Some((upstream("call"), Lost { happens: true })),
        ..step(
            "that the outcome of a call is not known is recorded",
            Flow::BuysCall,
            database("session_request_finish"),
            COMMIT,
        )
    },
    Step {
        after: Some((upstream("call"), Lost { happens: true })),
        ..step("what the lost call may have cost is recorded", Flow::BuysCall, database("post"), COMMIT)
    },
    Step {
        after: Some((upstream("call"), Refused)),
        ..step(
            "the key of the failed call is released",
            Flow::BuysCall,
            database("idempotency_release"),
            COMMIT,
        )
    },
    Step {
        after: Some((address(), Away)),
        ..step("the refund is put off", Flow::Buys, database("payout_defer"), COMMIT)
    },
    // After a death: what the dead server has begun is ended by another one.
    Step {
        server: 1,
        after: Some((backend("event"), Dies(Before))),
        ..step(
            "the request of a dead server is ended",
            Flow::Buys,
            database("session_request_abandon"),
            COMMIT,
        )
    },
    Step {
        server: 1,
        after: Some((backend("complete"), Dies(Before))),
        ..step(
            "the request of a session's dead server is ended",
            Flow::Spends,
            database("session_request_abandon"),
            COMMIT,
        )
    },
    Step {
        server: 1,
        after: Some((wallet("payment_send"), Dies(After))),
        ..step(
            "the refund that a dead server has sent to the return invoice is looked up",
            Flow::Spends,
            wallet("payment_status"),
            LOOK_LATE,
        )
    },
    Step {
        server: 1,
        after: Some((upstream("call"), Dies(After))),
        ..step(
            "the call of a dead server is ended",
            Flow::BuysCall,
            database("session_request_abandon"),
            COMMIT,
        )
    },
    Step {
        server: 1,
        only: Some(Then::Repeats),
        after: Some((database("session_request_finish"), Dies(Before))),
        ..step("the request is begun again", Flow::Buys, database("session_request_begin"), COMMIT)
    },
    Step {
        server: 1,
        only: Some(Then::Repeats),
        after: Some((database("session_request_finish"), Dies(Before))),
        ..step(
            "the second answer is charged and stored",
            Flow::Buys,
            database("session_request_finish"),
            COMMIT,
        )
    },
    Step {
        server: 1,
        after: Some((wallet("payment_send"), Dies(Before))),
        ..step(
            "the refund that a dead server has not sent is looked up",
            Flow::Buys,
            wallet("payment_status"),
            LOOK_LATE,
        )
    },
    Step {
        server: 1,
        after: Some((wallet("payment_send"), Dies(Before))),
        ..step(
            "the refund that a dead server has not sent is sent",
            Flow::Buys,
            wallet("payment_send"),
            DO_OR_LIE,
        )
    },
    Step {
        server: 1,
        after: Some((wallet("payment_send"), Dies(After))),
        ..step(
            "the refund that a dead server has sent is looked up",
            Flow::Buys,
            wallet("payment_status"),
            LOOK_LATE,
        )
    },
    Step {
        server: 1,
        after: Some((wallet("payment_send"), Dies(After))),
        ..step(
            "the refund that a dead server has sent is booked",
            Flow::Buys,
            database("payout_finish"),
            COMMIT,
        )
    },
];
