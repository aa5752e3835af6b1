//! What a kind of row is.

use std::fmt::Debug;

/// One kind of row that commands read and change, by key.
pub trait RowKind: 'static {
    /// What identifies a row of this kind.
    type Key: Ord + Clone + Debug + Send + Sync + 'static;
    /// The row.
    type Row: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// The kind's name in error messages.
    const NAME: &'static str;

    /// The key of a row.
    fn key(row: &Self::Row) -> Self::Key;
}

/// The rows of one kind that a batch has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<R> {
    /// Rows that did not exist when the batch was loaded. If such a row exists by now, the batch must fail and be decided
    /// again.
    pub made: Vec<R>,
    /// Rows that were loaded, and have changed.
    pub changed: Vec<R>,
}

impl<R> Default for Written<R> {
    fn default() -> Self {
        Self { made: Vec::new(), changed: Vec::new() }
    }
}

impl<R> Written<R> {
    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.made.is_empty() && self.changed.is_empty()
    }

    /// All rows that were written.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.made.iter().chain(&self.changed)
    }
}
