//! Every command as one enum, and every reply as another, so that cases and models can mix them and match on them.

mod reply;

pub use reply::Reply;

use reply::{
    abandoned, ask_begun, ask_ended, charged, consumed, credited, done, expired, issued, key_begun, nothing,
    posted,
};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::asks::{AskBegin, AskFinish, AskRelease, AskRenew};
use tithe_engine::books::{AnyCommand, Batch, Books, Post, Posting, Refusal, RowKeys, Rules};
use tithe_engine::charging::{
    Absorb, FinishedWork, HoldExpire, HoldPlace, HoldRelease, HoldRenew, Payer, WorkCharge,
};
use tithe_engine::credits::{CreditExpire, InstallsImport, LicenceRevoke};
use tithe_engine::idempotency::{IdempotencyBegin, IdempotencyFinish, IdempotencyRelease};
use tithe_engine::identities::{AuthNonceConsume, RequestSignature};
use tithe_engine::jobs::{
    EvaluationFinish, JobAbandon, JobCreate, JobOwner, Verdict, WorkFinish, WorkOutcome,
};
use tithe_engine::payments::{InvoiceExpire, InvoiceIssue, PaymentCredit};
use tithe_engine::pool::{GrantExpire, GrantRelease, GrantRenew, GrantReserve};
use tithe_engine::records::{AuthNonceId, AuthNonceKind, IdempotencyId, IdempotencyRequest, StoredResponse};
use tithe_free_tier::{GrantId, RequestHash, ReservationId};
use tithe_jobs::{Job, JobId, Lease, WorkPayment};
use tithe_ledger::{AccountId, HoldId};
use tithe_lightning::{Invoice, PaymentHash, ReceivedPayment};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;

/// A finished piece of work that the pool and an account pay for.
#[derive(Debug, Clone)]
pub struct Charge {
    /// The id of the work.
    pub id: GrantId,
    /// The account that pays what the pool does not.
    pub account: AccountId,
    /// The identity that the work was done for.
    pub identity: Option<NostrPubkey>,
    /// What the work cost.
    pub cost: Msats,
    /// The most that the pool may pay.
    pub absorb_most: Msats,
    /// The SHA-256 of the request.
    pub request_hash: RequestHash,
}

/// A command of the engine. The fields are those of the engine's commands, but for payments, whose owners are jobs here, and
/// for the settlements of finished work.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the engine's commands explain their fields")]
pub enum Command {
    JobCreate {
        job: Box<Job>,
        idempotency: Option<IdempotencyRequest>,
        instead_of: Option<JobId>,
    },
    InvoiceIssue {
        job: JobId,
        identity: Option<NostrPubkey>,
        invoice: Invoice,
        lease: Option<Lease>,
        finish: Option<(IdempotencyId, StoredResponse)>,
    },
    PaymentCredit {
        job: JobId,
        identity: Option<NostrPubkey>,
        payment: ReceivedPayment,
    },
    EvaluationFinish {
        job: JobId,
        identity: Option<NostrPubkey>,
        lease: Lease,
        verdict: Verdict,
    },
    WorkFinish {
        job: JobId,
        identity: Option<NostrPubkey>,
        lease: Lease,
        outcome: WorkOutcome,
    },
    InvoiceExpire {
        job: JobId,
        identity: Option<NostrPubkey>,
        invoice: PaymentHash,
    },
    JobAbandon {
        job: JobId,
    },
    HoldPlace {
        hold: HoldId,
        account: AccountId,
        amount: Msats,
        lease: Duration,
    },
    HoldRenew {
        hold: HoldId,
        account: AccountId,
        lease: Duration,
    },
    /// A settlement whose payer is a hold.
    HoldSettle {
        hold: HoldId,
        account: AccountId,
        cost: Msats,
    },
    HoldRelease {
        hold: HoldId,
        account: AccountId,
    },
    HoldExpire {
        hold: HoldId,
        account: AccountId,
    },
    /// A settlement whose payer is a balance.
    Charge(Charge),
    GrantReserve {
        reservation: ReservationId,
        identity: NostrPubkey,
        amount: Msats,
        lease: Duration,
    },
    GrantRenew {
        reservation: ReservationId,
        identity: NostrPubkey,
        lease: Duration,
    },
    /// A settlement that a reservation pays alone.
    GrantSettle {
        reservation: ReservationId,
        identity: NostrPubkey,
        cost: Msats,
        request_hash: RequestHash,
    },
    GrantRelease {
        reservation: ReservationId,
        identity: NostrPubkey,
    },
    GrantExpire {
        reservation: ReservationId,
        identity: NostrPubkey,
    },
    AuthNonceConsume {
        nonce: AuthNonceId,
        kind: AuthNonceKind,
        identity: NostrPubkey,
        expires_at: Timestamp,
    },
    Post(Posting),
    IdempotencyBegin(IdempotencyRequest),
    IdempotencyFinish {
        id: IdempotencyId,
        response: StoredResponse,
    },
    IdempotencyRelease {
        id: IdempotencyId,
    },
    AskBegin(Box<AskBegin>),
    AskRenew(AskRenew),
    AskFinish(Box<AskFinish>),
    AskRelease(AskRelease),
    CreditExpire(CreditExpire),
    InstallsImport(InstallsImport),
    LicenceRevoke(LicenceRevoke),
}

/// What became of a command.
pub type Outcome = Result<Reply, Refusal>;

/// Calls `$use` with the engine's command, of whatever type, and with how its reply is translated.
macro_rules! with_command {
    ($command:expr, $use:ident, $($arguments:tt)*) => {
        match $command.clone() {
            Command::JobCreate { job, idempotency, instead_of } => {
                $use!(JobCreate { job, idempotency, signature: RequestSignature(None), instead_of }, key_begun, $($arguments)*)
            }
            Command::InvoiceIssue { job, identity, invoice, lease, finish } => {
                let owner = Arc::new(JobOwner { job, identity, lease, work_payment: WorkPayment::Prepaid });
                $use!(InvoiceIssue { owner, invoice, finish }, issued, $($arguments)*)
            }
            Command::PaymentCredit { job, identity, payment } => {
                let owner = Arc::new(JobOwner { job, identity, lease: None, work_payment: WorkPayment::Prepaid });
                $use!(PaymentCredit { owner, payment }, credited, $($arguments)*)
            }
            Command::EvaluationFinish { job, identity, lease, verdict } => {
                $use!(EvaluationFinish { job, identity, lease, verdict }, Reply::JobMoved, $($arguments)*)
            }
            Command::WorkFinish { job, identity, lease, outcome } => {
                $use!(WorkFinish { job, identity, lease, outcome }, Reply::JobMoved, $($arguments)*)
            }
            Command::InvoiceExpire { job, identity, invoice } => {
                let owner = Arc::new(JobOwner { job, identity, lease: None, work_payment: WorkPayment::Prepaid });
                $use!(InvoiceExpire { owner, invoice }, expired, $($arguments)*)
            }
            Command::JobAbandon { job } => $use!(JobAbandon { job }, abandoned, $($arguments)*),
            Command::HoldPlace { hold, account, amount, lease } => {
                $use!(HoldPlace { hold, account, amount, lease }, Reply::Hold, $($arguments)*)
            }
            Command::HoldRenew { hold, account, lease } => {
                $use!(HoldRenew { hold, account, lease }, Reply::Hold, $($arguments)*)
            }
            Command::HoldSettle { hold, account, cost } => {
                $use!(hold_settle(hold, account, cost), charged, $($arguments)*)
            }
            Command::HoldRelease { hold, account } => {
                $use!(HoldRelease { hold, account }, Reply::Hold, $($arguments)*)
            }
            Command::HoldExpire { hold, account } => {
                $use!(HoldExpire { hold, account }, Reply::Hold, $($arguments)*)
            }
            Command::Charge(charge) => $use!(work_charge(&charge), charged, $($arguments)*),
            Command::GrantReserve { reservation, identity, amount, lease } => {
                let reserve = GrantReserve { reservation, identity, amount, lease };
                $use!(reserve, Reply::Reservation, $($arguments)*)
            }
            Command::GrantRenew { reservation, identity, lease } => {
                $use!(GrantRenew { reservation, identity, lease }, Reply::Reservation, $($arguments)*)
            }
            Command::GrantSettle { reservation, identity, cost, request_hash } => {
                $use!(grant_settle(reservation, identity, cost, request_hash), charged, $($arguments)*)
            }
            Command::GrantRelease { reservation, identity } => {
                $use!(GrantRelease { reservation, identity }, Reply::Reservation, $($arguments)*)
            }
            Command::GrantExpire { reservation, identity } => {
                $use!(GrantExpire { reservation, identity }, Reply::Reservation, $($arguments)*)
            }
            Command::AuthNonceConsume { nonce, kind, identity: pubkey, expires_at } => {
                $use!(AuthNonceConsume { nonce, kind, pubkey, expires_at }, consumed, $($arguments)*)
            }
            Command::Post(posting) => $use!(Post(posting), posted, $($arguments)*),
            Command::IdempotencyBegin(request) => {
                $use!(IdempotencyBegin { request, signature: RequestSignature(None) }, key_begun, $($arguments)*)
            }
            Command::IdempotencyFinish { id, response } => {
                $use!(IdempotencyFinish { id, response }, done, $($arguments)*)
            }
            Command::IdempotencyRelease { id } => $use!(IdempotencyRelease { id, subject: None }, done, $($arguments)*),
            Command::AskBegin(begin) => $use!(*begin, ask_begun, $($arguments)*),
            Command::AskRenew(renew) => $use!(renew, nothing, $($arguments)*),
            Command::AskFinish(finish) => $use!(*finish, ask_ended, $($arguments)*),
            Command::AskRelease(release) => $use!(release, nothing, $($arguments)*),
            Command::CreditExpire(expire) => $use!(expire, nothing, $($arguments)*),
            Command::InstallsImport(import) => $use!(import, Reply::Imported, $($arguments)*),
            Command::LicenceRevoke(revoke) => $use!(revoke, Reply::Revoked, $($arguments)*),
        }
    };
}

macro_rules! declare {
    ($command:expr, $translate:expr, $keys:ident) => {
        $command.declare($keys)
    };
}

macro_rules! decide {
    ($command:expr, $translate:expr, $books:ident) => {
        $command.decide($books).map($translate)
    };
}

macro_rules! name {
    ($command:expr, $translate:expr,) => {
        name_of(&$command)
    };
}

fn name_of<C: tithe_engine::books::Command>(_: &C) -> &'static str {
    C::NAME
}

impl tithe_engine::books::Command for Command {
    type Reply = Reply;
    const NAME: &'static str = "any";

    fn declare(&self, keys: &mut RowKeys) {
        with_command!(self, declare, keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Outcome {
        with_command!(self, decide, books)
    }
}

impl Command {
    /// The engine's name of the command.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            // Three shapes of one command, which tests tell apart.
            Self::HoldSettle { .. } => "hold_settle",
            Self::GrantSettle { .. } => "grant_settle",
            Self::Charge(_) => "charge",
            other => with_command!(other, name,),
        }
    }
}

/// A batch of these commands, decided by the default rules.
#[must_use]
pub fn batch(commands: Vec<Command>, now: Timestamp) -> Batch {
    batch_under(Arc::default(), commands, now)
}

/// A batch of these commands, decided by these rules.
#[must_use]
pub fn batch_under(rules: Arc<Rules>, commands: Vec<Command>, now: Timestamp) -> Batch {
    Batch::under(rules, commands.into_iter().map(AnyCommand::from).collect(), now)
}

/// The commands of a batch that was made of [`Command`]s.
#[must_use]
pub fn commands(batch: &Batch) -> Vec<Command> {
    let command = |any: &AnyCommand| any.downcast::<Command>().expect("a command of the suite").clone();
    batch.commands().map(command).collect()
}

/// The outcomes of a batch that was made of [`Command`]s.
#[must_use]
pub fn outcomes(outcomes: Vec<tithe_engine::books::Outcome>) -> Vec<Outcome> {
    let reply = |any: tithe_engine::books::AnyReply| any.downcast::<Reply>().expect("a reply of the suite");
    outcomes.into_iter().map(|outcome| outcome.map(reply)).collect()
}

fn hold_settle(hold: HoldId, account: AccountId, cost: Msats) -> WorkCharge {
    let payer = Payer::Hold { hold, account };
    let request_hash = RequestHash::of("a held request");
    let (id, identity, absorb) = (hold.0, None, Absorb::Nothing);
    WorkCharge(FinishedWork { id, identity, cost, limit: cost, absorb, payer, request_hash })
}

fn work_charge(charge: &Charge) -> WorkCharge {
    let Charge { id, account, identity, cost, absorb_most, request_hash } = *charge;
    let (absorb, payer) = (Absorb::UpTo(absorb_most), Payer::Balance(account));
    WorkCharge(FinishedWork { id: id.0, identity, cost, limit: cost, absorb, payer, request_hash })
}

fn grant_settle(
    reservation: ReservationId,
    identity: NostrPubkey,
    cost: Msats,
    request_hash: RequestHash,
) -> WorkCharge {
    let (absorb, payer) = (Absorb::Reserved(reservation), Payer::Nobody);
    let (id, identity) = (reservation.0, Some(identity));
    WorkCharge(FinishedWork { id, identity, cost, limit: cost, absorb, payer, request_hash })
}
