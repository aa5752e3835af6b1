//! Scenes: jobs, invoices and balances brought to where a test begins.

use crate::command::{Command, Outcome, Reply, batch, outcomes};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tithe_chat::Finish;
use tithe_clock::Timestamp;
use tithe_engine::books::Posting;
use tithe_engine::jobs::{Verdict, WorkOutcome};
use tithe_engine::metered::Delivered;
use tithe_engine::store::Store;
use tithe_jobs::{Job, JobClaim, JobId, JobStart, Lease, LeaseOwner, NewJob, WorkTerms};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceState, OwnerId, Preimage, Purpose, ReceivedPayment};
use tithe_money::{BasisPoints, BtcPrice, Msats, Sats, UsdMicros};
use tithe_pricing::{BtcQuote, Catalogue, Quote, Terms, Usage};
use tithe_sessions::RequestResult;
use uuid::Uuid;

/// When scenes begin.
pub const START: Timestamp = Timestamp::UNIX_EPOCH;

/// How long invoices of scenes can be paid.
pub const EXPIRY: Duration = Duration::from_mins(10);

/// The evaluation fee of scenes.
pub const FEE_SATS: u64 = 3;

/// The id of the job of number `n`.
#[must_use]
pub fn job_id(n: u8) -> JobId {
    JobId(Uuid::from_u128(0x1000 + u128::from(n)))
}

/// The proof of the invoice that job `n` has for `purpose`.
#[must_use]
pub fn preimage(n: u8, purpose: Purpose) -> Preimage {
    let kind = match purpose {
        Purpose::JobEval => 1,
        Purpose::JobWork => 2,
        Purpose::Custom(_)
        | Purpose::SessionDeposit
        | Purpose::SessionTopUp
        | Purpose::SessionTopUpOffer
        | Purpose::Bootstrap => 3,
    };
    let mut bytes = [kind; 32];
    bytes[0] = n;
    Preimage::from_bytes(bytes)
}

/// An amount of millisats.
#[must_use]
pub fn msats(amount: u64) -> Msats {
    Msats::new(amount).unwrap()
}

/// A quote for a small piece of work.
#[must_use]
pub fn quote() -> Quote {
    static QUOTE: LazyLock<Quote> = LazyLock::new(|| {
        let btc = BtcQuote { price: BtcPrice::parse("97531.24").unwrap(), as_of: START };
        let margin = BasisPoints::from_percent(40).unwrap();
        let terms = Terms { margin, fixed_cost: UsdMicros::new(137).unwrap(), btc };
        Catalogue::built_in().model("sim-large").unwrap().quote(&["hello"], Some(300), &terms).unwrap()
    });
    QUOTE.clone()
}

/// The terms of that work.
#[must_use]
pub fn work() -> WorkTerms {
    WorkTerms::in_full(quote()).unwrap()
}

/// What that work used.
#[must_use]
pub fn usage(output_tokens: u64) -> Usage {
    Usage {
        input_tokens: 9,
        cached_input_tokens: 2,
        cache_write_tokens: 3,
        cache_write_1h_tokens: 1,
        output_tokens,
        reasoning_tokens: output_tokens / 3,
    }
}

/// Job `n`, new.
#[must_use]
pub fn new_job(n: u8, now: Timestamp) -> Job {
    Job::new(NewJob {
        id: job_id(n),
        request: Arc::from(format!("request {n}: ☃\n\"quoted\" 'text'")),
        model: "sim-large".to_owned(),
        max_output_tokens: n.is_multiple_of(2).then_some(300),
        identity: None,
        start: JobStart::Evaluation { quote: quote(), fee: Sats::new(FEE_SATS).unwrap() },
        created_at: now,
    })
}

/// The invoice that job `n` gets for `purpose`.
#[must_use]
pub fn invoice(n: u8, purpose: Purpose, now: Timestamp) -> Invoice {
    let amount = match purpose {
        Purpose::JobEval => Sats::new(FEE_SATS).unwrap(),
        _ => work().amount,
    };
    let payment_hash = preimage(n, purpose).payment_hash();
    Invoice {
        payment_hash,
        purpose,
        owner: OwnerId(job_id(n).0),
        payment_request: format!("lnbcrt{payment_hash}"),
        amount: amount.to_msats(),
        state: InvoiceState::Pending,
        created_at: now,
        expires_at: now + EXPIRY,
    }
}

/// The payment of that invoice, of `amount`.
#[must_use]
pub fn settlement(n: u8, purpose: Purpose, amount: Msats, now: Timestamp) -> ReceivedPayment {
    let preimage = preimage(n, purpose);
    ReceivedPayment {
        payment_hash: preimage.payment_hash(),
        amount,
        liquidity_fee: Msats::ZERO,
        preimage: Some(preimage),
        received_at: now,
    }
}

/// The full payment of that invoice, as a command.
#[must_use]
pub fn pay(n: u8, purpose: Purpose, now: Timestamp) -> Command {
    let amount = invoice(n, purpose, now).amount;
    let payment = settlement(n, purpose, amount, now);
    Command::PaymentCredit { job: job_id(n), identity: None, payment }
}

/// Money from the operator for an account.
#[must_use]
pub fn fund(account: AccountId, amount: Msats) -> Command {
    Command::Post(Posting {
        key: TransferKey::new(format!("fund:{account}")),
        debit: AccountId::Operator,
        credit: account,
        amount,
        kind: TransferKind::Adjustment,
        reference: Uuid::nil(),
    })
}

/// Commits commands as one batch.
pub async fn commit(store: &dyn Store, commands: Vec<Command>, now: Timestamp) -> Vec<Outcome> {
    let committed = store.batch_commit(&batch(commands, now)).await;
    outcomes(committed.expect("the store takes the batch").outcomes)
}

/// Commits one command that must be accepted.
pub async fn accepted(store: &dyn Store, command: Command, now: Timestamp) -> Reply {
    let name = command.name();
    commit(store, vec![command], now).await.remove(0).unwrap_or_else(|refusal| panic!("{name}: {refusal}"))
}

/// How far a job of a scene has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Written down, without an invoice.
    New,
    /// The evaluation is invoiced.
    Invoiced,
    /// The evaluation is paid.
    Evaluating,
    /// Accepted; no work invoice yet.
    Accepted,
    /// The work is invoiced.
    WorkInvoiced,
    /// The work is paid.
    Executing,
    /// The work is done.
    Complete,
}

/// Brings job `n` to a stage, and returns it.
pub async fn job_at(store: &dyn Store, n: u8, stage: Stage, now: Timestamp) -> Job {
    let id = job_id(n);
    accepted(
        store,
        Command::JobCreate { job: Box::new(new_job(n, now)), idempotency: None, instead_of: None },
        now,
    )
    .await;
    let issue = |purpose, lease| Command::InvoiceIssue {
        job: id,
        identity: None,
        invoice: invoice(n, purpose, now),
        lease,
        finish: None,
    };
    if stage >= Stage::Invoiced {
        accepted(store, issue(Purpose::JobEval, None), now).await;
    }
    if stage >= Stage::Evaluating {
        accepted(store, pay(n, Purpose::JobEval, now), now).await;
    }
    if stage >= Stage::Accepted {
        let lease = claim_job(store, id, now).await;
        let verdict = Verdict::Accepted(work());
        accepted(store, Command::EvaluationFinish { job: id, identity: None, lease, verdict }, now).await;
    }
    if stage >= Stage::WorkInvoiced {
        let lease = store.job(id).await.unwrap().unwrap().lease;
        accepted(store, issue(Purpose::JobWork, Some(lease)), now).await;
    }
    if stage >= Stage::Executing {
        accepted(store, pay(n, Purpose::JobWork, now), now).await;
    }
    if stage >= Stage::Complete {
        let lease = claim_job(store, id, now).await;
        let outcome = WorkOutcome::Completed {
            text: Arc::from("an answer: ☃"),
            estimated: true,
            usage: usage(50),
            finish: tithe_jobs::FinishReason::Length,
            rates: None,
        };
        accepted(store, Command::WorkFinish { job: id, identity: None, lease, outcome }, now).await;
    }
    store.job(id).await.unwrap().unwrap()
}

/// A claim by owner `owner`, for an hour.
#[must_use]
pub fn claim(owner: u8, now: Timestamp, limit: usize) -> JobClaim {
    let owner = LeaseOwner(Uuid::from_u128(u128::from(owner)));
    JobClaim { owner, now, until: now + Duration::from_hours(1), limit }
}

/// Claims one job that is the only one free.
async fn claim_job(store: &dyn Store, id: JobId, now: Timestamp) -> Lease {
    let jobs = store.jobs_claim(&claim(1, now, 100)).await.unwrap();
    jobs.iter().find(|job| job.id == id).expect("the job can be claimed").lease
}

/// An answer, as its customer gets it.
pub(crate) fn answer_of(result: &RequestResult) -> Delivered {
    let RequestResult { text, usage, estimated, finish, backend } = result.clone();
    let reply = Arc::new(tithe_chat::Reply::of(&text, Finish::Stop));
    let (vectors, called, usd) = (None, None, UsdMicros::ZERO);
    Delivered { reply, text, vectors, called, usage, estimated, finish, usd, backend }
}
