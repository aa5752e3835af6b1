//! Writing a file.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::io;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Install, InstallId};

/// Writes a file: its rows in the order of their ids, indented by two spaces. The ids must differ.
///
/// The format has no reservations: what is reserved is not written.
///
/// # Errors
/// Those of `out`.
pub fn write<'i>(out: impl io::Write, installs: impl IntoIterator<Item = &'i Install>) -> io::Result<()> {
    let mut sorted: Vec<&Install> = installs.into_iter().collect();
    sorted.sort_unstable_by_key(|install| install.id);
    serde_json::to_writer_pretty(out, &File { rows: Rows(&sorted) }).map_err(io::Error::from)
}

/// The text that [`write()`] writes.
#[must_use]
pub fn to_text<'i>(installs: impl IntoIterator<Item = &'i Install>) -> String {
    let mut text = Vec::new();
    // A vector takes everything, and JSON is UTF-8.
    write(&mut text, installs).ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
}

#[derive(Serialize)]
struct File<'i> {
    rows: Rows<'i>,
}

struct Rows<'i>(&'i [&'i Install]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_map(Some(self.0.len()))?;
        for install in self.0 {
            rows.serialize_entry(&Id(install.id), &Row::of(install))?;
        }
        rows.end()
    }
}

struct Id(InstallId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The fields of a row, in their order.
#[derive(Serialize)]
struct Row {
    tier_snapshot: &'static str,
    lifetime_consumed: u64,
    lifetime_gemini_consumed: u64,
    last_renewal_at: String,
    anniversary_day: u8,
    monthly_consumed: u64,
    monthly_gemini_consumed: u64,
    last_active_at: String,
}

impl Row {
    fn of(install: &Install) -> Self {
        Self {
            tier_snapshot: install.plan.as_str(),
            lifetime_consumed: install.lifetime.consumed,
            lifetime_gemini_consumed: install.lifetime.cloud_consumed,
            last_renewal_at: time(install.period_start),
            anniversary_day: install.anchor_day,
            monthly_consumed: install.monthly.consumed,
            monthly_gemini_consumed: install.monthly.cloud_consumed,
            last_active_at: time(install.last_active_at),
        }
    }
}

/// The time as JavaScript prints it, in milliseconds; in microseconds if it is not a whole number of milliseconds.
fn time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix("000Z") {
        Some(millis) => format!("{millis}Z"),
        None => text,
    }
}
