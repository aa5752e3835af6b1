//! People: identities with a score, and what they ask of the pool.

use crate::command::{Charge, Command, Outcome, batch_under, outcomes};
use crate::scene::{
    EXPIRY, Stage, accepted, claim, commit, invoice, job_id, msats, new_job, settlement, usage, work,
};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{ManualClock, Timestamp};
use tithe_engine::books::Posting;
use tithe_engine::books::Rules;
use tithe_engine::committer::Committer;
use tithe_engine::jobs::{Verdict, WorkOutcome};
use tithe_engine::records::{AuthNonceId, AuthNonceKind};
use tithe_engine::store::Store;
use tithe_free_tier::{Budgets, FreeTierPolicy, GrantId, RequestHash, ReservationId};
use tithe_jobs::{Job, JobState, Lease};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_lightning::{Invoice, Purpose};
use tithe_money::{BasisPoints, Msats, Sats};
use tithe_trust::{NostrPubkey, Score, TrustPolicy};
use uuid::Uuid;

/// How long reservations of scenes are leased for.
pub const LEASE: Duration = Duration::from_mins(2);

/// The key of person `n`.
#[must_use]
pub fn pubkey(n: u32) -> NostrPubkey {
    NostrPubkey::restore(&format!("{:064x}", 0x00ab_0000_u64 + u64::from(n))).unwrap()
}

/// The account that person `n` pays from.
#[must_use]
pub fn account(n: u32) -> AccountId {
    AccountId::Session(Uuid::from_u128(0x5e55_0000 + u128::from(n)))
}

/// The reservation of that number.
#[must_use]
pub fn reservation_id(n: u128) -> ReservationId {
    ReservationId(Uuid::from_u128(0x4e5e_0000 + n))
}

/// The grant of that number.
#[must_use]
pub fn grant_id(n: u128) -> GrantId {
    GrantId(Uuid::from_u128(0x64a1_0000 + n))
}

/// The authentication nonce of that number.
#[must_use]
pub fn nonce_id(n: u8) -> AuthNonceId {
    AuthNonceId([n; 32])
}

/// The use of a nonce that expires a minute after `now`.
#[must_use]
pub fn prove(proof: u8, kind: AuthNonceKind, who: u32, now: Timestamp) -> Command {
    let expires_at = now + Duration::from_mins(1);
    Command::AuthNonceConsume { nonce: nonce_id(proof), kind, identity: pubkey(who), expires_at }
}

/// Finished work of person `who`, who pays from their account what the pool does not.
#[must_use]
pub fn charge(n: u128, who: u32, cost: u64, absorb_most: u64) -> Command {
    Command::Charge(Charge {
        id: grant_id(n),
        account: account(who),
        identity: Some(pubkey(who)),
        cost: msats(cost),
        absorb_most: msats(absorb_most),
        request_hash: RequestHash::of("a request"),
    })
}

/// A reservation by person `who`.
#[must_use]
pub fn reserve(n: u128, who: u32, amount: u64) -> Command {
    let (reservation, identity) = (reservation_id(n), pubkey(who));
    Command::GrantReserve { reservation, identity, amount: msats(amount), lease: LEASE }
}

/// The end of a reservation with its work done.
#[must_use]
pub fn settle(n: u128, who: u32, cost: u64) -> Command {
    let (reservation, identity) = (reservation_id(n), pubkey(who));
    let request_hash = RequestHash::of("another request");
    Command::GrantSettle { reservation, identity, cost: msats(cost), request_hash }
}

/// The end of a reservation with nothing done.
#[must_use]
pub fn release(n: u128, who: u32) -> Command {
    Command::GrantRelease { reservation: reservation_id(n), identity: pubkey(who) }
}

/// The end of a reservation whose lease has run out.
#[must_use]
pub fn lapse(n: u128, who: u32) -> Command {
    Command::GrantExpire { reservation: reservation_id(n), identity: pubkey(who) }
}

/// The default rules, with these budgets in sats.
#[must_use]
pub fn budgets(new: u64, established: u64, trusted: u64, elite: u64) -> Rules {
    let sats = |n| Sats::new(n).unwrap();
    let budgets = Budgets {
        new: sats(new),
        established: sats(established),
        trusted: sats(trusted),
        elite: sats(elite),
    };
    Rules { free_tier: FreeTierPolicy { budgets, ..FreeTierPolicy::default() }, ..Rules::default() }
}

/// Money of the operator's for person `who` to pay with, once for each amount.
#[must_use]
pub fn fill(who: u32, amount: u64) -> Command {
    Command::Post(Posting {
        key: TransferKey::new(format!("fill:{who}:{amount}")),
        debit: AccountId::Operator,
        credit: account(who),
        amount: msats(amount),
        kind: TransferKind::Adjustment,
        reference: Uuid::nil(),
    })
}

/// Lets people earn `points` at once, two days before `now`: by rules of this scene alone, for a msat that they pay, which
/// moves nothing of the pool's.
pub async fn raise(store: &dyn Store, people: impl IntoIterator<Item = u32>, points: u32, now: Timestamp) {
    let earned = Score::points(points);
    let trust = TrustPolicy {
        success: earned,
        full_payment: msats(1),
        day_gain_max: earned,
        ..TrustPolicy::default()
    };
    let free_tier = FreeTierPolicy { tithe: BasisPoints::ZERO, ..FreeTierPolicy::default() };
    let mut commands = Vec::new();
    for who in people {
        commands.push(fill(who, 1));
        commands.push(charge(0x1000_0000 + u128::from(who), who, 1, 0));
    }
    let rules = Arc::new(Rules { trust, free_tier });
    let batch = batch_under(rules, commands, now - Duration::from_hours(48));
    for outcome in store.batch_commit(&batch).await.unwrap().outcomes {
        outcome.unwrap();
    }
}

/// Commits commands by `rules`, as one batch.
pub async fn commit_under(
    store: &dyn Store,
    rules: &Rules,
    commands: Vec<Command>,
    now: Timestamp,
) -> Vec<Outcome> {
    let batch = batch_under(Arc::new(rules.clone()), commands, now);
    outcomes(store.batch_commit(&batch).await.unwrap().outcomes)
}

/// A server's committer, which decides by `rules` and by its own clock.
#[must_use]
pub fn committer_under(store: &Arc<dyn Store>, rules: &Rules, clock: Arc<ManualClock>) -> Committer {
    Committer::start(store.clone(), clock, Arc::new(rules.clone()), Arc::new(()))
}

/// Job `n` of person `who`, new.
#[must_use]
pub fn job_of(n: u8, who: u32, now: Timestamp) -> Command {
    let job = Box::new(Job { identity: Some(pubkey(who)), ..new_job(n, now) });
    Command::JobCreate { job, idempotency: None, instead_of: None }
}

/// The work invoice of job `n`, for what is left to pay of it.
#[must_use]
pub fn work_invoice(n: u8, amount: Sats, now: Timestamp) -> Invoice {
    Invoice { amount: amount.to_msats(), ..invoice(n, Purpose::JobWork, now) }
}

/// A payment for job `n` of person `who`.
#[must_use]
pub fn pay_of(n: u8, who: u32, purpose: Purpose, amount: Msats, now: Timestamp) -> Command {
    let settlement = settlement(n, purpose, amount, now);
    Command::PaymentCredit { job: job_id(n), identity: Some(pubkey(who)), payment: settlement }
}

/// The acceptance of job `n` of person `who`.
#[must_use]
pub fn accept(n: u8, who: u32, lease: Lease) -> Command {
    let verdict = Verdict::Accepted(work());
    Command::EvaluationFinish { job: job_id(n), identity: Some(pubkey(who)), lease, verdict }
}

/// The end of the work of job `n` of person `who`.
#[must_use]
pub fn finish(n: u8, who: u32, lease: Lease, output_tokens: u64) -> Command {
    let outcome = WorkOutcome::Completed {
        text: Arc::from("an answer"),
        estimated: false,
        usage: usage(output_tokens),
        finish: tithe_jobs::FinishReason::Stop,
        rates: None,
    };
    Command::WorkFinish { job: job_id(n), identity: Some(pubkey(who)), lease, outcome }
}

/// Brings jobs, each of its person, to where they are evaluated, in a few batches. Says with which leases they are claimed.
pub async fn jobs_evaluating(store: &dyn Store, jobs: &[(u8, u32)], now: Timestamp) -> Vec<Lease> {
    let fee = |n| invoice(n, Purpose::JobEval, now);
    let mut commands: Vec<Command> = jobs.iter().map(|(n, who)| job_of(*n, *who, now)).collect();
    commands.extend(jobs.iter().map(|(n, who)| Command::InvoiceIssue {
        job: job_id(*n),
        identity: Some(pubkey(*who)),
        invoice: fee(*n),
        lease: None,
        finish: None,
    }));
    commands.extend(jobs.iter().map(|(n, who)| pay_of(*n, *who, Purpose::JobEval, fee(*n).amount, now)));
    for outcome in commit(store, commands, now).await {
        outcome.unwrap();
    }
    store.jobs_claim(&claim(1, now, 1_000)).await.unwrap();
    let mut leases = Vec::new();
    for (n, _) in jobs {
        leases.push(store.job(job_id(*n)).await.unwrap().unwrap().lease);
    }
    leases
}

/// Brings job `n` of person `who` to a stage, or, where the pool pays it all, past what it need not wait for.
pub async fn job_of_at(
    store: &dyn Store,
    rules: &Rules,
    n: u8,
    who: u32,
    stage: Stage,
    now: Timestamp,
) -> Job {
    let lease = jobs_evaluating(store, &[(n, who)], now).await.remove(0);
    let read = async || store.job(job_id(n)).await.unwrap().unwrap();
    let step = async |command| commit_under(store, rules, vec![command], now).await.remove(0).unwrap();
    if stage >= Stage::Accepted {
        step(accept(n, who, lease)).await;
    }
    if stage >= Stage::WorkInvoiced
        && let JobState::Accepted { work } = read().await.state
    {
        let invoice = work_invoice(n, work.amount, now);
        accepted(
            store,
            Command::InvoiceIssue {
                job: job_id(n),
                identity: Some(pubkey(who)),
                invoice,
                lease: Some(lease),
                finish: None,
            },
            now,
        )
        .await;
    }
    if stage >= Stage::Executing
        && let JobState::AwaitingWorkPayment { work, .. } = read().await.state
    {
        step(pay_of(n, who, Purpose::JobWork, work.amount.to_msats(), now)).await;
    }
    if stage >= Stage::Complete {
        store.jobs_claim(&claim(1, now, 1_000)).await.unwrap();
        step(finish(n, who, read().await.lease, 50)).await;
    }
    read().await
}

/// When an invoice made at `now` has run out.
#[must_use]
pub fn too_late(now: Timestamp) -> Timestamp {
    now + EXPIRY
}

/// Rolls the same numbers for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.roll(u64::try_from(from.len()).unwrap());
        &from[usize::try_from(at).unwrap()]
    }
}
