//! What the naive reference keeps: amounts in msats, times in microseconds, scores in thousandths of a point.

use super::installs::{Left, RefCredit};
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_jobs::{Lease, WorkTerms};
use tithe_ledger::AccountId;
use tithe_lightning::{InvoiceChange, PaymentHash};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Done,
    AlreadyDone,
    JobMoved(RefJobView),
    Reserved(RefReservation),
    Held(RefHold),
    Seen(Person),
    Credited(InvoiceChange),
    Charged {
        absorbed: i128,
        charged: i128,
        uncollected: i128,
    },
    Credit(RefCredit),
    /// A plain request was answered, or rejected: what it cost, what the pool paid, and what its install has left.
    Answered {
        rejected: bool,
        cost: i128,
        absorbed: i128,
        left: Option<Left>,
    },
    /// How many installs were added, and how many existed.
    Imported(usize, usize),
    /// When the licence was revoked.
    Revoked(i128),
    Refused(&'static str),
}

impl Said {
    /// The kind of the reply, for the count of what was met.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Done => "Done".to_owned(),
            Self::AlreadyDone => "AlreadyDone".to_owned(),
            Self::JobMoved(_) => "JobMoved".to_owned(),
            Self::Reserved(_) => "Reserved".to_owned(),
            Self::Held(_) => "Held".to_owned(),
            Self::Seen(_) => "Seen".to_owned(),
            Self::Credited(arrival) => format!("{arrival:?}"),
            Self::Charged { .. } => "Charged".to_owned(),
            Self::Credit(credit) => if credit.cloud { "cloud" } else { "hardware" }.to_owned(),
            Self::Answered { rejected: true, .. } => "rejected".to_owned(),
            Self::Answered { absorbed: 0, .. } => "answered".to_owned(),
            Self::Answered { .. } => "answered, paid by the pool".to_owned(),
            Self::Imported(added, kept) => format!("{added} added, {kept} kept"),
            Self::Revoked(_) => "Revoked".to_owned(),
            Self::Refused(why) => format!("refused: {why}"),
        }
    }
}

/// The fate of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldFate {
    HeldUntil(i128),
    Settled(i128),
    Released,
    Expired,
    ChargedLate(i128),
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefHold {
    pub(super) account: AccountId,
    pub(super) amount: i128,
    pub(super) fate: HoldFate,
    pub(super) created: i128,
    pub(super) updated: i128,
}

/// What can be seen of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefJobView {
    pub(super) who: Option<NostrPubkey>,
    pub(super) state: &'static str,
    pub(super) refund_sats: i128,
    /// What the work is to cost at most, and the customer's part of it, in sats.
    pub(super) price: Option<(i128, i128)>,
    /// What the pool and the customer have paid for the work.
    pub(super) bill: Option<(i128, i128)>,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) score: i128,
    pub(super) gained: i128,
    pub(super) gains_end: Option<i128>,
    pub(super) away_since: i128,
    pub(super) interactions: i128,
    pub(super) last_seen: i128,
    pub(super) created: i128,
    pub(super) updated: i128,
    pub(super) absorbed: i128,
    pub(super) day_ends: Option<i128>,
    pub(super) reserved: i128,
    pub(super) offer: Option<Uuid>,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Offered,
    HeldByJob,
    HeldUntil(i128),
    Settled(i128),
    Released,
    Lapsed,
    DoneLate(i128),
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefReservation {
    pub(super) who: NostrPubkey,
    pub(super) amount: i128,
    pub(super) budget: i128,
    pub(super) used_after: i128,
    pub(super) fate: Fate,
    pub(super) created: i128,
    pub(super) updated: i128,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefGrant {
    pub(super) who: NostrPubkey,
    pub(super) absorbed: i128,
    pub(super) pool_after: i128,
    pub(super) at: i128,
}

pub(super) fn micros(at: Timestamp) -> i128 {
    at.unix_micros().into()
}

impl Person {
    pub(super) fn new(now: i128) -> Self {
        Self {
            score: 0,
            gained: 0,
            gains_end: None,
            away_since: now,
            interactions: 0,
            last_seen: now,
            created: now,
            updated: now,
            absorbed: 0,
            day_ends: None,
            reserved: 0,
            offer: None,
        }
    }

    /// What counts against the budget.
    pub(super) fn used(&self, now: i128) -> i128 {
        let over = self.day_ends.is_some_and(|end| end <= now);
        self.reserved + if over { 0 } else { self.absorbed }
    }
}

/// An invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefInvoice {
    pub(super) job: Uuid,
    pub(super) asked: i128,
    pub(super) expires: i128,
    pub(super) state: &'static str,
}

/// A job.
#[derive(Debug, Clone)]
pub(super) struct RefJob {
    pub(super) who: Option<NostrPubkey>,
    pub(super) state: &'static str,
    pub(super) refund_sats: i128,
    /// What the pool and the customer have paid for the work.
    pub(super) bill: Option<(i128, i128)>,
    /// What the work is to cost at most, and the customer's part of it, in sats.
    pub(super) price: Option<(i128, i128)>,
    pub(super) fee: i128,
    pub(super) work: Option<Arc<WorkTerms>>,
    pub(super) eval_invoice: Option<PaymentHash>,
    pub(super) work_invoice: Option<PaymentHash>,
    /// Which claim it is worked on under, if anybody works on it: the model lets each be claimed once, for good.
    pub(super) claim: Option<u32>,
}

impl RefJob {
    pub(super) fn view(&self) -> RefJobView {
        let Self { who, state, refund_sats, price, bill, .. } = self;
        RefJobView { who: *who, state, refund_sats: *refund_sats, price: *price, bill: *bill }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, "rejected" | "complete" | "failed" | "expired")
    }

    pub(super) fn is_under(&self, lease: &Lease) -> bool {
        lease.owner.is_some() && self.claim == Some(lease.claims)
    }
}
