//! Idempotency keys: the same request twice is the same answer twice.

use crate::commands::Refusal;
use std::time::Duration;
use tithe_clock::Timestamp;
use uuid::Uuid;

/// Names a key within the credential that used it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyId {
    /// Whose key it is: keys of two credentials never meet.
    pub scope: String,
    /// The key, as the client chose it.
    pub key: String,
}

/// An answer as it was given, to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its JSON body.
    pub body: String,
}

/// A request that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRequest {
    /// The key.
    pub id: IdempotencyId,
    /// The SHA-256 of what was asked: method, path and body.
    pub fingerprint: [u8; 32],
    /// How long the answer is kept.
    pub keep: Duration,
    /// How long the request may run before another server may take it over.
    pub lease: Duration,
}

/// Where a keyed request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyState {
    /// It runs, on a server that is believed to be alive until then.
    InProgress {
        /// Until when.
        lease_until: Timestamp,
    },
    /// It was answered.
    Done(StoredAnswer),
}

/// What is kept of a keyed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The key.
    pub id: IdempotencyId,
    /// What was asked.
    pub fingerprint: [u8; 32],
    /// What it made (a job), so that whoever takes it over makes no second one.
    pub subject: Option<Uuid>,
    /// Where it stands.
    pub state: IdempotencyState,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

impl IdempotencyRecord {
    /// Whether this is the same request, unanswered, and what it made is `subject`.
    pub(crate) fn is_begun_as(&self, request: &IdempotencyRequest, subject: Uuid) -> bool {
        let unanswered = matches!(self.state, IdempotencyState::InProgress { .. });
        unanswered && self.fingerprint == request.fingerprint && self.subject == Some(subject)
    }
}

/// How a keyed request begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It is new: keep this record and go on.
    New(IdempotencyRecord),
    /// Somebody began it and died: keep this record and go on from what they made.
    Resume(IdempotencyRecord),
    /// It was answered before.
    Replay(StoredAnswer),
}

impl IdempotencyRequest {
    /// Decides how the request begins, given what is kept of its key.
    pub(crate) fn begin(
        &self,
        kept: Option<&IdempotencyRecord>,
        subject: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Begin, Refusal> {
        let state = IdempotencyState::InProgress { lease_until: now + self.lease };
        let Some(kept) = kept.filter(|kept| now < kept.expires_at) else {
            return Ok(Begin::New(IdempotencyRecord {
                id: self.id.clone(),
                fingerprint: self.fingerprint,
                subject,
                state,
                created_at: now,
                expires_at: now + self.keep,
            }));
        };
        if kept.fingerprint != self.fingerprint {
            return Err(Refusal::IdempotencyKeyReused);
        }
        match &kept.state {
            IdempotencyState::Done(answer) => Ok(Begin::Replay(answer.clone())),
            IdempotencyState::InProgress { lease_until } if now < *lease_until => {
                Err(Refusal::RequestInProgress)
            }
            IdempotencyState::InProgress { .. } => {
                Ok(Begin::Resume(IdempotencyRecord { state, ..kept.clone() }))
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
        IdempotencyRequest { id, fingerprint: [fingerprint; 32], keep: DAY, lease: LEASE }
    }

    fn begun() -> IdempotencyRecord {
        match request(1).begin(None, Some(Uuid::nil()), NOW).unwrap() {
            Begin::New(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn while_the_first_runs_the_second_waits() {
        assert_eq!(request(1).begin(Some(&begun()), None, NOW), Err(Refusal::RequestInProgress));
    }

    #[test]
    fn what_a_dead_server_began_is_taken_over_with_what_it_made() {
        let Begin::Resume(record) = request(1).begin(Some(&begun()), None, NOW + LEASE).unwrap() else {
            panic!("not taken over");
        };
        assert_eq!(record.subject, Some(Uuid::nil()));
        assert_eq!(record.state, IdempotencyState::InProgress { lease_until: NOW + LEASE + LEASE });
    }

    #[test]
    fn an_answer_is_replayed_for_a_day_and_to_the_same_request_only() {
        let answer = StoredAnswer { status: 201, body: "{}".to_owned() };
        let done = IdempotencyRecord { state: IdempotencyState::Done(answer.clone()), ..begun() };
        assert_eq!(request(1).begin(Some(&done), None, NOW), Ok(Begin::Replay(answer)));
        assert_eq!(request(2).begin(Some(&done), None, NOW), Err(Refusal::IdempotencyKeyReused));
        assert!(matches!(request(2).begin(Some(&done), None, NOW + DAY), Ok(Begin::New(_))));
    }
}
