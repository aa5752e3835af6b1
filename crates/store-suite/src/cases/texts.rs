//! Customers' texts are deleted, and nothing else is.

use super::ledger::committer_at;
use super::sessions::{active, begin, completed, finish, request_id, session_id};
use super::{FreshStore, assert_sound};
use crate::command::Command;
use crate::people::pubkey;
use crate::scene::{EXPIRY, START, Stage, accepted, claim, invoice, job_at, job_id, new_job};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::idempotency::IdempotencyFinish;
use tithe_engine::jobs::Fault;
use tithe_engine::records::{
    IdempotencyId, IdempotencyRequest, IdempotencyState, KeyOrigin, StoredResponse, TextDeletion, TextOwner,
    TextsFound,
};
use tithe_engine::store::Store;
use tithe_jobs::{Job, JobState};
use tithe_lightning::Purpose;
use tithe_sessions::{RequestState, SessionRequest};

const DAY: Duration = Duration::from_hours(24);
const LATER: Timestamp = START;

async fn job(store: &FreshStore, n: u8) -> Job {
    store.job(job_id(n)).await.unwrap().unwrap()
}

async fn request(store: &FreshStore, n: u128) -> SessionRequest {
    store.session_request(request_id(n)).await.unwrap().unwrap()
}

/// A session with a request that has ended, 11, and one that runs, 12.
async fn session(store: &FreshStore) {
    let committer = committer_at(store, START);
    active(&committer, 1, 100_000).await;
    committer.commit(begin(1, 11, 10_000, &[])).await.unwrap();
    committer.commit(finish(1, 11, completed(7_000), &[])).await.unwrap();
    committer.commit(begin(1, 12, 10_000, &[])).await.unwrap();
}

/// After their time, the oldest first; what runs, and what ended later, keeps its text. Amounts, tokens and times stay.
pub async fn the_texts_of_old_work_are_deleted(store: FreshStore) {
    let complete = job_at(store.as_ref(), 1, Stage::Complete, START).await;
    let younger = job_at(store.as_ref(), 3, Stage::Complete, START + DAY).await;
    // Last: making a job claims all that can be claimed.
    let running = job_at(store.as_ref(), 2, Stage::Executing, START).await;
    session(&store).await;
    let (ended, runs) = (request(&store, 11).await, request(&store, 12).await);
    let now = START + DAY * 2;
    assert_eq!(store.old_texts_purge(START, now, 9).await.unwrap(), 0, "not before their time");
    assert_eq!(store.old_texts_purge(START + DAY, now, 9).await.unwrap(), 2);
    assert_eq!(store.old_texts_purge(START + DAY, now, 9).await.unwrap(), 0, "once");
    let without = job(&store, 1).await;
    assert_eq!(without, complete.without_texts(now).unwrap());
    assert!(matches!(&without.state, JobState::Complete { completion, .. } if completion.text.is_empty()));
    assert_eq!((&*without.request, without.text_deleted_at), ("", Some(now)));
    assert_eq!((job(&store, 2).await, job(&store, 3).await), (running, younger));
    let without = request(&store, 11).await;
    assert_eq!(without, ended.without_text(now).unwrap());
    assert!(matches!(&without.state, RequestState::Complete { result, .. } if result.text.is_empty()));
    assert_eq!(request(&store, 12).await, runs);
    // A payment that comes later is still refunded, and brings no text back.
    let payment = crate::scene::settlement(1, Purpose::JobWork, crate::scene::msats(5_000), now);
    let late = Command::PaymentCredit { job: job_id(1), identity: None, payment };
    accepted(store.as_ref(), late, now).await;
    assert_eq!((&*job(&store, 1).await.request, job(&store, 1).await.text_deleted_at), ("", Some(now)));
    assert_sound(&store).await;
}

/// What expired unpaid has no text from then on.
pub async fn an_expired_job_says_since_when_it_has_no_text(store: FreshStore) {
    job_at(store.as_ref(), 1, Stage::Invoiced, START).await;
    let invoice = invoice(1, Purpose::JobEval, START).payment_hash;
    let expire = Command::InvoiceExpire { job: job_id(1), identity: None, invoice };
    accepted(store.as_ref(), expire, START + EXPIRY).await;
    assert_eq!(store.expired_texts_purge(9).await.unwrap(), 1);
    assert_eq!(job(&store, 1).await.text_deleted_at, Some(START + EXPIRY));
    assert_eq!(store.old_texts_purge(START + DAY, START + DAY, 9).await.unwrap(), 0);
}

fn found(jobs: u64, session_requests: u64, responses: u64, running: u64) -> TextsFound {
    TextsFound { jobs, session_requests, responses, running }
}

async fn delete(store: &FreshStore, owner: TextOwner, until: Timestamp) -> TextsFound {
    store.texts_delete(&owner, until, LATER, 9).await.unwrap()
}

/// Of one job, of one session, of one identity, of one install: everything of theirs that has ended, and nothing of anybody else.
pub async fn one_customers_texts_are_deleted_on_request(store: FreshStore) {
    for (n, stage) in [(1, Stage::Complete), (3, Stage::Complete), (2, Stage::Executing)] {
        job_at(store.as_ref(), n, stage, START).await;
    }
    session(&store).await;
    let identity = Job { identity: Some(pubkey(1)), ..new_job(4, START) };
    let create = Command::JobCreate { job: Box::new(identity), idempotency: None, instead_of: None };
    accepted(store.as_ref(), create, START).await;

    let of_job = |n| TextOwner::Job(job_id(n));
    assert_eq!(store.texts_found(&of_job(1), START).await.unwrap(), found(1, 0, 0, 0));
    assert_eq!(store.texts_found(&of_job(1), START - DAY).await.unwrap(), found(0, 0, 0, 0), "made later");
    assert_eq!(store.texts_found(&of_job(2), START).await.unwrap(), found(0, 0, 0, 1));
    assert_eq!(delete(&store, of_job(1), START).await, found(1, 0, 0, 0));
    assert_eq!(delete(&store, of_job(1), START).await, found(0, 0, 0, 0), "once");
    assert_eq!(delete(&store, of_job(2), START).await, found(0, 0, 0, 0), "it runs");
    assert_eq!(delete(&store, of_job(9), START).await, found(0, 0, 0, 0), "there is no such job");

    let of_session = TextOwner::Session(session_id(1));
    assert_eq!(store.texts_found(&of_session, START).await.unwrap(), found(0, 1, 0, 1));
    assert_eq!(delete(&store, of_session, START).await, found(0, 1, 0, 0));

    let of_identity = TextOwner::Identity(pubkey(1));
    assert_eq!(store.texts_found(&of_identity, START).await.unwrap(), found(0, 0, 0, 1));
    accepted(store.as_ref(), Command::JobAbandon { job: job_id(4) }, START + EXPIRY).await;
    assert_eq!(delete(&store, of_identity, START).await, found(1, 0, 0, 0));
    assert_eq!(delete(&store, TextOwner::Identity(pubkey(2)), START).await, found(0, 0, 0, 0));

    for (n, deleted) in [(1, true), (2, false), (3, false), (4, true)] {
        assert_eq!(job(&store, n).await.text_deleted_at.is_some(), deleted, "job {n}");
        assert_eq!(job(&store, n).await.request.is_empty(), deleted, "job {n}");
    }
    assert!(request(&store, 11).await.text_deleted_at.is_some());
    assert_eq!(request(&store, 12).await.text_deleted_at, None);
    // What ran goes on, and its text can be deleted when it has ended.
    let lease = store.jobs_claim(&claim(1, START, 9)).await.unwrap()[0].lease;
    let outcome = tithe_engine::jobs::WorkOutcome::Failed { message: "no".to_owned(), fault: Fault::Server };
    accepted(store.as_ref(), Command::WorkFinish { job: job_id(2), identity: None, lease, outcome }, START)
        .await;
    assert_eq!(delete(&store, of_job(2), START).await, found(1, 0, 0, 0));
    assert_sound(&store).await;
}

/// The response goes, and its key stays used up: the request is not done, and charged, again.
pub async fn stored_responses_are_deleted_and_their_keys_stay_used(store: FreshStore) {
    let install: tithe_ledger::credits::InstallId = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse().unwrap();
    session(&store).await;
    let (who, session) = (pubkey(1), session_id(1));
    let key = |scope: &str| IdempotencyId { scope: scope.to_owned(), key: "k".to_owned() };
    let scopes = [
        format!("install:{install}"),
        format!("install:{install} nostr:{who}"),
        format!("nostr:{who}"),
        format!("session:{session}"),
        format!("session:{session}:0011"),
        format!("nostr:{}", pubkey(2)),
        "anonymous".to_owned(),
    ];
    for scope in &scopes {
        let request = IdempotencyRequest {
            id: key(scope),
            fingerprint: [1; 32],
            keep: DAY,
            lease: DAY,
            origin: KeyOrigin::Client,
        };
        accepted(store.as_ref(), Command::IdempotencyBegin(request), START).await;
    }
    let response = StoredResponse { status: 200, body: "a secret answer".to_owned() };
    let committer = committer_at(&store, START);
    let of_install = TextOwner::Install(install);
    assert_eq!(store.texts_found(&of_install, START).await.unwrap(), found(0, 0, 0, 2), "they run");
    assert_eq!(delete(&store, of_install, START).await, found(0, 0, 0, 0));
    for scope in &scopes {
        committer.commit(IdempotencyFinish { id: key(scope), response: response.clone() }).await.unwrap();
    }
    let left = async |store: &Arc<dyn Store>| {
        let mut left = 0;
        for scope in &scopes {
            let record = store.idempotency(&key(scope)).await.unwrap().unwrap();
            assert_eq!(record.expires_at, START + DAY);
            match record.state {
                IdempotencyState::Done(kept) if kept == response => left += 1,
                IdempotencyState::Done(kept) => assert!(kept.is_deleted(), "{kept:?}"),
                IdempotencyState::InProgress { .. } => panic!("{scope}: in progress"),
            }
        }
        left
    };
    assert_eq!(delete(&store, of_install, START).await, found(0, 0, 2, 0));
    assert_eq!(left(&store).await, 5);
    assert_eq!(delete(&store, TextOwner::Identity(who), START).await, found(0, 0, 1, 0));
    assert_eq!(left(&store).await, 4);
    assert_eq!(delete(&store, TextOwner::Session(session), START).await, found(0, 1, 2, 0));
    assert_eq!(left(&store).await, 2);
    assert_sound(&store).await;
}

/// A request is remembered without the text; a later one for the same owner goes on, and what was deleted adds up.
pub async fn deletions_are_recorded(store: FreshStore) {
    let (owner, at) = (TextOwner::Job(job_id(1)), |hours| START + Duration::from_hours(hours));
    let record = |requested: u64, finished: Option<u64>, jobs| TextDeletion {
        owner,
        requested_at: at(requested),
        finished_at: finished.map(at),
        deleted: found(jobs, 0, 0, 0),
    };
    assert_eq!(store.text_deletion(&owner).await.unwrap(), None);
    store.text_deletion_record(&record(1, None, 0)).await.unwrap();
    let other = TextDeletion { owner: TextOwner::Job(job_id(2)), ..record(0, None, 1) };
    store.text_deletion_record(&other).await.unwrap();
    assert_eq!(store.text_deletions_unfinished(9).await.unwrap(), [other.clone(), record(1, None, 0)]);
    assert_eq!(store.text_deletions_unfinished(1).await.unwrap(), std::slice::from_ref(&other));
    store.text_deletion_record(&record(1, Some(2), 3)).await.unwrap();
    assert_eq!(store.text_deletion(&owner).await.unwrap(), Some(record(1, Some(2), 3)));
    assert_eq!(store.text_deletions_unfinished(9).await.unwrap(), std::slice::from_ref(&other));
    store.text_deletion_record(&record(5, None, 1)).await.unwrap();
    store.text_deletion_record(&record(1, Some(6), 1)).await.unwrap();
    assert_eq!(store.text_deletion(&owner).await.unwrap(), Some(record(5, None, 5)), "the later one goes on");
    store.deleted_texts_overwrite().await.unwrap();
}
