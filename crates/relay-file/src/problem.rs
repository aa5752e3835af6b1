//! What can be wrong with a file.

use crate::field::Field;
use std::fmt;
use tithe_clock::Timestamp;
use tithe_ledger::credits::InvalidInstallId;

/// The most that an install may have used: a count above it is a mistake.
pub(crate) const COUNT_MAX: u64 = 1_000_000_000_000;

/// How many refusals are kept.
const REFUSALS_KEPT: usize = 1_000;

/// The file cannot be read. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayFileError {
    /// The text is not JSON, or it ends too early.
    #[error("invalid JSON: {problem} at line {line}, column {column}")]
    Syntax {
        /// What is wrong.
        problem: String,
        /// The line, from 1.
        line: usize,
        /// The byte of the line, from 1.
        column: usize,
    },
    /// The text is JSON, but not an object with `rows`.
    #[error("not a credits file: {0}")]
    Shape(ShapeProblem),
    /// Rows cannot be read.
    #[error("{} {} cannot be read", .0.rows, if .0.rows == 1 { "row" } else { "rows" })]
    Refused(Refused),
}

/// The JSON is not a credits file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeProblem {
    /// The file is no object.
    #[error("expected an object with the field `rows`, got {0}")]
    NotAnObject(String),
    /// The file has no `rows`, or they are `null`.
    #[error("missing field `rows`: expected an object with a row for each install id")]
    MissingRows,
    /// The file has `rows` that are no object.
    #[error("invalid field `rows`: expected an object with a row for each install id, got {0}")]
    RowsNotAnObject(String),
    /// The file has `rows` more than once.
    #[error("duplicate field `rows`: expected one, got several")]
    DuplicateRows,
}

/// Everything that is wrong with the rows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// How many rows cannot be read.
    pub rows: u64,
    /// How many problems they have together.
    pub problems: u64,
    /// The first 1000 of these problems.
    pub first: Vec<Refusal>,
}

impl Refused {
    /// Keeps a refusal, if there is room.
    pub(crate) fn push(&mut self, refusal: impl FnOnce() -> Refusal) {
        self.problems += 1;
        if self.first.len() < REFUSALS_KEPT {
            self.first.push(refusal());
        }
    }
}

/// One problem of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The row's id as it is written in the file, with control characters escaped, and shortened if it is long.
    pub row: String,
    /// The field, or `None` if the problem is the row or its id.
    pub field: Option<Field>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row \"{}\": ", self.row)?;
        if let Some(field) = self.field {
            write!(f, "{field}: ")?;
        }
        self.problem.fmt(f)
    }
}

/// What is wrong with a row or a field. The values are as a report shows them: shortened if they are long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The id is not that of an install.
    #[error("invalid id: {0}")]
    InvalidId(InvalidInstallId),
    /// Another row has the same id.
    #[error("duplicate id: expected one row for each install")]
    DuplicateId,
    /// The row is no object.
    #[error("expected an object, got {0}")]
    NotAnObject(String),
    /// The row has the field more than once.
    #[error("duplicate field: expected it once")]
    DuplicateField,
    /// The plan is not one that there is.
    #[error("expected \"core\", \"pro\" or \"max\", got {0}")]
    UnknownPlan(String),
    /// The count is not a whole number, or is out of range.
    #[error("expected a whole number from 0 to {COUNT_MAX}, got {0}")]
    InvalidCount(String),
    /// The day is not a whole number, or is out of range.
    #[error("expected a whole number from 1 to 31, got {0}")]
    InvalidDay(String),
    /// The value is not a time, or its date does not exist.
    #[error("expected a time that exists, such as \"2026-01-31T12:00:00.000Z\", got {0}")]
    InvalidTime(String),
    /// The value is not a month.
    #[error("expected a month such as \"2026-01\", got {0}")]
    InvalidMonth(String),
    /// The period begins more than one day in the future: its quota would not be renewed before.
    #[error("expected at most one day ahead of the present time ({now}), got {got}")]
    TooFarAhead {
        /// The present time.
        now: Timestamp,
        /// The value.
        got: String,
    },
}
