//! Warnings that were not delivered yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_sessions::SessionId;
use tokio::time::Instant;

/// How long the owner of a session is left alone after a message that failed.
const SESSION_REST: Duration = Duration::from_secs(20);

/// How long a message rests that was not delivered: the first time, and at most; in between twice as long each time.
const FIRST_REST: Duration = SESSION_REST;
const REST_MAX: Duration = Duration::from_hours(1);

/// How long a message is tried.
const TRIED_FOR: Duration = Duration::from_hours(24);

/// Warnings that were not delivered yet, on this server.
#[derive(Default)]
pub(super) struct Undelivered(Mutex<HashMap<SessionId, Failing>>);

/// A session whose owner could not be told everything.
struct Failing {
    /// When the next message may be tried.
    next: Instant,
    messages: HashMap<String, Message>,
}

struct Message {
    first: Instant,
    rest: Duration,
    next: Instant,
}

impl Undelivered {
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is sent to the owner of this session now.
    pub(super) fn rests(&self, session: SessionId) -> bool {
        self.sessions().get(&session).is_some_and(|failing| Instant::now() < failing.next)
    }

    /// Whether this message is not sent now.
    pub(super) fn message_rests(&self, session: SessionId, id: &str) -> bool {
        let sessions = self.sessions();
        let message = sessions.get(&session).and_then(|failing| failing.messages.get(id));
        message.is_some_and(|message| Instant::now() < message.next)
    }

    /// Notes a try that has failed; returns whether it was the last.
    pub(super) fn failed(&self, session: SessionId, id: &str) -> bool {
        let now = Instant::now();
        let mut sessions = self.sessions();
        let failing =
            sessions.entry(session).or_insert_with(|| Failing { next: now, messages: HashMap::new() });
        failing.next = now + SESSION_REST;
        // One that is not due any more is not tried again.
        failing.messages.retain(|_, message| now < message.next + REST_MAX);
        let message = failing.messages.entry(id.to_owned()).or_insert(Message {
            first: now,
            rest: FIRST_REST,
            next: now,
        });
        message.next = now + message.rest;
        message.rest = (message.rest * 2).min(REST_MAX);
        now.duration_since(message.first) >= TRIED_FOR
    }

    /// The message was delivered, or is given up.
    pub(super) fn ended(&self, session: SessionId, id: &str) {
        let mut sessions = self.sessions();
        if let Some(failing) = sessions.get_mut(&session) {
            failing.messages.remove(id);
            if failing.messages.is_empty() {
                sessions.remove(&session);
            }
        }
    }

    /// Forgets the sessions that have no warning due any more.
    pub(super) fn keep(&self, due: &HashSet<SessionId>) {
        self.sessions().retain(|session, _| due.contains(session));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_tried_for_a_day_ever_more_rarely_and_hinders_no_other() {
        let (undelivered, session) = (Undelivered::default(), SessionId(Uuid::nil()));
        let mut tries = 1;
        while !undelivered.failed(session, "a") {
            assert!(undelivered.rests(session) && undelivered.message_rests(session, "a"));
            tokio::time::advance(SESSION_REST).await;
            assert!(!undelivered.rests(session) && !undelivered.message_rests(session, "b"));
            while undelivered.message_rests(session, "a") {
                tokio::time::advance(SESSION_REST).await;
            }
            tries += 1;
        }
        assert_eq!(tries, 32, "9 in the first hour and a half, then one an hour");
        undelivered.ended(session, "a");
        assert!(!undelivered.rests(session));
        assert!(!undelivered.failed(session, "a"), "another one of the same id begins anew");
        undelivered.keep(&HashSet::new());
        assert!(!undelivered.rests(session));
    }
}
