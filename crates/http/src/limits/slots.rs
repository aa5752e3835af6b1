//! Counting what is in use.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many of something are in use, by whom.
pub(crate) struct Slots<K>(Mutex<Taken<K>>);

struct Taken<K> {
    all: usize,
    by_key: HashMap<K, usize>,
}

impl<K> Default for Slots<K> {
    fn default() -> Self {
        Self(Mutex::new(Taken { all: 0, by_key: HashMap::new() }))
    }
}

/// One that is in use, until it is dropped.
pub(crate) struct Slot<K: Eq + Hash + Copy> {
    key: K,
    slots: Arc<Slots<K>>,
}

impl<K: Eq + Hash + Copy> Slots<K> {
    /// Takes one for `key`, unless it has `most` already.
    pub(crate) fn take(self: &Arc<Self>, key: K, most: usize) -> Option<Slot<K>> {
        let mut taken = self.lock();
        let of_key = taken.by_key.entry(key).or_insert(0);
        if *of_key >= most {
            return None;
        }
        *of_key += 1;
        taken.all += 1;
        Some(Slot { key, slots: Arc::clone(self) })
    }

    /// How many are in use.
    pub(crate) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Copy> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_key) = taken.by_key.get_mut(&self.key) {
            *of_key = of_key.saturating_sub(1);
            if *of_key == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_taken_until_it_is_dropped() {
        let slots = Arc::new(Slots::<u8>::default());
        let first = slots.take(1, 2).unwrap();
        let _second = slots.take(1, 2).unwrap();
        assert!(slots.take(1, 2).is_none());
        let other = slots.take(2, 2).unwrap();
        assert_eq!(slots.taken(), 3);
        drop(first);
        assert!(slots.take(1, 2).is_some());
        drop(other);
        assert_eq!((slots.taken(), slots.lock().by_key.len()), (1, 1), "nothing is kept of whoever has gone");
    }
}
