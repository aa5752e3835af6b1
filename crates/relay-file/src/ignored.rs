//! Fields that are not read, which are reported: a mistyped name must be seen.

use crate::value::shown;
use std::collections::BTreeMap;

/// How many names are kept.
const NAMES_KEPT: usize = 100;

/// A field that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredField {
    /// Its name as it is written in the file, with control characters escaped, and shortened if it is long.
    pub name: String,
    /// How many rows have it.
    pub rows: u64,
}

/// The fields of a file that are not read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignored {
    /// The fields of rows, in the order of their names; the first 100 names of the file.
    pub in_rows: Vec<IgnoredField>,
    /// The fields beside `rows`, in the order of the file; the first 100 names.
    pub beside_rows: Vec<String>,
    /// Whether there were more names than are kept.
    pub has_more: bool,
}

impl Ignored {
    /// Whether everything in the file is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.in_rows.is_empty() && self.beside_rows.is_empty()
    }
}

/// In how many rows a name was found.
#[derive(Debug)]
struct Found {
    rows: u64,
    /// The number of the last of them, so that a row with the name twice counts once.
    last: u64,
}

/// Counts the fields that are not read.
#[derive(Debug, Default)]
pub(crate) struct IgnoredCounter {
    in_rows: BTreeMap<String, Found>,
    beside_rows: Vec<String>,
    has_more: bool,
}

impl IgnoredCounter {
    /// A field of the row with this number.
    pub(crate) fn in_row(&mut self, name: &str, row: u64) {
        let name = shown(name);
        if let Some(found) = self.in_rows.get_mut(&name) {
            found.rows += u64::from(found.last != row);
            found.last = row;
        } else if self.in_rows.len() < NAMES_KEPT {
            self.in_rows.insert(name, Found { rows: 1, last: row });
        } else {
            self.has_more = true;
        }
    }

    /// A field beside `rows`.
    pub(crate) fn beside_rows(&mut self, name: &str) {
        if self.beside_rows.len() < NAMES_KEPT {
            self.beside_rows.push(shown(name));
        } else {
            self.has_more = true;
        }
    }

    /// What was counted.
    pub(crate) fn finish(self) -> Ignored {
        let in_rows = self.in_rows.into_iter().map(|(name, found)| IgnoredField { name, rows: found.rows });
        Ignored { in_rows: in_rows.collect(), beside_rows: self.beside_rows, has_more: self.has_more }
    }
}
