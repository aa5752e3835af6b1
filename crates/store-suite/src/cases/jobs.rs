//! Jobs are kept.

use super::FreshStore;
use crate::command::{Command, Reply};
use crate::people::pubkey;
use crate::scene::{
    EXPIRY, START, Stage, accepted, claim, invoice, job_at, job_id, new_job, preimage, usage, work,
};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::jobs::{Fault, Verdict, WorkOutcome};
use tithe_jobs::{Job, JobState, Refund, StateName};
use tithe_ledger::AccountId;
use tithe_lightning::Purpose;
use tithe_pricing::Priced;

/// What a command has made of a job is what is read afterwards, for every state and every kind of end.
pub async fn a_job_comes_back_as_it_was_written_in_every_state(store: FreshStore) {
    let stages = [
        Stage::New,
        Stage::Invoiced,
        Stage::Evaluating,
        Stage::Accepted,
        Stage::WorkInvoiced,
        Stage::Executing,
        Stage::Complete,
    ];
    for (n, stage) in (0..).zip(stages) {
        let job = job_at(store.as_ref(), n, stage, START).await;
        assert_eq!(job.request, new_job(n, START).request);
        assert_eq!(job.max_output_tokens, new_job(n, START).max_output_tokens);
        assert_eq!(job.created_at, START);
        if stage == Stage::Complete {
            let JobState::Complete { work: terms, completion, .. } = &job.state else {
                panic!("{:?}", job.state)
            };
            assert_eq!(*terms, work());
            assert_eq!(completion.usage, usage(50));
            let settlement = terms.quote.split(&usage(50), terms.amount.to_msats(), tithe_money::Msats::ZERO);
            assert_eq!(completion.settlement, settlement.unwrap());
            assert_eq!(job.refund, Refund::Pending { amount: completion.settlement.refund });
        }
    }
    let lease = |n: u8, stage| {
        let store = store.clone();
        async move {
            job_at(store.as_ref(), n, stage, START).await;
            let jobs = store.jobs_claim(&claim(2, START + Duration::from_hours(2), 100)).await.unwrap();
            jobs.into_iter().find(|job| job.id == job_id(n)).unwrap().lease
        }
    };
    let verdict =
        |n, lease, verdict| Command::EvaluationFinish { job: job_id(n), identity: None, lease, verdict };
    let ends = [
        (20, verdict(20, lease(20, Stage::Evaluating).await, Verdict::Rejected("no ☃".to_owned()))),
        (21, verdict(21, lease(21, Stage::Evaluating).await, Verdict::Failed("sorry".to_owned()))),
        (22, verdict(22, lease(22, Stage::Accepted).await, Verdict::Failed("no invoice".to_owned()))),
    ];
    for (n, command) in ends {
        assert_same(&store, n, command).await;
    }
    let lease = lease(23, Stage::Executing).await;
    let outcome = WorkOutcome::Failed { message: "broken".to_owned(), fault: Fault::Server };
    assert_same(&store, 23, Command::WorkFinish { job: job_id(23), identity: None, lease, outcome }).await;
    for (n, stage, purpose) in
        [(24, Stage::Invoiced, Purpose::JobEval), (25, Stage::WorkInvoiced, Purpose::JobWork)]
    {
        job_at(store.as_ref(), n, stage, START).await;
        let invoice = preimage(n, purpose).payment_hash();
        assert_same(&store, n, Command::InvoiceExpire { job: job_id(n), identity: None, invoice }).await;
    }
    super::assert_sound(&store).await;
}

/// Commits a command, and compares the job that it answers with the one that is read.
async fn assert_same(store: &FreshStore, n: u8, command: Command) {
    let reply = accepted(store.as_ref(), command, START + EXPIRY).await;
    let read: Job = store.job(job_id(n)).await.unwrap().unwrap();
    match reply {
        Reply::JobMoved(moved) => assert_eq!(read, *moved),
        other => assert_eq!(other, Reply::Done, "job {n}"),
    }
    assert!(read.state.name().is_terminal());
    if let Some(account) = store.account(AccountId::Job(job_id(n).0)).await.unwrap() {
        assert!(account.balance().is_zero(), "{account:?}");
    }
}

/// Followers see each visible step once, oldest first, from wherever they left off.
pub async fn steps_are_told_in_order_and_from_any_revision(store: FreshStore) {
    let job = job_at(store.as_ref(), 1, Stage::Complete, START).await;
    let all = store.job_changes(job.id, 0).await.unwrap();
    let names: Vec<StateName> = all.iter().map(|change| change.state).collect();
    assert_eq!(
        names,
        [
            StateName::AwaitingEvalPayment,
            StateName::Evaluating,
            StateName::AwaitingWorkPayment,
            StateName::Executing,
            StateName::Complete
        ]
    );
    assert!(all.is_sorted_by(|a, b| a.revision < b.revision));
    assert_eq!(all.last().unwrap().revision, job.revision);
    for seen in 0..=job.revision {
        let rest: Vec<_> = all.iter().filter(|change| change.revision > seen).copied().collect();
        assert_eq!(store.job_changes(job.id, seen).await.unwrap(), rest);
    }
}

/// "Not found" is an answer, not an error.
pub async fn what_does_not_exist_is_none(store: FreshStore) {
    assert_eq!(store.job(job_id(1)).await.unwrap(), None);
    assert_eq!(store.job_changes(job_id(1), 0).await.unwrap(), []);
    let hash = invoice(1, Purpose::JobEval, START).payment_hash;
    assert_eq!(store.invoice(hash).await.unwrap(), None);
    assert_eq!(store.account(AccountId::Pool).await.unwrap(), None);
    let hold = tithe_ledger::HoldId(uuid::Uuid::nil());
    assert_eq!(store.hold(hold).await.unwrap(), None);
    store.ready().await.unwrap();
}

/// A crash between writing a job down and its invoice leaves a job that can be found and given up.
pub async fn a_job_that_never_got_an_invoice_is_found(store: FreshStore) {
    job_at(store.as_ref(), 1, Stage::New, START).await;
    job_at(store.as_ref(), 2, Stage::Invoiced, START).await;
    let later = START + Duration::from_secs(1);
    assert_eq!(store.jobs_never_invoiced(START, 10).await.unwrap(), []);
    assert_eq!(store.jobs_never_invoiced(later, 10).await.unwrap(), [job_id(1)]);
    assert_eq!(store.jobs_never_invoiced(later, 0).await.unwrap(), []);
    accepted(store.as_ref(), Command::JobAbandon { job: job_id(1) }, later).await;
    let job = Arc::new(store.job(job_id(1)).await.unwrap().unwrap());
    assert_eq!(job.state, JobState::Expired { work: None, invoice: None });
    assert_eq!(store.jobs_never_invoiced(later, 10).await.unwrap(), []);
}

/// Newest first, in pages, and nobody else's.
pub async fn the_jobs_of_an_identity_are_listed_newest_first(store: FreshStore) {
    for n in 1..=5 {
        let mut job = new_job(n, START);
        job.identity = (n != 3).then(|| pubkey(u32::from(n == 4)));
        let create = Command::JobCreate { job: Box::new(job), idempotency: None, instead_of: None };
        accepted(store.as_ref(), create, START).await;
    }
    accepted(store.as_ref(), Command::JobAbandon { job: job_id(5) }, START + EXPIRY).await;
    let page = async |before, limit| {
        let page = store.jobs_of_identity(pubkey(0), before, limit).await.unwrap();
        page.iter().map(|job| (job.id, job.state)).collect::<Vec<_>>()
    };
    let (waits, expired) = (StateName::AwaitingEvalPayment, StateName::Expired);
    assert_eq!(page(None, 2).await, [(job_id(5), expired), (job_id(2), waits)]);
    assert_eq!(page(Some(job_id(2)), 2).await, [(job_id(1), waits)]);
    assert_eq!(page(Some(job_id(1)), 2).await, []);
    let whole = store.job(job_id(5)).await.unwrap().unwrap();
    let listed = store.jobs_of_identity(pubkey(0), None, 1).await.unwrap().remove(0);
    assert_eq!((listed.created_at, listed.updated_at), (whole.created_at, whole.updated_at));
    assert_eq!((listed.model, listed.refund), (whole.model, whole.refund));
}
