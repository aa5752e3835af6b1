//! Idempotency keys: repeating a request with its key returns the first response.

use std::time::Duration;
use tithe_clock::Timestamp;
use uuid::Uuid;

/// What identifies a key: the same text from two credentials is two keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyId {
    /// The credential that the key belongs to.
    pub scope: String,
    /// The key as the client chose it.
    pub key: String,
}

/// A response as it was given, kept to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: String,
}

impl StoredResponse {
    /// What is left of a response that was deleted on request: its key is still used up, so that the request is not done again.
    #[must_use]
    pub const fn deleted() -> Self {
        Self { status: 410, body: String::new() }
    }

    /// Whether the response was deleted on request.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.status == 410 && self.body.is_empty()
    }
}

/// Where the key of a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyOrigin {
    /// The client has chosen it: the same key is the same request.
    #[default]
    Client,
    /// It is derived from a request that says of itself that it is its first try: a new request, although the same may have been done before.
    FirstTry,
    /// It is derived from a request that says of itself that it is a repetition: the one that has just been done, or still runs.
    Repetition,
}

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRequest {
    /// The key.
    pub id: IdempotencyId,
    /// The SHA-256 of the request's method, path and body.
    pub fingerprint: [u8; 32],
    /// How long the response is kept.
    pub keep: Duration,
    /// How long the request may run before another server may take it over.
    pub lease: Duration,
    /// Where the key comes from.
    pub origin: KeyOrigin,
}

/// The progress of a keyed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyState {
    /// The request is running.
    InProgress {
        /// The time until which its server is assumed to be alive.
        lease_until: Timestamp,
    },
    /// The request was answered.
    Done(StoredResponse),
}

/// What is stored of a keyed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The key.
    pub id: IdempotencyId,
    /// The SHA-256 of the request's method, path and body.
    pub fingerprint: [u8; 32],
    /// What the request has made, such as a job, so that a server that takes the request over makes no second one.
    pub subject: Option<Uuid>,
    /// The progress of the request.
    pub state: IdempotencyState,
    /// When the key was first used.
    pub created_at: Timestamp,
    /// When the record is deleted.
    pub expires_at: Timestamp,
}

impl IdempotencyRecord {
    /// Whether the record is of this request, which is unanswered and has made `subject`.
    pub(crate) fn is_begun_as(&self, request: &IdempotencyRequest, subject: Uuid) -> bool {
        let unanswered = matches!(self.state, IdempotencyState::InProgress { .. });
        unanswered && self.fingerprint == request.fingerprint && self.subject == Some(subject)
    }
}

/// Why a keyed request cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyConflict {
    /// The key was used with another request.
    Reused,
    /// The first request with this key is still running.
    InProgress,
}

/// How a keyed request begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The key is new: store this record.
    New(IdempotencyRecord),
    /// An earlier request with this key was abandoned: store this record and continue with what it has made.
    Resume(IdempotencyRecord),
    /// The request was answered before.
    Replay(StoredResponse),
}

impl IdempotencyRequest {
    /// Decides how the request begins, given what is stored for its key.
    pub(crate) fn begin(
        &self,
        stored: Option<&IdempotencyRecord>,
        subject: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Begin, KeyConflict> {
        let state = IdempotencyState::InProgress { lease_until: now + self.lease };
        let Some(stored) = stored.filter(|stored| now < stored.expires_at) else {
            return Ok(Begin::New(IdempotencyRecord {
                id: self.id.clone(),
                fingerprint: self.fingerprint,
                subject,
                state,
                created_at: now,
                expires_at: now + self.keep,
            }));
        };
        if stored.fingerprint != self.fingerprint {
            return Err(KeyConflict::Reused);
        }
        match &stored.state {
            IdempotencyState::Done(_) if self.origin == KeyOrigin::FirstTry => self.begin(None, subject, now),
            IdempotencyState::Done(response) => Ok(Begin::Replay(response.clone())),
            IdempotencyState::InProgress { lease_until } if now < *lease_until => {
                Err(KeyConflict::InProgress)
            }
            IdempotencyState::InProgress { .. } => {
                Ok(Begin::Resume(IdempotencyRecord { state, ..stored.clone() }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: Duration = Duration::from_secs(30);
    const DAY: Duration = Duration::from_hours(24);

    fn request(fingerprint: u8) -> IdempotencyRequest {
        let id = IdempotencyId { scope: "anonymous".to_owned(), key: "k".to_owned() };
        IdempotencyRequest {
            id,
            fingerprint: [fingerprint; 32],
            keep: DAY,
            lease: LEASE,
            origin: KeyOrigin::Client,
        }
    }

    fn begun() -> IdempotencyRecord {
        match request(1).begin(None, Some(Uuid::nil()), NOW).unwrap() {
            Begin::New(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_request_is_refused_while_the_first_is_running() {
        assert_eq!(request(1).begin(Some(&begun()), None, NOW), Err(KeyConflict::InProgress));
    }

    #[test]
    fn an_abandoned_request_is_taken_over_with_what_it_has_made() {
        let Begin::Resume(record) = request(1).begin(Some(&begun()), None, NOW + LEASE).unwrap() else {
            panic!("not taken over");
        };
        assert_eq!(record.subject, Some(Uuid::nil()));
        assert_eq!(record.state, IdempotencyState::InProgress { lease_until: NOW + LEASE + LEASE });
    }

    #[test]
    fn a_first_try_is_a_new_request_and_its_repetition_is_not() {
        let response = StoredResponse { status: 200, body: "{}".to_owned() };
        let done = IdempotencyRecord { state: IdempotencyState::Done(response.clone()), ..begun() };
        let tried = |origin| IdempotencyRequest { origin, ..request(1) }.begin(Some(&done), None, NOW);
        assert!(matches!(tried(KeyOrigin::FirstTry), Ok(Begin::New(_))));
        assert_eq!(tried(KeyOrigin::Repetition), Ok(Begin::Replay(response)));
        let running = |origin| IdempotencyRequest { origin, ..request(1) }.begin(Some(&begun()), None, NOW);
        for origin in [KeyOrigin::FirstTry, KeyOrigin::Repetition] {
            assert_eq!(running(origin), Err(KeyConflict::InProgress));
        }
    }

    #[test]
    fn a_response_is_replayed_for_a_day_and_only_to_the_same_request() {
        let response = StoredResponse { status: 201, body: "{}".to_owned() };
        let done = IdempotencyRecord { state: IdempotencyState::Done(response.clone()), ..begun() };
        assert_eq!(request(1).begin(Some(&done), None, NOW), Ok(Begin::Replay(response)));
        assert_eq!(request(2).begin(Some(&done), None, NOW), Err(KeyConflict::Reused));
        assert!(matches!(request(2).begin(Some(&done), None, NOW + DAY), Ok(Begin::New(_))));
    }
}
