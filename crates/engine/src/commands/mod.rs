//! Commands: every use case that moves money, or takes a state's next step together with money, is one of these.

mod batch;
mod keys;

pub use batch::Batch;
pub use keys::LockKeys;

use crate::idempotency::{IdempotencyId, IdempotencyRequest, StoredAnswer};
use crate::proof::{ProofId, ProofKind};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_free_tier::{Decision, FreeTierError, GrantId, RequestHash, Reservation, ReservationId, Standing};
use tithe_jobs::{InvalidTransition, Job, JobId, Lease, WorkTerms};
use tithe_ledger::{AccountId, Hold, HoldId, LedgerError, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceError, PaymentHash, Settlement};
use tithe_money::{MoneyError, Msats};
use tithe_pricing::Usage;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// How an evaluation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The request is accepted on these terms.
    Accepted(WorkTerms),
    /// The request is refused, for this reason.
    Rejected(String),
    /// It could not be evaluated; the message may be shown.
    Failed(String),
}

/// How work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkOutcome {
    /// It is done.
    Completed {
        /// The answer.
        text: Arc<str>,
        /// What it used.
        usage: Usage,
    },
    /// It could not be done.
    Failed {
        /// Why, in words that may be shown.
        message: String,
        /// Whose fault it was.
        fault: Fault,
    },
}

/// Whose fault it is that work failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server's, or its backend's.
    Server,
    /// The request's: the backend took it for one that nobody should ask.
    Request,
}

/// A piece of finished work that the pool and an account pay for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Which piece of work: what makes it happen once.
    pub id: GrantId,
    /// Who pays what the pool does not. Guarded.
    pub account: AccountId,
    /// Who asked; the pool pays for nobody else.
    pub identity: Option<NostrPubkey>,
    /// What the work cost.
    pub cost: Msats,
    /// The most that the pool may pay of it.
    pub absorb_most: Msats,
    /// What was asked.
    pub request_hash: RequestHash,
}

/// A movement of money by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// What makes it happen once.
    pub key: TransferKey,
    /// Where the money comes from.
    pub debit: AccountId,
    /// Where it goes.
    pub credit: AccountId,
    /// How much.
    pub amount: Msats,
    /// Why.
    pub kind: TransferKind,
    /// What it is about.
    pub reference: Uuid,
}

/// One atomic change. It is accepted whole, refused whole, or answered from its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Writes a new job down, before anything is asked of the wallet.
    JobCreate {
        /// The job, new.
        job: Box<Job>,
        /// The client's key, if it gave one.
        idempotency: Option<IdempotencyRequest>,
        /// What the key had made, when that was given up before anybody was shown it.
        instead_of: Option<JobId>,
    },
    /// Writes a job's invoice down, which the wallet has made, and moves the job on.
    InvoiceIssue {
        /// Whose.
        job: JobId,
        /// The invoice.
        invoice: Invoice,
        /// The claim under which it was made, for a work invoice.
        lease: Option<Lease>,
        /// The key that the job was asked for with, and the answer to keep for it.
        finish: Option<(IdempotencyId, StoredAnswer)>,
    },
    /// Credits a payment that the wallet has received, once, and moves the job on.
    PaymentCredit {
        /// Whose invoice it is.
        job: JobId,
        /// The job's identity.
        identity: Option<NostrPubkey>,
        /// The payment.
        settlement: Settlement,
    },
    /// Ends a job's evaluation and earns its fee. What the pool is to pay of accepted work is decided here, and reserved.
    EvaluationFinish {
        /// Which job.
        job: JobId,
        /// The job's identity.
        identity: Option<NostrPubkey>,
        /// The claim under which it ran.
        lease: Lease,
        /// How it ended.
        verdict: Verdict,
    },
    /// Ends a job's work: settles its reservation, charges it with the tithe, accrues the refund, and feeds the score.
    WorkFinish {
        /// Which job.
        job: JobId,
        /// The job's identity.
        identity: Option<NostrPubkey>,
        /// The claim under which it ran.
        lease: Lease,
        /// How it ended.
        outcome: WorkOutcome,
    },
    /// Gives an unpaid invoice up, and with it the job that waits for it and what is reserved for that.
    InvoiceLapse {
        /// Whose.
        job: JobId,
        /// The job's identity.
        identity: Option<NostrPubkey>,
        /// Which.
        invoice: PaymentHash,
    },
    /// Gives a job up whose evaluation invoice never came to be.
    JobAbandon {
        /// Which.
        job: JobId,
    },
    /// Sets an amount aside on a guarded account.
    HoldPlace {
        /// What to call it.
        hold: HoldId,
        /// Where.
        account: AccountId,
        /// How much.
        amount: Msats,
        /// For how long, unless renewed.
        lease: Duration,
    },
    /// Extends a hold's lease.
    HoldRenew {
        /// Which.
        hold: HoldId,
        /// Where it is.
        account: AccountId,
        /// For how long from now.
        lease: Duration,
    },
    /// Charges what held work has cost, and gives back the rest.
    HoldSettle {
        /// Which.
        hold: HoldId,
        /// Where it is.
        account: AccountId,
        /// What the work cost.
        cost: Msats,
    },
    /// Gives a hold back: the work was not done.
    HoldRelease {
        /// Which.
        hold: HoldId,
        /// Where it is.
        account: AccountId,
    },
    /// Gives a hold back because its lease has run out.
    HoldExpire {
        /// Which.
        hold: HoldId,
        /// Where it is.
        account: AccountId,
    },
    /// Charges finished work, once: the pool pays what the identity's day and the pool allow, the account the rest, of which
    /// the tithe goes into the pool.
    Charge(Charge),
    /// Reserves the whole price of work that the pool is to pay.
    GrantReserve {
        /// What to call it.
        reservation: ReservationId,
        /// For whom.
        identity: NostrPubkey,
        /// How much.
        amount: Msats,
        /// For how long, unless renewed.
        lease: Duration,
    },
    /// Extends a reservation's lease.
    GrantRenew {
        /// Which.
        reservation: ReservationId,
        /// Whose.
        identity: NostrPubkey,
        /// For how long from now.
        lease: Duration,
    },
    /// Grants what reserved work has cost, and gives back the rest.
    GrantSettle {
        /// Which.
        reservation: ReservationId,
        /// Whose.
        identity: NostrPubkey,
        /// What the work cost.
        cost: Msats,
        /// What was asked.
        request_hash: RequestHash,
    },
    /// Gives a reservation back: the work was not done.
    GrantRelease {
        /// Which.
        reservation: ReservationId,
        /// Whose.
        identity: NostrPubkey,
    },
    /// Gives a reservation back because its lease has run out.
    GrantLapse {
        /// Which.
        reservation: ReservationId,
        /// Whose.
        identity: NostrPubkey,
    },
    /// Uses a proof of identity, once. Who logs in and is known is seen; a stranger gets a row with the first job.
    ProofUse {
        /// Which.
        proof: ProofId,
        /// What it proves.
        kind: ProofKind,
        /// Whose key.
        identity: NostrPubkey,
        /// From when on it is not valid anyway.
        expires_at: Timestamp,
    },
    /// Moves money, once per key.
    Post(Posting),
    /// Begins a keyed request that has no command of its own.
    IdempotencyBegin(IdempotencyRequest),
    /// Keeps the answer to a keyed request.
    IdempotencyFinish {
        /// The key.
        id: IdempotencyId,
        /// The answer.
        answer: StoredAnswer,
    },
    /// Lets a keyed request be taken up again at once: it failed in a way that a retry may mend.
    IdempotencyRelease {
        /// The key.
        id: IdempotencyId,
    },
}

/// What an accepted command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// The same had been done before; nothing changed.
    AlreadyDone,
    /// The key was answered before; nothing changed.
    Replayed(StoredAnswer),
    /// The key's request was begun by somebody who died; it is ours now, with what they had made.
    Resumed {
        /// What they had made.
        subject: Option<Uuid>,
    },
    /// The job has moved on to this.
    JobMoved(Box<Job>),
    /// The hold is now this.
    Hold(Hold),
    /// The reservation is now this.
    Reservation(Reservation),
    /// Work was paid for.
    Charged {
        /// What the pool paid.
        absorbed: Msats,
        /// What the account paid.
        charged: Msats,
    },
    /// The identity stands so.
    Standing(Box<Standing>),
    /// The hold was settled.
    HoldSettled {
        /// What the account paid.
        charged: Msats,
        /// What it could not pay.
        uncollected: Msats,
    },
}

/// Why a command was refused. Nothing has changed, and no other command was disturbed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such job.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// There is no such invoice.
    #[error("there is no invoice {0}")]
    NoSuchInvoice(PaymentHash),
    /// There is no such hold.
    #[error("there is no hold {0}")]
    NoSuchHold(HoldId),
    /// Something of that id exists already.
    #[error("{0} exists already")]
    Exists(String),
    /// The invoice is another job's.
    #[error("the invoice {0} is not this job's")]
    OtherOwner(PaymentHash),
    /// Somebody else works on the job now.
    #[error("job {0} was taken over by another worker")]
    LeaseLost(JobId),
    /// The key came with another request before.
    #[error("this Idempotency-Key was used with another request")]
    IdempotencyKeyReused,
    /// The first request of this key still runs.
    #[error("the first request with this Idempotency-Key is still being answered")]
    RequestInProgress,
    /// There is no such reservation.
    #[error("there is no reservation {0}")]
    NoSuchReservation(ReservationId),
    /// The job is not of this identity.
    #[error("job {0} is not of the identity that the command names")]
    OtherIdentity(JobId),
    /// The pool does not pay for all of it.
    #[error("the pool pays {} of it, not all", .0.absorb)]
    NotFree(Decision),
    /// The proof was used before.
    #[error("this proof of identity was used before")]
    ProofUsed,
    /// The free tier says no.
    #[error(transparent)]
    FreeTier(#[from] FreeTierError),
    /// The job cannot take that step.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// The invoice cannot change so.
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    /// The ledger says no.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An amount left its range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What a command comes to.
pub type Outcome = Result<Answer, Refusal>;

impl Command {
    /// What it is called in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::JobCreate { .. } => "job_create",
            Self::InvoiceIssue { .. } => "invoice_issue",
            Self::PaymentCredit { .. } => "payment_credit",
            Self::EvaluationFinish { .. } => "evaluation_finish",
            Self::WorkFinish { .. } => "work_finish",
            Self::InvoiceLapse { .. } => "invoice_lapse",
            Self::JobAbandon { .. } => "job_abandon",
            Self::HoldPlace { .. } => "hold_place",
            Self::HoldRenew { .. } => "hold_renew",
            Self::HoldSettle { .. } => "hold_settle",
            Self::HoldRelease { .. } => "hold_release",
            Self::HoldExpire { .. } => "hold_expire",
            Self::Charge(_) => "charge",
            Self::GrantReserve { .. } => "grant_reserve",
            Self::GrantRenew { .. } => "grant_renew",
            Self::GrantSettle { .. } => "grant_settle",
            Self::GrantRelease { .. } => "grant_release",
            Self::GrantLapse { .. } => "grant_lapse",
            Self::ProofUse { .. } => "proof_use",
            Self::Post(_) => "post",
            Self::IdempotencyBegin(_) => "idempotency_begin",
            Self::IdempotencyFinish { .. } => "idempotency_finish",
            Self::IdempotencyRelease { .. } => "idempotency_release",
        }
    }
}

impl Charge {
    /// The key of the first transfer that it makes, whatever that is: once it is there, the work was paid for.
    pub(crate) fn key(&self) -> TransferKey {
        TransferKey::new(format!("work:{}", self.id))
    }
}
