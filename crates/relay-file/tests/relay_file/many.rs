//! Large files.

use crate::{NOW, at};
use std::fmt::Write as _;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Install, InstallId};
use tithe_ledger::uuid::Uuid;
use tithe_relay_file::{read, to_text};

#[test]
fn ten_thousand_rows_are_read_and_written() {
    let install = |n| Install::new(InstallId::new(Uuid::from_u128(n)), Timestamp::UNIX_EPOCH);
    let installs: Vec<Install> = (0..10_000).map(install).collect();
    let text = to_text(&installs);
    assert_eq!(read(&text, at(NOW)).unwrap().into_installs(), installs);
}

/// `cargo test -p tithe-relay-file --release -- --ignored --nocapture`, under `/usr/bin/time -v` for the memory.
#[test]
#[ignore = "a measurement: half a gigabyte of text"]
fn a_million_rows_are_read() {
    let mut text = String::from("{\"rows\": {");
    for n in 0..1_000_000_u128 {
        let id = Uuid::from_u128(n);
        let comma = if n == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}"{id}": {{"tier_snapshot": "pro", "lifetime_consumed": 50, "lifetime_gemini_consumed": 12,
            "last_renewal_at": "2026-10-31T12:00:00.000Z", "anniversary_day": 31, "monthly_consumed": 7,
            "monthly_gemini_consumed": 3, "last_active_at": "2026-11-03T08:15:30.250Z"}}"#
        )
        .unwrap();
    }
    text.push_str("}}");
    let file = read(&text, at(NOW)).unwrap();
    println!("{} rows of {} bytes", file.rows.len(), text.len());
    assert_eq!(file.summary().renewals, 1_000_000);
}
