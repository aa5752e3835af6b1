//! What is written is what is read.

use crate::{ID, NOW, at, row};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Counters, Install, InstallId, Plan};
use tithe_ledger::uuid::Uuid;
use tithe_relay_file::{Summary, read, to_text, write};

fn moments() -> impl Strategy<Value = Timestamp> {
    let all = Timestamp::MIN.unix_micros()..=Timestamp::MAX.unix_micros();
    let whole_millis = (0_i64..4_102_444_800_000).prop_map(|millis| millis * 1_000);
    prop_oneof![all, whole_millis].prop_map(|micros| Timestamp::from_unix_micros(micros).unwrap())
}

/// When the period of a row may have begun.
fn beginnings() -> impl Strategy<Value = Timestamp> {
    let latest = at(NOW) + Duration::from_hours(24);
    prop_oneof![moments().prop_map(move |moment| moment.min(latest)), Just(latest)]
}

fn counters() -> impl Strategy<Value = Counters> {
    let count = || prop_oneof![0_u64..100, 0..=1_000_000_000_000_u64];
    (count(), count()).prop_map(|(consumed, cloud_consumed)| Counters {
        consumed,
        cloud_consumed,
        ..Counters::default()
    })
}

prop_compose! {
    fn installs()(
        id in any::<u128>(), plan in proptest::sample::select(Plan::ALL.to_vec()), anchor_day in 1_u8..=31,
        period_start in beginnings(), lifetime in counters(), monthly in counters(), last_active_at in moments(),
    ) -> Install {
        let id = InstallId::new(Uuid::from_u128(id));
        // The file does not say when an install was created: it was at the earliest time that is known.
        let created_at = period_start.min(last_active_at).min(at(NOW));
        Install { id, plan, anchor_day, period_start, lifetime, monthly, last_active_at, created_at }
    }
}

proptest! {
    #[test]
    fn any_rows_are_read_as_they_were_written(all in proptest::collection::vec(installs(), 0..20)) {
        let by_id: BTreeMap<InstallId, Install> = all.into_iter().map(|install| (install.id, install)).collect();
        let text = to_text(by_id.values().rev());
        let file = read(&text, at(NOW)).unwrap();
        let rows = u64::try_from(by_id.len()).unwrap();
        let ahead = file.summary().ahead;
        prop_assert_eq!(file.summary(), Summary { rows, renewals: rows, ahead, ..Summary::default() });
        prop_assert!(file.ignored.is_empty());
        let found = file.into_installs();
        prop_assert_eq!(&found, &by_id.into_values().collect::<Vec<_>>(), "in the order of their ids");
        prop_assert_eq!(to_text(&found), text);
    }

    /// Any bytes, and any JSON-like text, are refused or read, without a panic.
    #[test]
    fn nothing_panics(text in r#"[ \[\]{}:,"\\0-9a-zé.\-]{0,80}"#, bytes in any::<Vec<u8>>()) {
        let _refused = read(&bytes, at(NOW));
        let _read = read(&text, at(NOW));
        let _read = read(format!(r#"{{"rows": {{"{ID}": {{"month": {text}}}}}}}"#), at(NOW));
    }
}

#[test]
fn a_file_of_the_current_format_is_written_back_as_the_same_json() {
    let other = json!({
        "tier_snapshot": "core",
        "lifetime_consumed": 0,
        "lifetime_gemini_consumed": 4,
        "last_renewal_at": "0099-02-28T00:00:00.120Z",
        "anniversary_day": 29,
        "monthly_consumed": 0,
        "monthly_gemini_consumed": 0,
        "last_active_at": "2026-11-03T08:15:30.250125Z",
    });
    let file = json!({"rows": {ID: row(), "00000000-0000-4000-8000-000000000001": other}});
    let installs = read(file.to_string(), at(NOW)).unwrap().into_installs();
    let text = to_text(&installs);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), file);
    let mut written = Vec::new();
    write(&mut written, &installs).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), text);
}

#[test]
fn fields_are_in_the_order_of_the_format_and_times_as_javascript_prints_them() {
    let mut install = Install::new(ID.parse().unwrap(), at("2026-01-31T12:00:00Z"));
    install.last_active_at = at("2026-01-31T12:00:00.000001Z");
    install.lifetime = Counters { consumed: 1, cloud_consumed: 2, reserved: 3, cloud_reserved: 4 };
    let expected = r#"{
  "rows": {
    "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10": {
      "tier_snapshot": "core",
      "lifetime_consumed": 1,
      "lifetime_gemini_consumed": 2,
      "last_renewal_at": "2026-01-31T12:00:00.000Z",
      "anniversary_day": 31,
      "monthly_consumed": 0,
      "monthly_gemini_consumed": 0,
      "last_active_at": "2026-01-31T12:00:00.000001Z"
    }
  }
}"#;
    assert_eq!(to_text([&install]), expected);
    assert_eq!(to_text([]), "{\n  \"rows\": {}\n}");
}

#[test]
fn a_full_disk_is_an_error() {
    let install = Install::new(ID.parse().unwrap(), at(NOW));
    let mut room = [0_u8; 10];
    assert_eq!(write(room.as_mut_slice(), [&install]).unwrap_err().kind(), std::io::ErrorKind::WriteZero);
}
