//! Files as relays write them, files with every kind of mistake, and files that Tithe writes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod good;
mod many;
mod refused;
mod round_trip;
mod shape;

use serde_json::{Value, json};
use tithe_clock::Timestamp;
use tithe_relay_file::{RelayFileError, RelayRow, read};

/// An id.
const ID: &str = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";

/// When the tests read.
const NOW: &str = "2026-11-20T12:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A row that is read without a remark.
fn row() -> Value {
    json!({
        "tier_snapshot": "pro",
        "lifetime_consumed": 50,
        "lifetime_gemini_consumed": 12,
        "last_renewal_at": "2026-10-31T12:00:00.000Z",
        "anniversary_day": 31,
        "monthly_consumed": 7,
        "monthly_gemini_consumed": 3,
        "last_active_at": "2026-11-03T08:15:30.250Z",
    })
}

/// The only row of a file.
fn read_row(row: &Value) -> RelayRow {
    let mut file = read(json!({"rows": {ID: row}}).to_string(), at(NOW)).unwrap();
    assert_eq!(file.rows.len(), 1);
    file.rows.remove(0)
}

/// What is wrong with a file, one problem a line.
fn refusals(text: impl AsRef<[u8]>) -> Vec<String> {
    match read(text, at(NOW)) {
        Err(RelayFileError::Refused(refused)) => refused.first.iter().map(ToString::to_string).collect(),
        other => panic!("expected refused rows, got {other:?}"),
    }
}
