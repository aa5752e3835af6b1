//! The rows of one batch while its commands are decided.

use super::rows::{Changes, LoadedRows, Rows};
use tithe_clock::Timestamp;
use tithe_free_tier::Rules;

/// The rows of one batch as the commands so far have left them. Services add the operations that their commands share.
pub struct Books<'b> {
    now: Timestamp,
    rules: &'b Rules,
    /// The rows.
    pub rows: Rows<'b>,
}

impl<'b> Books<'b> {
    pub(super) fn new(loaded: LoadedRows, rules: &'b Rules, now: Timestamp) -> Self {
        Self { now, rules, rows: Rows::new(loaded) }
    }

    /// The time as of which the batch is decided.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The operator's rules.
    #[must_use]
    pub const fn rules(&self) -> &'b Rules {
        self.rules
    }

    pub(super) fn into_changes(self) -> Changes {
        self.rows.into_changes()
    }
}
