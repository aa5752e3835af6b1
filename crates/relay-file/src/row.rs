//! One row.

use crate::field::Field;
use crate::file::{AnchorSource, DaySource, RelayRow};
use crate::ignored::IgnoredCounter;
use crate::problem::{COUNT_MAX, Problem};
use crate::value::{AnyValue, Key, ReadObject, Scalar, SkipObject};
use serde::de::MapAccess;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Anchor, Counters, Install, InstallId, Plan};

/// How far ahead a period may begin: the clock of the machine that wrote the file may have been wrong. A period that begins much later
/// would not be renewed for as long.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// The fields of a row, as far as they could be read, and what was wrong with the others.
#[derive(Debug, Default)]
pub(crate) struct RowFields {
    plan: Option<Plan>,
    lifetime: Counters,
    monthly: Counters,
    renewal: Option<Timestamp>,
    month: Option<Timestamp>,
    day: Option<u8>,
    active: Option<Timestamp>,
    /// The fields that were seen.
    seen: Vec<Field>,
    problems: Vec<(Field, Problem)>,
}

/// Reads the fields of the row with this number.
pub(crate) struct RowReader<'r> {
    pub(crate) fields: &'r mut RowFields,
    pub(crate) ignored: &'r mut IgnoredCounter,
    pub(crate) number: u64,
    /// The present time.
    pub(crate) now: Timestamp,
}

impl ReadObject for RowReader<'_> {
    fn read_object<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Self { fields: row, ignored, number, now } = self;
        loop {
            let key = Key(|name: &str| {
                let field = Field::named(name);
                if field.is_none() {
                    ignored.in_row(name, number);
                }
                field
            });
            let Some(field) = fields.next_key_seed(key)? else { return Ok(()) };
            let value = fields.next_value_seed(AnyValue(SkipObject))?;
            if let Some(field) = field {
                row.accept(field, &value, now);
            }
        }
    }
}

impl RowFields {
    fn accept(&mut self, field: Field, value: &Scalar, now: Timestamp) {
        if self.seen.contains(&field) {
            self.refuse_duplicate(field);
            return;
        }
        self.seen.push(field);
        if *value == Scalar::Null {
            return;
        }
        if let Err(problem) = self.read(field, value, now) {
            self.problems.push((field, problem));
        }
    }

    /// A field that is there many times is one problem.
    fn refuse_duplicate(&mut self, field: Field) {
        let problem = (field, Problem::DuplicateField);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn read(&mut self, field: Field, value: &Scalar, now: Timestamp) -> Result<(), Problem> {
        match field {
            Field::TierSnapshot => self.plan = Some(plan(value)?),
            Field::LifetimeConsumed => self.lifetime.consumed = count(value)?,
            Field::LifetimeGeminiConsumed => self.lifetime.cloud_consumed = count(value)?,
            Field::LastRenewalAt => self.renewal = Some(not_ahead(time(value)?, value, now)?),
            Field::Month => self.month = Some(not_ahead(month(value)?, value, now)?),
            Field::AnniversaryDay => self.day = Some(day(value)?),
            Field::MonthlyConsumed => self.monthly.consumed = count(value)?,
            Field::MonthlyGeminiConsumed => self.monthly.cloud_consumed = count(value)?,
            Field::LastActiveAt => self.active = Some(time(value)?),
        }
        Ok(())
    }

    /// The row, or everything that is wrong with it.
    pub(crate) fn finish(self, id: InstallId, now: Timestamp) -> Result<RelayRow, Vec<(Field, Problem)>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let (period_start, anchor) = match (self.renewal, self.month) {
            (Some(renewal), month) => (renewal, AnchorSource::Renewal { has_month: month.is_some() }),
            (None, Some(first)) => (first, AnchorSource::Month),
            (None, None) => (now, AnchorSource::Now),
        };
        let last_active_at = self.active.unwrap_or_else(|| period_start.min(now));
        let install = Install {
            id,
            plan: self.plan.unwrap_or(Plan::Core),
            anchor_day: self.day.unwrap_or_else(|| Anchor::at(period_start).day()),
            period_start,
            lifetime: self.lifetime,
            monthly: self.monthly,
            last_active_at,
            created_at: period_start.min(last_active_at).min(now),
        };
        Ok(RelayRow {
            install,
            anchor,
            day: if self.day.is_some() { DaySource::Given } else { DaySource::Derived },
            has_plan: self.plan.is_some(),
            is_ahead: period_start > now,
        })
    }
}

fn plan(value: &Scalar) -> Result<Plan, Problem> {
    let read = if let Scalar::Text(text) = value { text.parse().ok() } else { None };
    read.ok_or_else(|| Problem::UnknownPlan(value.to_string()))
}

fn count(value: &Scalar) -> Result<u64, Problem> {
    match value {
        Scalar::Whole(count) if *count <= COUNT_MAX => Ok(*count),
        _ => Err(Problem::InvalidCount(value.to_string())),
    }
}

fn day(value: &Scalar) -> Result<u8, Problem> {
    let read = if let Scalar::Whole(day) = value { u8::try_from(*day).ok() } else { None };
    read.filter(|day| (1..=31).contains(day)).ok_or_else(|| Problem::InvalidDay(value.to_string()))
}

fn time(value: &Scalar) -> Result<Timestamp, Problem> {
    let read = if let Scalar::Text(text) = value { parse_time(text) } else { None };
    read.ok_or_else(|| Problem::InvalidTime(value.to_string()))
}

fn month(value: &Scalar) -> Result<Timestamp, Problem> {
    let read = if let Scalar::Text(text) = value { first_of_month(text) } else { None };
    read.ok_or_else(|| Problem::InvalidMonth(value.to_string()))
}

/// The beginning of a period, unless it is too far ahead.
fn not_ahead(beginning: Timestamp, value: &Scalar, now: Timestamp) -> Result<Timestamp, Problem> {
    if beginning > now + AHEAD_MAX {
        return Err(Problem::TooFarAhead { now, got: value.to_string() });
    }
    Ok(beginning)
}

/// The time, if it is one and, in UTC, between the years 1 and 9999.
fn parse_time(text: &str) -> Option<Timestamp> {
    let at = Timestamp::parse_rfc3339(text).ok()?;
    Timestamp::from_unix_micros(at.unix_micros()).ok()
}

/// The beginning of a month, such as `2026-01`.
fn first_of_month(text: &str) -> Option<Timestamp> {
    let has_four_digits_of_year = text.find('-') == Some(4);
    if has_four_digits_of_year { parse_time(&format!("{text}-01T00:00:00Z")) } else { None }
}
