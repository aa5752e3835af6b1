//! What a relay stores and forwards.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nostr::event::Event;
use nostr::filter::{Filter, MatchEventOptions};
use tokio::sync::{broadcast, watch};

/// How many events a slow connection may be behind before it misses some.
const LIVE: usize = 4_096;

/// An event that was accepted, with its number among all that were.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub number: u64,
    pub event: Event,
}

/// The state that all connections of a relay share.
pub struct State {
    inner: Mutex<Inner>,
    live: broadcast::Sender<Accepted>,
    /// Whether connections neither read nor write.
    pub frozen: watch::Sender<bool>,
    /// The number of open connections.
    pub connections: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    stored: Vec<Event>,
    /// All events that were ever accepted, in their order.
    accepted: Vec<Event>,
    keeps_ephemeral: bool,
    rejection: Option<String>,
    requires_auth: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            live: broadcast::Sender::new(LIVE),
            frozen: watch::Sender::new(false),
            connections: watch::Sender::new(0),
        }
    }
}

impl State {
    /// The events that are accepted from now on.
    pub fn live(&self) -> broadcast::Receiver<Accepted> {
        self.live.subscribe()
    }

    pub fn accepted(&self) -> Vec<Event> {
        self.inner().accepted.clone()
    }

    pub fn keeps_ephemeral_set(&self, keeps: bool) {
        self.inner().keeps_ephemeral = keeps;
    }

    pub fn rejection_set(&self, rejection: Option<String>) {
        self.inner().rejection = rejection;
    }

    pub fn requires_auth_set(&self, requires: bool) {
        self.inner().requires_auth = requires;
    }

    pub fn requires_auth(&self) -> bool {
        self.inner().requires_auth
    }

    pub fn forget(&self) {
        self.inner().stored.clear();
    }

    /// Accepts an event and forwards it, or says why not. Returns whether it was known already.
    pub fn publish(&self, event: Event) -> Result<bool, String> {
        if event.verify().is_err() {
            return Err("invalid: wrong id or signature".to_owned());
        }
        let mut inner = self.inner();
        if let Some(rejection) = &inner.rejection {
            return Err(rejection.clone());
        }
        let known = |events: &[Event]| events.iter().any(|known| known.id == event.id);
        // What was forgotten may come again.
        if known(&inner.stored) || (event.kind.is_ephemeral() && known(&inner.accepted)) {
            return Ok(true);
        }
        if !inner.store(&event) {
            return Ok(true);
        }
        inner.accepted.push(event.clone());
        let number = u64::try_from(inner.accepted.len()).unwrap_or(u64::MAX);
        // Under the lock, so that the numbers of forwarded events only grow.
        let _ = self.live.send(Accepted { number, event });
        Ok(false)
    }

    /// The stored events that match, the newest first for each filter, and the number of the last event that may be among them.
    pub fn query(&self, filters: &[Filter]) -> (Vec<Event>, u64) {
        let inner = self.inner();
        let mut found: Vec<Event> = Vec::new();
        for filter in filters {
            let matching = inner.stored.iter().rev().filter(|event| matches(filter, event));
            for event in matching.take(filter.limit.unwrap_or(usize::MAX)) {
                if !found.iter().any(|other| other.id == event.id) {
                    found.push(event.clone());
                }
            }
        }
        (found, u64::try_from(inner.accepted.len()).unwrap_or(u64::MAX))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Stores an event in the order of creation, if its kind is stored. Returns whether it is news: an older version of a
    /// replaceable event is none.
    fn store(&mut self, event: &Event) -> bool {
        if event.kind.is_ephemeral() && !self.keeps_ephemeral {
            return true;
        }
        if event.kind.is_replaceable() {
            let same = |other: &Event| other.pubkey == event.pubkey && other.kind == event.kind;
            if self.stored.iter().any(|other| same(other) && other.created_at > event.created_at) {
                return false;
            }
            self.stored.retain(|other| !same(other));
        }
        let at = self.stored.partition_point(|other| other.created_at <= event.created_at);
        self.stored.insert(at, event.clone());
        true
    }
}

/// Whether a filter lets an event through, whatever its limit.
pub fn matches(filter: &Filter, event: &Event) -> bool {
    filter.match_event(event, MatchEventOptions::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nostr::event::{EventBuilder, FinalizeEvent, Kind};
    use nostr::key::Keys;
    use nostr::types::Timestamp;

    fn event(keys: &Keys, kind: u16, at: u64, content: &str) -> Event {
        let builder = EventBuilder::new(Kind::from(kind), content);
        builder.custom_created_at(Timestamp::from(at)).finalize(keys).unwrap()
    }

    fn contents(state: &State, filter: Filter) -> Vec<String> {
        state.query(&[filter]).0.into_iter().map(|event| event.content).collect()
    }

    #[test]
    fn the_newest_version_of_a_replaceable_event_is_kept() {
        let (state, keys) = (State::default(), Keys::generate());
        for (at, content) in [(5, "new"), (4, "old"), (6, "newest")] {
            state.publish(event(&keys, 13_194, at, content)).unwrap();
        }
        state.publish(event(&Keys::generate(), 13_194, 1, "another's")).unwrap();
        assert_eq!(contents(&state, Filter::new().author(keys.public_key())), ["newest"]);
    }

    #[test]
    fn ephemeral_events_are_forwarded_and_stored_only_if_the_relay_keeps_them() {
        let (state, keys) = (State::default(), Keys::generate());
        let mut live = state.live();
        state.publish(event(&keys, 23_194, 1, "passing")).unwrap();
        assert_eq!(live.try_recv().unwrap().event.content, "passing");
        assert_eq!(contents(&state, Filter::new()), [""; 0]);
        state.keeps_ephemeral_set(true);
        state.publish(event(&keys, 23_194, 2, "kept")).unwrap();
        assert_eq!(contents(&state, Filter::new()), ["kept"]);
    }

    #[test]
    fn a_limit_takes_the_newest() {
        let (state, keys) = (State::default(), Keys::generate());
        for (at, content) in [(2, "second"), (1, "first"), (3, "third")] {
            state.publish(event(&keys, 1, at, content)).unwrap();
        }
        assert_eq!(contents(&state, Filter::new().limit(2)), ["third", "second"]);
        assert_eq!(contents(&state, Filter::new().kind(Kind::from(2))), [""; 0]);
    }

    #[test]
    fn a_forged_event_is_refused_and_a_known_one_not_forwarded_again() {
        let (state, keys) = (State::default(), Keys::generate());
        let mut forged = event(&keys, 1, 1, "true");
        forged.content = "false".to_owned();
        assert!(state.publish(forged).unwrap_err().starts_with("invalid:"));
        let known = event(&keys, 1, 1, "true");
        assert_eq!(state.publish(known.clone()), Ok(false));
        let mut live = state.live();
        assert_eq!(state.publish(known), Ok(true));
        assert!(live.try_recv().is_err());
    }
}
