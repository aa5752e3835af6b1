//! How many wait for something of one session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tithe_sessions::SessionId;

/// How many may wait on one server for the answer that one payment buys. Its proof is one customer's: who sends it more often at once gains
/// nothing, and each waiting request looks into the database again and again.
pub(super) const FOR_AN_ANSWER: u32 = 128;

/// How many answers of one session may wait on one server for a top-up: each keeps a slot, and one session is to leave places to others.
pub(super) const FOR_A_TOP_UP: u32 = 2;

/// Those who wait, by what was paid for.
#[derive(Debug)]
pub(super) struct Waiters {
    most: u32,
    waiting: Mutex<HashMap<SessionId, u32>>,
}

/// One who waits. Dropping it makes room for another.
#[derive(Debug)]
pub struct Waiter {
    all: Arc<Waiters>,
    session: SessionId,
}

impl Waiters {
    /// At most so many for each session.
    pub(super) fn at_most(most: u32) -> Arc<Self> {
        Arc::new(Self { most, waiting: Mutex::default() })
    }

    /// Lets one more wait; `None` if too many do.
    pub(super) fn join(self: &Arc<Self>, session: SessionId) -> Option<Waiter> {
        let mut waiting = self.lock();
        let count = waiting.entry(session).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Waiter { all: Arc::clone(self), session })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.all.lock();
        if let Some(count) = waiting.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn each_payment_has_room_for_so_many_and_keeps_nothing_when_they_have_gone() {
        for most in [FOR_AN_ANSWER, FOR_A_TOP_UP] {
            room_for(most);
        }
    }

    fn room_for(most: u32) {
        let all = Waiters::at_most(most);
        let [one, another] = [SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2))];
        let mut waiting: Vec<_> = (0..most).map(|_| all.join(one).unwrap()).collect();
        assert!(all.join(one).is_none());
        assert!(all.join(another).is_some());
        waiting.pop();
        assert!(all.join(one).is_some(), "one has gone");
        drop(waiting);
        assert!(all.lock().is_empty());
    }
}
