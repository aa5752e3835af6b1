//! Loaded rows, with what the command at hand would change.

use std::collections::BTreeMap;

/// The rows of one kind. A command's changes are a draft until it is accepted; a refused command's draft is dropped.
pub(super) struct Rows<K, V> {
    current: BTreeMap<K, V>,
    draft: BTreeMap<K, V>,
    changed: BTreeMap<K, V>,
}

impl<K: Ord + Clone, V: Clone> Rows<K, V> {
    pub(super) fn new(rows: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { current: rows.into_iter().collect(), draft: BTreeMap::new(), changed: BTreeMap::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.draft.get(key).or_else(|| self.current.get(key))
    }

    pub(super) fn put(&mut self, key: K, row: V) {
        self.draft.insert(key, row);
    }

    pub(super) fn accept(&mut self) {
        for (key, row) in std::mem::take(&mut self.draft) {
            self.current.insert(key.clone(), row.clone());
            self.changed.insert(key, row);
        }
    }

    pub(super) fn discard(&mut self) {
        self.draft.clear();
    }

    pub(super) fn into_changed(self) -> Vec<V> {
        self.changed.into_values().collect()
    }
}
