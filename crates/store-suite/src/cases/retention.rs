//! What nobody needs any more is deleted, and nothing else.

use super::{FreshStore, assert_sound};
use crate::command::Command;
use crate::people::{pubkey, raise};
use crate::scene::{
    EXPIRY, START, Stage, accepted, invoice, job_at, job_id, msats, new_job, preimage, settlement,
};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::store::IdentitiesPurged;
use tithe_jobs::JobState;
use tithe_lightning::Purpose;

const DAY: Duration = Duration::from_hours(24);
const ENDED: Timestamp = START;

async fn expired(store: &FreshStore, n: u8, stage: Stage, purpose: Purpose) {
    job_at(store.as_ref(), n, stage, START).await;
    let invoice = preimage(n, purpose).payment_hash();
    let expire = Command::InvoiceExpire { job: job_id(n), identity: None, invoice };
    accepted(store.as_ref(), expire, ENDED + EXPIRY).await;
}

/// Pays the evaluation of job `n` when it has expired.
async fn pay_late(store: &FreshStore, n: u8, amount: u64) {
    let payment = settlement(n, Purpose::JobEval, msats(amount), ENDED + DAY);
    let credit = Command::PaymentCredit { job: job_id(n), identity: None, payment };
    accepted(store.as_ref(), credit, ENDED + DAY).await;
}

/// At once; the job itself stays, and so do the texts of all others.
pub async fn the_texts_of_expired_jobs_are_deleted(store: FreshStore) {
    expired(&store, 1, Stage::Invoiced, Purpose::JobEval).await;
    expired(&store, 2, Stage::WorkInvoiced, Purpose::JobWork).await;
    let others = [Stage::New, Stage::Invoiced, Stage::Executing, Stage::Complete];
    for (n, stage) in (3..).zip(others) {
        job_at(store.as_ref(), n, stage, START).await;
    }
    assert_eq!(store.expired_texts_purge(1).await.unwrap(), 1);
    assert_eq!(store.expired_texts_purge(10).await.unwrap(), 1);
    assert_eq!(store.expired_texts_purge(10).await.unwrap(), 0);
    for n in 1..7 {
        let job = store.job(job_id(n)).await.unwrap().unwrap();
        let text = if n <= 2 { "".into() } else { new_job(n, START).request };
        assert_eq!(job.request, text, "job {n}");
    }
    // A payment that comes later is still refunded.
    pay_late(&store, 1, 3_000).await;
    assert_eq!(store.job(job_id(1)).await.unwrap().unwrap().request, "".into());
    assert_sound(&store).await;
}

/// With their invoices and their steps, after a while, a few at a time. Whatever money has moved for stays for ever.
pub async fn unpaid_jobs_are_deleted_and_paid_ones_stay(store: FreshStore) {
    for n in 1..=3 {
        expired(&store, n, Stage::Invoiced, Purpose::JobEval).await;
    }
    job_at(store.as_ref(), 4, Stage::New, START).await;
    accepted(store.as_ref(), Command::JobAbandon { job: job_id(4) }, ENDED + EXPIRY).await;
    // These stay: paid late in full and with dust, with the work unpaid, done, and still waiting.
    expired(&store, 10, Stage::Invoiced, Purpose::JobEval).await;
    pay_late(&store, 10, 3_000).await;
    expired(&store, 11, Stage::Invoiced, Purpose::JobEval).await;
    pay_late(&store, 11, 1).await;
    expired(&store, 12, Stage::WorkInvoiced, Purpose::JobWork).await;
    job_at(store.as_ref(), 13, Stage::Complete, START).await;
    job_at(store.as_ref(), 14, Stage::Invoiced, START).await;

    let before = ENDED + EXPIRY;
    assert_eq!(store.unpaid_jobs_purge(before, 10).await.unwrap(), 0, "not before its time");
    let later = ENDED + DAY * 3;
    assert_eq!(store.unpaid_jobs_purge(later, 3).await.unwrap(), 3);
    assert_eq!(store.unpaid_jobs_purge(later, 3).await.unwrap(), 1);
    assert_eq!(store.unpaid_jobs_purge(later, 3).await.unwrap(), 0);
    for n in 1..=4 {
        assert_eq!(store.job(job_id(n)).await.unwrap(), None);
        assert_eq!(store.job_changes(job_id(n), 0).await.unwrap(), []);
        let hash = invoice(n, Purpose::JobEval, START).payment_hash;
        assert_eq!(store.invoice(hash).await.unwrap(), None);
    }
    for n in 10..=14 {
        assert!(store.job(job_id(n)).await.unwrap().is_some(), "job {n}");
        let hash = invoice(n, Purpose::JobEval, START).payment_hash;
        assert!(store.invoice(hash).await.unwrap().is_some(), "job {n}");
        assert_ne!(store.job_changes(job_id(n), 0).await.unwrap(), []);
    }
    assert_sound(&store).await;
}

/// Oldest first, and only so many at a time.
pub async fn old_steps_of_jobs_are_deleted(store: FreshStore) {
    let old = job_at(store.as_ref(), 1, Stage::Complete, START).await;
    let new = job_at(store.as_ref(), 2, Stage::Complete, START + DAY).await;
    let (old_steps, new_steps) =
        (store.job_changes(old.id, 0).await.unwrap().len(), store.job_changes(new.id, 0).await.unwrap());
    assert_eq!(store.job_changes_purge(START, 100).await.unwrap(), 0);
    let limit = START + DAY;
    assert_eq!(store.job_changes_purge(limit, 2).await.unwrap(), 2);
    assert_eq!(store.job_changes(old.id, 0).await.unwrap().len(), old_steps - 2);
    assert_eq!(store.job_changes_purge(limit, 100).await.unwrap(), old_steps - 2);
    assert_eq!(store.job_changes(old.id, 0).await.unwrap(), []);
    assert_eq!(store.job_changes(new.id, 0).await.unwrap(), new_steps);
    assert!(matches!(store.job(old.id).await.unwrap().unwrap().state, JobState::Complete { .. }));
    assert_sound(&store).await;
}

/// Whoever has earned or taken something, or has a job, stays.
pub async fn identities_without_history_are_deleted(store: FreshStore) {
    let job_of = |n: u8, who| {
        let mut job = new_job(n, START);
        job.identity = Some(pubkey(who));
        Command::JobCreate { job: Box::new(job), idempotency: None, instead_of: None }
    };
    for (n, who) in [(1, 1), (2, 2), (3, 3)] {
        accepted(store.as_ref(), job_of(n, who), START).await;
    }
    for n in [1, 2] {
        accepted(store.as_ref(), Command::JobAbandon { job: job_id(n) }, START + EXPIRY).await;
    }
    raise(store.as_ref(), [4], 20, START + DAY).await;
    let later = START + DAY * 9;
    assert_eq!(store.unpaid_jobs_purge(later, 10).await.unwrap(), 2);
    let nobody = IdentitiesPurged { deleted: 0, next: None };
    assert_eq!(store.identities_purge(None, START, 10).await.unwrap(), nobody, "not before its time");
    // In pages: each looks at so many, and says where the next begins.
    let first = store.identities_purge(None, later, 1).await.unwrap();
    assert_eq!((first.deleted, first.next), (1, Some(pubkey(1))));
    let rest = store.identities_purge(first.next, later, 10).await.unwrap();
    assert_eq!(rest, IdentitiesPurged { deleted: 1, next: None });
    for (who, stays) in [(1, false), (2, false), (3, true), (4, true)] {
        assert_eq!(store.identity(pubkey(who)).await.unwrap().is_some(), stays, "{who}");
    }
    assert_eq!(store.identities_purge(None, later, 10).await.unwrap(), nobody);
    // Whoever comes again begins anew.
    accepted(store.as_ref(), job_of(5, 1), later).await;
    assert!(store.identity(pubkey(1)).await.unwrap().is_some());
    assert_sound(&store).await;
}
