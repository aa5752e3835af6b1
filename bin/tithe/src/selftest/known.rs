//! What earlier checks have learned, for those that build on them.

use super::ai::{Reply, Wire};
use super::bill::Bill;
use super::install::Credits;
use super::outcome::{Checked, Stop};
use serde_json::Value;
use tithe_ledger::credits::InstallId;
use tithe_lightning::{Bolt11, Preimage};
use tithe_money::{BtcPrice, Sats};
use tithe_paywall::Macaroon;
use tithe_paywall::payment::Challenge;
use tithe_trust::SecretKey;

/// Everything that is known.
#[derive(Default)]
pub(super) struct Known {
    pub(super) identity: Option<Identity>,
    pub(super) job: Option<Job>,
    pub(super) eval: Option<PaidBill>,
    pub(super) work: Option<Bill>,
    /// The price of bitcoin in the job's quote.
    pub(super) btc: Option<BtcPrice>,
    /// The text that the job's events delivered.
    pub(super) streamed: Option<String>,
    /// The finished job.
    pub(super) result: Option<super::answer::Answer>,
    pub(super) refundable: Option<Refundable>,
    pub(super) keyed: Option<Keyed>,
    pub(super) session: Option<Session>,
    /// The invoice of the session's deposit.
    pub(super) deposit: Option<Bill>,
    /// The macaroon of another session.
    pub(super) other_macaroon: Option<String>,
    /// A macaroon that was narrowed from the session's own, and used.
    pub(super) narrowed: Option<Macaroon>,
    pub(super) top_up: Option<Bill>,
    pub(super) closed_refund: Option<u64>,
    pub(super) bootstrap: Option<Bootstrap>,
    pub(super) included: Option<IncludedRequest>,
    pub(super) offer: Option<PaidOffer>,
    pub(super) payment_session: Option<PaymentSession>,
    pub(super) ai: Option<AiCustomer>,
}

/// An identity that has logged in.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) key: SecretKey,
    pub(super) token: String,
    /// The body of the login that gave the token.
    pub(super) login: Value,
}

/// A created job.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) claim_token: String,
    pub(super) created: super::answer::Answer,
}

/// A paid invoice.
#[derive(Clone)]
pub(super) struct PaidBill {
    pub(super) bill: Bill,
    pub(super) preimage: Preimage,
}

/// A refund that is due.
#[derive(Clone)]
pub(super) struct Refundable {
    /// The path of what is refunded.
    pub(super) path: String,
    pub(super) claim_token: String,
    pub(super) amount: Sats,
}

/// A request that was sent with an idempotency key.
#[derive(Clone)]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) job_id: String,
}

/// A session, and what should be in it.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) macaroon: String,
    pub(super) created: super::answer::Answer,
    /// The deposit, in sats.
    pub(super) deposit: u64,
    /// What was paid in so far, in msats.
    pub(super) paid_msats: u64,
    /// What was charged so far, in msats.
    pub(super) spent_msats: u64,
    /// The ids of its requests, oldest first.
    pub(super) requests: Vec<String>,
}

impl Session {
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/api/sessions/{}{rest}", self.id)
    }

    /// What should be left, in msats.
    pub(super) const fn balance_msats(&self) -> u64 {
        self.paid_msats.saturating_sub(self.spent_msats)
    }
}

/// A bootstrap.
#[derive(Clone)]
pub(super) struct Bootstrap {
    pub(super) path: String,
    pub(super) claim_token: String,
    pub(super) bill: Bill,
}

/// A request that the plan of an install included.
#[derive(Clone)]
pub(super) struct IncludedRequest {
    pub(super) install: InstallId,
    /// The idempotency key that it was sent with.
    pub(super) key: String,
    pub(super) body: Value,
    pub(super) reply: super::answer::Answer,
    /// What the install should have left.
    pub(super) left: Credits,
}

/// A customer of the AI API.
#[derive(Clone, Default)]
pub(super) struct AiCustomer {
    /// The model that is asked.
    pub(super) model: String,
    /// The balance before the first request, in msats.
    pub(super) before_msats: u64,
    /// The sum of what the answers said they cost, in msats.
    pub(super) said_msats: u64,
    /// What was asked, and can be repeated.
    pub(super) asked: Vec<AiAsked>,
}

/// A request of the AI API that was answered.
#[derive(Clone)]
pub(super) struct AiAsked {
    pub(super) wire: Wire,
    pub(super) body: Value,
    /// The idempotency key of a whole answer. A stream was asked for as SDKs do, which have none.
    pub(super) key: Option<String>,
    /// The id of its record.
    pub(super) id: String,
    pub(super) reply: Reply,
}

/// The offer of a request that is paid for by itself.
#[derive(Clone)]
pub(super) struct PaidOffer {
    pub(super) bill: Bill,
    /// The token of L402.
    pub(super) token: String,
    pub(super) body: Value,
    /// The preimage of the payment, and the answer that it has bought.
    pub(super) proof: Option<(String, super::answer::Answer)>,
}

/// A session of the scheme `Payment`.
#[derive(Clone)]
pub(super) struct PaymentSession {
    /// The challenge that its deposit was paid for.
    pub(super) challenge: Challenge,
    pub(super) deposit: Bill,
    pub(super) preimage: [u8; 32],
    /// The invoice that what is left is paid to.
    pub(super) return_invoice: Bolt11,
    /// What was paid in so far, in sats.
    pub(super) paid_sats: u64,
}

/// Something that an earlier check has learned.
pub(super) fn learned<T: Clone>(known: Option<&T>, what: &str) -> Checked<T> {
    known.cloned().ok_or_else(|| Stop::skip(format!("no earlier check has got {what}")))
}
