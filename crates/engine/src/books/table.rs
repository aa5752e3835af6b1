//! The rows of one kind in a batch, with the changes of the command that is being decided.

use super::kind::{RowKind, Written};
use super::refusal::{Refusal, UndeclaredRow};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The rows of one kind.
///
/// A command sees the rows as the commands before it have left them. Its own changes are a draft until it is accepted; the
/// draft of a refused command is dropped.
///
/// Only declared rows can be read or written ([`super::Command::declare`]). A row that was not declared was not loaded either,
/// so an absent row and a forgotten declaration would look the same: the command would decide on a balance of zero and
/// overwrite the real one. Reading such a row is therefore an error, and fails the command even if it ignores the error.
pub struct Table<'b, K: RowKind> {
    declared: Option<&'b BTreeSet<K::Key>>,
    rows: BTreeMap<K::Key, Entry<K::Row>>,
    draft: BTreeMap<K::Key, K::Row>,
    undeclared: RefCell<Option<UndeclaredRow>>,
}

struct Entry<R> {
    row: R,
    /// Whether the row was in the database when the batch began.
    loaded: bool,
    changed: bool,
}

impl<'b, K: RowKind> Table<'b, K> {
    pub(super) fn new(loaded: Vec<K::Row>) -> Self {
        let entry = |row| (K::key(&row), Entry { row, loaded: true, changed: false });
        Self {
            declared: None,
            rows: loaded.into_iter().map(entry).collect(),
            draft: BTreeMap::new(),
            undeclared: RefCell::default(),
        }
    }

    /// The row of this key, or `None` when there is none.
    ///
    /// # Errors
    /// [`Refusal::Undeclared`] when the command did not declare the key.
    pub fn get(&self, key: &K::Key) -> Result<Option<&K::Row>, Refusal> {
        self.check(key)?;
        Ok(self.draft.get(key).or_else(|| self.rows.get(key).map(|entry| &entry.row)))
    }

    /// Whether there is a row of this key.
    ///
    /// # Errors
    /// [`Refusal::Undeclared`] when the command did not declare the key.
    pub fn contains(&self, key: &K::Key) -> Result<bool, Refusal> {
        Ok(self.get(key)?.is_some())
    }

    /// Makes the row, or replaces the row with the same key.
    ///
    /// # Errors
    /// [`Refusal::Undeclared`] when the command did not declare the key.
    pub fn put(&mut self, row: K::Row) -> Result<(), Refusal> {
        let key = K::key(&row);
        self.check(&key)?;
        self.draft.insert(key, row);
        Ok(())
    }

    fn check(&self, key: &K::Key) -> Result<(), Refusal> {
        if self.declared.is_some_and(|declared| declared.contains(key)) {
            return Ok(());
        }
        let undeclared = UndeclaredRow { kind: K::NAME, key: format!("{key:?}") };
        self.undeclared.replace(Some(undeclared.clone()));
        Err(Refusal::Undeclared(undeclared))
    }

    pub(super) fn begin(&mut self, declared: &'b BTreeSet<K::Key>) {
        self.declared = Some(declared);
    }

    /// The undeclared row that the command has touched, if it has.
    pub(super) fn take_undeclared(&self) -> Option<UndeclaredRow> {
        self.undeclared.take()
    }

    pub(super) fn accept(&mut self) {
        while let Some((key, row)) = self.draft.pop_first() {
            match self.rows.get_mut(&key) {
                Some(entry) => (entry.row, entry.changed) = (row, true),
                None => drop(self.rows.insert(key, Entry { row, loaded: false, changed: true })),
            }
        }
    }

    pub(super) fn discard(&mut self) {
        self.draft.clear();
    }

    pub(super) fn into_written(self) -> Written<K::Row> {
        let mut written = Written::default();
        for entry in self.rows.into_values().filter(|entry| entry.changed) {
            if entry.loaded { written.changed.push(entry.row) } else { written.made.push(entry.row) }
        }
        written
    }
}

/// Records that are only ever added, with those of the command that is being decided.
pub struct Log<T> {
    accepted: Vec<T>,
    draft: Vec<T>,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { accepted: Vec::new(), draft: Vec::new() }
    }
}

impl<T> Log<T> {
    /// Adds a record.
    pub fn push(&mut self, record: T) {
        self.draft.push(record);
    }

    pub(super) fn draft(&self) -> &[T] {
        &self.draft
    }

    pub(super) fn accept(&mut self) {
        self.accepted.append(&mut self.draft);
    }

    pub(super) fn discard(&mut self) {
        self.draft.clear();
    }

    pub(super) fn into_accepted(self) -> Vec<T> {
        self.accepted
    }
}
