//! Idempotency keys.

use super::FreshStore;
use crate::command::{Command, Reply};
use crate::scene::{START, accepted, commit, job_id, new_job};
use std::time::Duration;
use tithe_engine::books::Refusal;
use tithe_engine::records::{IdempotencyId, IdempotencyRequest, KeyOrigin, StoredResponse};

const LEASE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn request(scope: &str, fingerprint: u8) -> IdempotencyRequest {
    let id = IdempotencyId { scope: scope.to_owned(), key: "key ☃".to_owned() };
    IdempotencyRequest {
        id,
        fingerprint: [fingerprint; 32],
        keep: DAY,
        lease: LEASE,
        origin: KeyOrigin::Client,
    }
}

pub(super) fn create(n: u8, request: IdempotencyRequest) -> Command {
    Command::JobCreate { job: Box::new(new_job(n, START)), idempotency: Some(request), instead_of: None }
}

/// The first answer, a day long, to the same request of the same credential.
pub async fn an_answer_is_kept_and_replayed(store: FreshStore) {
    let mine = request("mine", 1);
    assert_eq!(store.idempotency(&mine.id).await.unwrap(), None);
    assert_eq!(accepted(store.as_ref(), create(1, mine.clone()), START).await, Reply::Done);
    let kept = store.idempotency(&mine.id).await.unwrap().unwrap();
    assert_eq!((kept.fingerprint, kept.subject), (mine.fingerprint, Some(job_id(1).0)));
    let again =
        commit(store.as_ref(), vec![create(2, mine.clone()), create(3, request("mine", 2))], START).await;
    assert_eq!(again, [Err(Refusal::RequestInProgress), Err(Refusal::IdempotencyKeyReused)]);
    // Whoever comes after the first has died goes on from the job that it had made.
    let resumed = accepted(store.as_ref(), create(2, mine.clone()), START + LEASE).await;
    assert_eq!(resumed, Reply::Resumed { subject: Some(job_id(1).0) });
    assert_eq!(store.job(job_id(2)).await.unwrap(), None);
    let answer = StoredResponse { status: 201, body: "{\"a\":\"☃\"}".to_owned() };
    let finish = |answer: &StoredResponse| Command::IdempotencyFinish {
        id: mine.id.clone(),
        response: answer.clone(),
    };
    accepted(store.as_ref(), finish(&answer), START + LEASE).await;
    let late = StoredResponse { status: 500, body: String::new() };
    assert_eq!(accepted(store.as_ref(), finish(&late), START + LEASE).await, Reply::AlreadyDone);
    let replayed = accepted(store.as_ref(), create(4, mine.clone()), START + LEASE).await;
    assert_eq!(replayed, Reply::Replayed(answer));
    // Another credential's key of the same name is another key.
    assert_eq!(accepted(store.as_ref(), create(5, request("theirs", 9)), START).await, Reply::Done);
    assert_eq!(accepted(store.as_ref(), create(6, mine), START + DAY).await, Reply::Done);
}

/// After their day, and not before.
pub async fn old_keys_are_forgotten(store: FreshStore) {
    accepted(store.as_ref(), Command::IdempotencyBegin(request("a", 1)), START).await;
    accepted(store.as_ref(), Command::IdempotencyBegin(request("b", 1)), START + LEASE).await;
    assert_eq!(store.idempotency_purge(START + DAY - LEASE, 100).await.unwrap(), 0);
    assert_eq!(store.idempotency_purge(START + DAY, 100).await.unwrap(), 1);
    let release = Command::IdempotencyRelease { id: request("b", 1).id };
    assert_eq!(accepted(store.as_ref(), release, START + LEASE).await, Reply::Done);
    let retried = accepted(store.as_ref(), Command::IdempotencyBegin(request("b", 1)), START + LEASE).await;
    assert_eq!(retried, Reply::Resumed { subject: None });
}
