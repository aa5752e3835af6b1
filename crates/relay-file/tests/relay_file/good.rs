//! What is read.

use crate::{ID, NOW, at, read_row, row};
use serde_json::{Value, json};
use tithe_ledger::credits::{Counters, Install, Plan};
use tithe_relay_file::{AnchorSource, DaySource, IgnoredField, RelayRow, Summary, read};

#[test]
fn a_row_of_the_current_format_is_read_as_it_is() {
    let install = Install {
        id: ID.parse().unwrap(),
        plan: Plan::Pro,
        anchor_day: 31,
        period_start: at("2026-10-31T12:00:00Z"),
        lifetime: Counters { consumed: 50, cloud_consumed: 12, ..Counters::default() },
        monthly: Counters { consumed: 7, cloud_consumed: 3, ..Counters::default() },
        last_active_at: at("2026-11-03T08:15:30.250Z"),
        created_at: at("2026-10-31T12:00:00Z"),
    };
    let expected = RelayRow {
        install,
        anchor: AnchorSource::Renewal { has_month: false },
        day: DaySource::Given,
        has_plan: true,
        is_ahead: false,
    };
    assert_eq!(read_row(&row()), expected);
}

#[test]
fn an_old_row_begins_with_its_month() {
    let read = read_row(&json!({"tier_snapshot": "max", "month": "2026-02", "monthly_consumed": 9}));
    assert_eq!((read.anchor, read.day), (AnchorSource::Month, DaySource::Derived));
    let install = read.install;
    assert_eq!((install.period_start, install.anchor_day), (at("2026-02-01T00:00:00Z"), 1));
    assert_eq!((install.plan, install.monthly.consumed), (Plan::Max, 9));
    assert_eq!(install.last_active_at, install.period_start, "nothing later is known");
}

#[test]
fn a_row_with_neither_begins_now() {
    for empty in [json!({}), json!({"month": null, "last_renewal_at": null, "tier_snapshot": null})] {
        let read = read_row(&empty);
        assert_eq!((read.anchor, read.day, read.has_plan), (AnchorSource::Now, DaySource::Derived, false));
        assert_eq!(read.install, Install::new(ID.parse().unwrap(), at(NOW)));
    }
}

#[test]
fn the_day_is_derived_from_the_renewal_in_utc_unless_it_is_given() {
    let day = |row: Value| {
        let read = read_row(&row);
        (read.install.anchor_day, read.day)
    };
    assert_eq!(day(json!({"last_renewal_at": "2026-02-28T10:00:00.000Z"})), (28, DaySource::Derived));
    assert_eq!(day(json!({"last_renewal_at": "2026-02-28T23:30:00-01:00"})), (1, DaySource::Derived));
    let given = json!({"last_renewal_at": "2026-02-28T10:00:00.000Z", "anniversary_day": 31});
    assert_eq!(day(given), (31, DaySource::Given));
    assert_eq!(day(json!({"month": "2026-02", "anniversary_day": 15})), (15, DaySource::Given));
    assert_eq!(day(json!({"anniversary_day": null})), (20, DaySource::Derived));
}

#[test]
fn the_renewal_counts_when_there_is_a_month_too() {
    let read = read_row(&json!({"month": "2026-03", "last_renewal_at": "2026-10-05T01:02:03.004Z"}));
    assert_eq!(read.anchor, AnchorSource::Renewal { has_month: true });
    assert_eq!(read.install.period_start, at("2026-10-05T01:02:03.004Z"));
}

#[test]
fn times_are_any_rfc_3339() {
    for text in [
        "2026-10-31T12:00:00Z",
        "2026-10-31T14:00:00.000+02:00",
        "2026-10-31T12:00:00.000000999Z",
        "2026-10-31t12:00:00z",
    ] {
        let read = read_row(&json!({"last_renewal_at": text}));
        assert_eq!(read.install.period_start, at("2026-10-31T12:00:00Z"), "{text}");
    }
}

#[test]
fn counts_may_be_anything_up_to_a_million_millions() {
    let row = json!({
        "lifetime_consumed": 0, "lifetime_gemini_consumed": 1_000_000_000_000_u64, "monthly_gemini_consumed": 1,
    });
    let install = read_row(&row).install;
    // A relay counts the cloud apart: it may have counted more there than altogether.
    assert_eq!(install.lifetime.cloud_consumed, 1_000_000_000_000);
    assert_eq!(
        (install.lifetime.consumed, install.monthly.consumed, install.monthly.cloud_consumed),
        (0, 0, 1)
    );
}

#[test]
fn the_install_was_created_at_the_earliest_time_that_is_known() {
    let created = |row: Value| read_row(&row).install.created_at;
    let (early, late) = ("2026-01-02T00:00:00Z", "2026-11-21T00:00:00Z");
    assert_eq!(created(json!({"last_renewal_at": early, "last_active_at": late})), at(early));
    assert_eq!(created(json!({"last_renewal_at": late, "last_active_at": early})), at(early));
    assert_eq!(created(json!({"last_renewal_at": late, "last_active_at": late})), at(NOW));
}

#[test]
fn the_summary_says_how_rows_were_read() {
    let id = |n: u8| format!("00000000-0000-4000-8000-0000000000{n:02}");
    let text = json!({"rows": {
        id(1): row(),
        id(2): {"last_renewal_at": "2026-11-20T12:00:00.001Z", "month": "2026-11", "tier_snapshot": "core"},
        id(3): {"last_renewal_at": "2026-11-21T12:00:00.000Z"},
        id(4): {"month": "2026-01", "anniversary_day": 1},
        id(5): {},
    }});
    let file = read(text.to_string(), at(NOW)).unwrap();
    let expected = Summary {
        rows: 5,
        renewals: 3,
        months_unused: 1,
        months: 1,
        anchored_now: 1,
        days_derived: 3,
        plans_absent: 3,
        ahead: 2,
    };
    assert_eq!(file.summary(), expected);
    assert!(file.ignored.is_empty());
    let ids: Vec<String> = file.into_installs().iter().map(|install| install.id.to_string()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(id));
}

#[test]
fn a_period_may_begin_a_day_ahead() {
    let read = read_row(&json!({"last_renewal_at": "2026-11-21T12:00:00.000Z"}));
    assert_eq!((read.is_ahead, read.install.period_start), (true, at("2026-11-21T12:00:00Z")));
    let text = json!({"rows": {ID: {"month": "2026-12"}}}).to_string();
    let month = tithe_relay_file::read(text, at("2026-11-30T00:00:00Z")).unwrap();
    assert_eq!(month.summary().ahead, 1);
    assert!(!read_row(&json!({"last_renewal_at": NOW})).is_ahead);
}

#[test]
fn fields_that_are_not_known_are_ignored_and_counted() {
    let text = r#"{"version": {"a": [1]}, "rows": {
        "00000000-0000-4000-8000-000000000001": {"monthly_consumd": 7, "email": {"deep": [{}]}, "monthly_consumd": 8},
        "00000000-0000-4000-8000-000000000002": {"monthly_consumd": null, "a\u0007\n": 1}
    }, "after\u001b": null}"#;
    let file = read(text, at(NOW)).unwrap();
    assert_eq!(file.rows.len(), 2);
    assert_eq!(file.rows.iter().map(|row| row.install.monthly.consumed).sum::<u64>(), 0);
    let named = |name: &str, rows| IgnoredField { name: name.to_owned(), rows };
    assert_eq!(file.ignored.in_rows, [named(r"a\u{7}\n", 1), named("email", 1), named("monthly_consumd", 2)]);
    assert_eq!(file.ignored.beside_rows, ["version", r"after\u{1b}"]);
    assert!(!file.ignored.has_more && !file.ignored.is_empty());
}

#[test]
fn only_so_many_names_of_ignored_fields_are_kept() {
    let fields = |prefix: &str| {
        (0..150).map(|n| (format!("{prefix}{n:03}"), Value::Null)).collect::<serde_json::Map<_, _>>()
    };
    let mut all = fields("b");
    all.insert("rows".to_owned(), json!({ID: fields("a")}));
    let file = read(Value::from(all).to_string(), at(NOW)).unwrap();
    assert_eq!((file.ignored.in_rows.len(), file.ignored.beside_rows.len()), (100, 100));
    assert!(file.ignored.has_more);
}
