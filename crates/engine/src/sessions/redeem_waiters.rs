//! How many wait for the answer to one paid request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tithe_sessions::SessionId;

/// How many may wait on one server for the answer that one payment buys. Its proof is one customer's: who sends it more often at once gains
/// nothing, and each waiting request looks into the database again and again.
const WAITERS_MAX: u32 = 128;

/// Those who wait, by what was paid for.
#[derive(Debug, Default)]
pub(super) struct RedeemWaiters(Mutex<HashMap<SessionId, u32>>);

/// One who waits. Dropping it makes room for another.
#[derive(Debug)]
pub struct RedeemWaiter {
    all: Arc<RedeemWaiters>,
    session: SessionId,
}

impl RedeemWaiters {
    /// Lets one more wait; `None` if too many do.
    pub(super) fn join(self: &Arc<Self>, session: SessionId) -> Option<RedeemWaiter> {
        let mut waiting = self.lock();
        let count = waiting.entry(session).or_default();
        if *count >= WAITERS_MAX {
            return None;
        }
        *count += 1;
        Some(RedeemWaiter { all: Arc::clone(self), session })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedeemWaiter {
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
        let all = Arc::new(RedeemWaiters::default());
        let [one, another] = [SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2))];
        let mut waiting: Vec<_> = (0..WAITERS_MAX).map(|_| all.join(one).unwrap()).collect();
        assert!(all.join(one).is_none());
        assert!(all.join(another).is_some());
        waiting.pop();
        assert!(all.join(one).is_some(), "one has gone");
        drop(waiting);
        assert!(all.lock().is_empty());
    }
}
