//! The books as a pure function: how commands are cut into batches changes nothing, and neither does what is refused.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::audit::audit;
use tithe_engine::books::Posting;
use tithe_engine::jobs::{Fault, Verdict, WorkOutcome};
use tithe_engine::records::{IdempotencyId, IdempotencyRequest, KeyOrigin, StoredResponse};
use tithe_engine::store::{AuditRow, BatchStore};
use tithe_jobs::{JobChange, JobRepository, Lease, LeaseOwner};
use tithe_ledger::{AccountId, HoldId, TransferKey, TransferKind};
use tithe_lightning::Purpose;
use tithe_store_suite::command::{Command, Outcome, Reply, batch};
use tithe_store_suite::scene::{
    EXPIRY, START, Stage, claim, commit, invoice, job_at, job_id, msats, new_job, pay, preimage, settlement,
    usage, work,
};
use tithe_store_suite::{MemoryStore, model};
use uuid::Uuid;

/// When all batches of a case are decided: some holds and invoices of the scene are over by then.
const NOW: Timestamp = START;
const LEASE: Duration = Duration::from_secs(30);

/// Jobs 0 to 6 are at these stages when a case begins; 7 and 8 do not exist.
const STAGES: [Stage; 7] = [
    Stage::New,
    Stage::Invoiced,
    Stage::Evaluating,
    Stage::Accepted,
    Stage::WorkInvoiced,
    Stage::Executing,
    Stage::Complete,
];

/// Everything in memory answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

/// A store with the jobs of [`STAGES`], all that can be claimed claimed by owner 1, and two funded accounts with a hold.
fn scene() -> MemoryStore {
    let store = MemoryStore::new();
    let early = START - EXPIRY;
    for (n, stage) in (0_u8..).zip(STAGES) {
        // Invoices of even jobs have expired by now.
        now(job_at(&store, n, stage, if n.is_multiple_of(2) { early } else { START }));
    }
    now(store.jobs_claim(&claim(1, START + Duration::from_hours(2), 99))).unwrap();
    let mut commands = Vec::new();
    for n in 0..2 {
        commands.push(Command::Post(posting(100 + n, AccountId::Operator, account(n), 20_000)));
        let lease = if n == 0 { Duration::ZERO } else { LEASE };
        commands.push(Command::HoldPlace { hold: hold(n), account: account(n), amount: msats(5_000), lease });
    }
    for outcome in now(commit(&store, commands, START)) {
        outcome.unwrap();
    }
    store
}

fn account(n: u8) -> AccountId {
    match n {
        2 => AccountId::Revenue,
        3 => AccountId::Pool,
        n => AccountId::Session(Uuid::from_u128(900 + u128::from(n))),
    }
}

fn hold(n: u8) -> HoldId {
    HoldId(Uuid::from_u128(u128::from(n)))
}

fn posting(key: u8, debit: AccountId, credit: AccountId, amount: u64) -> Posting {
    let key = TransferKey::new(format!("post:{key}"));
    let (amount, kind, reference) = (msats(amount), TransferKind::Adjustment, Uuid::nil());
    Posting { key, debit, credit, amount, kind, reference }
}

fn key_id(n: u8) -> IdempotencyId {
    IdempotencyId { scope: "test".to_owned(), key: n.to_string() }
}

fn keyed(n: u8, fingerprint: u8) -> IdempotencyRequest {
    let keep = Duration::from_hours(24);
    IdempotencyRequest {
        id: key_id(n),
        fingerprint: [fingerprint; 32],
        keep,
        lease: LEASE,
        origin: KeyOrigin::Client,
    }
}

fn told(n: u8) -> StoredResponse {
    StoredResponse { status: 201, body: n.to_string() }
}

fn purpose() -> impl Strategy<Value = Purpose> {
    prop_oneof![Just(Purpose::JobEval), Just(Purpose::JobWork)]
}

/// Mostly one of owner 1's claims; which of them holds the job now depends on how far it has come.
fn lease() -> impl Strategy<Value = Lease> {
    let held = |owner, claims| Lease {
        owner: Some(LeaseOwner(Uuid::from_u128(owner))),
        until: Some(START),
        attempts: 1,
        claims,
    };
    prop_oneof![
        16 => (1_u32..5).prop_map(move |claims| held(1, claims)),
        1 => Just(held(2, 1)),
        1 => Just(Lease::default())
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Accepted(work())),
        1 => Just(Verdict::Rejected("no".to_owned())),
        1 => Just(Verdict::Failed("sorry".to_owned())),
    ]
}

fn outcome() -> impl Strategy<Value = WorkOutcome> {
    let done = |output| WorkOutcome::Completed {
        estimated: false,
        text: Arc::from("done"),
        usage: usage(output),
        finish: tithe_jobs::FinishReason::Stop,
        rates: None,
    };
    prop_oneof![
        4 => (0_u64..500).prop_map(done),
        1 => Just(done(u64::MAX)),
        1 => Just(WorkOutcome::Failed { message: "broken".to_owned(), fault: Fault::Server }),
    ]
}

fn job_command() -> impl Strategy<Value = Command> {
    let job = 0_u8..9;
    prop_oneof![
        (job.clone(), proptest::option::of((0_u8..3, 0_u8..2))).prop_map(|(n, key)| Command::JobCreate {
            job: Box::new(new_job(n, NOW)),
            instead_of: None,
            idempotency: key.map(|(key, fingerprint)| keyed(key, fingerprint)),
        }),
        (job.clone(), job.clone(), purpose(), proptest::option::of(lease()), proptest::option::of(0_u8..3))
            .prop_map(|(n, other, purpose, lease, key)| Command::InvoiceIssue {
                // Now and then another job's invoice.
                job: job_id(if other == 0 { other } else { n }),
                identity: None,
                invoice: invoice(n, purpose, NOW),
                lease,
                finish: key.map(|key| (key_id(key), told(n))),
            }),
        (job.clone(), purpose()).prop_map(|(n, purpose)| pay(n, purpose, NOW)),
        (job.clone(), purpose(), 1_u64..90_000).prop_map(|(n, purpose, amount)| Command::PaymentCredit {
            job: job_id(n),
            identity: None,
            payment: settlement(n, purpose, msats(amount), NOW),
        }),
        (job.clone(), lease(), verdict()).prop_map(|(n, lease, verdict)| Command::EvaluationFinish {
            job: job_id(n),
            identity: None,
            lease,
            verdict
        }),
        (job.clone(), lease(), outcome()).prop_map(|(n, lease, outcome)| Command::WorkFinish {
            job: job_id(n),
            identity: None,
            lease,
            outcome
        }),
        (job.clone(), purpose()).prop_map(|(n, purpose)| Command::InvoiceExpire {
            job: job_id(n),
            identity: None,
            invoice: preimage(n, purpose).payment_hash(),
        }),
        job.prop_map(|n| Command::JobAbandon { job: job_id(n) }),
    ]
}

fn money_command() -> impl Strategy<Value = Command> {
    let (holds, accounts, amount) = (0_u8..4, 0_u8..4, 0_u64..12_000);
    prop_oneof![
        (holds.clone(), accounts.clone(), amount.clone()).prop_map(|(h, a, n)| Command::HoldPlace {
            hold: hold(h),
            account: account(a),
            amount: msats(n),
            lease: LEASE,
        }),
        (holds.clone(), accounts.clone(), amount.clone()).prop_map(|(h, a, n)| Command::HoldSettle {
            hold: hold(h),
            account: account(a),
            cost: msats(n),
        }),
        (holds.clone(), accounts.clone())
            .prop_map(|(h, a)| Command::HoldRelease { hold: hold(h), account: account(a) }),
        (holds.clone(), accounts.clone())
            .prop_map(|(h, a)| Command::HoldExpire { hold: hold(h), account: account(a) }),
        (holds, accounts.clone()).prop_map(|(h, a)| Command::HoldRenew {
            hold: hold(h),
            account: account(a),
            lease: LEASE
        }),
        (0_u8..6, accounts.clone(), accounts, amount).prop_map(|(key, from, to, n)| Command::Post(posting(
            key,
            account(from),
            account(to),
            n
        ))),
        (0_u8..3, 0_u8..2).prop_map(|(key, fingerprint)| Command::IdempotencyBegin(keyed(key, fingerprint))),
        (0_u8..3, 0_u8..9)
            .prop_map(|(key, n)| Command::IdempotencyFinish { id: key_id(key), response: told(n) }),
        (0_u8..3).prop_map(|key| Command::IdempotencyRelease { id: key_id(key) }),
    ]
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    // A guarded account other than a session's would have to be one that the scene funds: holds are on sessions only.
    let sound = |command: &Command| match command {
        Command::HoldPlace { account, .. } => matches!(account, AccountId::Session(_)),
        _ => true,
    };
    let command = prop_oneof![3 => job_command(), 2 => money_command()].prop_filter("holds", sound);
    proptest::collection::vec(command, 1..60)
}

/// Commits the commands in batches that end at `cuts`.
fn run(commands: &[Command], cuts: &[usize]) -> (MemoryStore, Vec<Outcome>) {
    let store = scene();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % commands.len()).collect();
    ends.push(commands.len());
    ends.sort_unstable();
    let (mut outcomes, mut from) = (Vec::new(), 0);
    for end in ends {
        let batch = commands.get(from..end).unwrap().to_vec();
        outcomes.extend(now(commit(&store, batch, NOW)));
        from = end;
    }
    (store, outcomes)
}

/// Everything that a store holds, as text that can be compared: rows, steps of jobs, and what keys answer.
fn contents(store: &MemoryStore) -> (Vec<AuditRow>, Vec<JobChange>, Vec<Outcome>) {
    let rows = now(store.audit_rows()).unwrap().map(Result::unwrap);
    let rows = now(rows.collect::<Vec<_>>());
    let mut changes = Vec::new();
    for n in 0..9 {
        changes.extend(now(store.job_changes(job_id(n), 0)).unwrap());
    }
    let probes = (0..3).map(|key| Command::IdempotencyBegin(keyed(key, 0))).collect();
    (rows, changes, now(commit(store, probes, NOW + LEASE)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_commands_are_cut_into_batches_changes_nothing(
        commands in commands(),
        some in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let (whole, outcomes) = run(&commands, &[]);
        let every: Vec<usize> = (0..commands.len()).collect();
        prop_assert_eq!(now(audit(&whole)).unwrap().findings, []);
        let whole = contents(&whole);
        for cuts in [&some, &every] {
            let (cut, cut_outcomes) = run(&commands, cuts);
            prop_assert_eq!(&outcomes, &cut_outcomes);
            prop_assert_eq!(&whole, &contents(&cut));
        }
    }

    #[test]
    fn a_refused_command_changes_nothing(commands in commands()) {
        let (with, outcomes) = run(&commands, &[]);
        let accepted: Vec<Command> = commands
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(command, _)| command.clone())
            .collect();
        prop_assume!(!accepted.is_empty());
        let (without, again) = run(&accepted, &[]);
        let answers: Vec<Reply> = outcomes.into_iter().flatten().collect();
        let again: Vec<Reply> = again.into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(answers, again);
        prop_assert_eq!(contents(&with), contents(&without));
    }

    #[test]
    fn what_was_done_already_changes_nothing(commands in commands()) {
        let (with, outcomes) = run(&commands, &[]);
        let repeated = |outcome: &Outcome| matches!(outcome, Ok(Reply::AlreadyDone | Reply::Replayed(_)));
        let news: Vec<Command> = commands
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| !repeated(outcome))
            .map(|(command, _)| command.clone())
            .collect();
        prop_assume!(!news.is_empty());
        let (without, _) = run(&news, &[]);
        prop_assert_eq!(contents(&with), contents(&without));
    }
}

/// The random commands would prove little if they were mostly refused, or met some rule never.
#[test]
fn every_kind_of_command_is_accepted_and_refused_by_some_case() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<&str, [u32; 2]>::new();
    for _ in 0..200 {
        let commands = commands().new_tree(&mut runner).unwrap().current();
        let (_, outcomes) = run(&commands, &[]);
        for (command, outcome) in commands.iter().zip(&outcomes) {
            let [accepted, refused] = seen.entry(command.name()).or_default();
            *if outcome.is_ok() { accepted } else { refused } += 1;
        }
    }
    assert_eq!(seen.len(), 16, "{seen:?}");
    // A key is finished or released whatever stands behind it.
    let never_refused = ["idempotency_finish", "idempotency_release"];
    for (name, [accepted, refused]) in &seen {
        assert!(*accepted > 0, "{name} is never accepted: {seen:?}");
        assert!(*refused > 0 || never_refused.contains(name), "{name} is never refused: {seen:?}");
    }
}

#[test]
fn a_batch_asks_for_every_row_that_it_decides_on() {
    let commands =
        vec![pay(4, Purpose::JobWork, NOW), Command::HoldRelease { hold: hold(0), account: account(0) }];
    let batch = batch(commands, NOW);
    let keys = batch.keys();
    assert!(keys.jobs.contains(&job_id(4)) && keys.accounts.contains(&AccountId::Job(job_id(4).0)));
    assert!(keys.invoices.contains(&preimage(4, Purpose::JobWork).payment_hash()));
    assert!(keys.holds.contains(&hold(0)) && keys.accounts.contains(&account(0)));
}

#[tokio::test]
async fn random_commands_match_the_reference_for_many_seeds() {
    for seed in 10..30 {
        model::drive(Arc::new(MemoryStore::new()), &model::Course::tight(), seed, 60).await;
    }
}
