//! What a file says.

use crate::ignored::Ignored;
use tithe_ledger::credits::Install;

/// What a row says of the beginning of its current period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnchorSource {
    /// The time of the last renewal.
    Renewal {
        /// Whether the row has a month, too, which is not used.
        has_month: bool,
    },
    /// The month only: the period began with its first day. Old rows are like this.
    Month,
    /// Nothing: the period begins now.
    Now,
}

/// Where the day of the month comes from on which periods begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaySource {
    /// The row says it.
    Given,
    /// It is the day on which the current period began.
    Derived,
}

/// A row, and how it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayRow {
    /// The install. It was created at the earliest time that the row knows of.
    pub install: Install,
    /// What the row says of the beginning of its current period.
    pub anchor: AnchorSource,
    /// Where the day comes from on which periods begin.
    pub day: DaySource,
    /// Whether the row has a plan; `core` if not.
    pub has_plan: bool,
    /// Whether the current period begins in the future (at most one day), so that nothing is renewed before.
    pub is_ahead: bool,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayFile {
    /// The rows, in the order of the file.
    pub rows: Vec<RelayRow>,
    /// The fields that were not read.
    pub ignored: Ignored,
}

/// How many rows were read in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// All rows.
    pub rows: u64,
    /// Rows with the time of the last renewal.
    pub renewals: u64,
    /// Those of them that have a month, too, which was not used.
    pub months_unused: u64,
    /// Old rows, which have only a month.
    pub months: u64,
    /// Rows with neither, whose period begins now.
    pub anchored_now: u64,
    /// Rows whose day of the month was derived from the beginning of their period.
    pub days_derived: u64,
    /// Rows without a plan, which are `core`.
    pub plans_absent: u64,
    /// Rows whose period begins in the future, at most one day.
    pub ahead: u64,
}

impl RelayFile {
    /// How many rows were read in which way.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for row in &self.rows {
            summary.rows += 1;
            match row.anchor {
                AnchorSource::Renewal { has_month } => {
                    summary.renewals += 1;
                    summary.months_unused += u64::from(has_month);
                }
                AnchorSource::Month => summary.months += 1,
                AnchorSource::Now => summary.anchored_now += 1,
            }
            summary.days_derived += u64::from(row.day == DaySource::Derived);
            summary.plans_absent += u64::from(!row.has_plan);
            summary.ahead += u64::from(row.is_ahead);
        }
        summary
    }

    /// The installs, in the order of the file.
    #[must_use]
    pub fn into_installs(self) -> Vec<Install> {
        self.rows.into_iter().map(|row| row.install).collect()
    }
}
