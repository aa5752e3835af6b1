//! Rows that are refused.

use crate::{ID, NOW, at, refusals};
use serde_json::{Value, json};
use tithe_relay_file::{Field, Problem, RelayFileError, read};

/// What is wrong with a field of a row.
fn problem(field: &str, value: &str) -> String {
    let found = refusals(format!(r#"{{"rows": {{"{ID}": {{"{field}": {value}}}}}}}"#));
    let [found] = found.as_slice() else { panic!("{field} {value}: {found:?}") };
    let prefix = format!("row \"{ID}\": {field}: ");
    found.strip_prefix(&prefix).unwrap_or_else(|| panic!("{found}")).to_owned()
}

#[test]
fn an_id_must_be_a_uuid_in_lower_case() {
    let of = |id: &str| refusals(json!({"rows": {id: {}}}).to_string()).join("\n");
    assert_eq!(of(""), r#"row "": invalid id: expected a UUID in lower case, got an empty text"#);
    let upper = ID.to_uppercase();
    let expected = format!("row \"{upper}\": invalid id: expected a UUID in lower case with hyphens: {ID}");
    assert_eq!(of(&upper), expected);
    for no in ["install-1", "__proto__", "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e1"] {
        assert!(
            of(no).starts_with(&format!("row \"{no}\": invalid id: expected a UUID in lower case, such as")),
            "{no}"
        );
    }
}

#[test]
fn an_absurd_id_is_shortened_and_shown_on_one_line() {
    let long = refusals(json!({"rows": {"é".repeat(100_000): {}}}).to_string()).join("\n");
    assert!(long.starts_with(&format!("row \"{}…\": invalid id", "é".repeat(60))), "{}", long.len());
    let odd = refusals(json!({"rows": {"\u{1b}[2J\n\"": {}}}).to_string()).join("\n");
    assert!(odd.starts_with(r#"row "\u{1b}[2J\n\"": invalid id"#), "{odd}");
}

#[test]
fn an_id_that_occurs_twice_is_refused_even_if_the_rows_are_equal_or_one_is_wrong() {
    let duplicate = format!("row \"{ID}\": duplicate id: expected one row for each install");
    assert_eq!(refusals(format!(r#"{{"rows": {{"{ID}": {{}}, "{ID}": {{}}}}}}"#)).join("\n"), duplicate);
    let found = refusals(format!(r#"{{"rows": {{"{ID}": null, "{ID}": {{}}, "{ID}": 1}}}}"#));
    let not_an_object = |got: &str| format!("row \"{ID}\": expected an object, got {got}");
    assert_eq!(found, [not_an_object("null"), duplicate.clone(), duplicate, not_an_object("1")]);
    // The same text in another spelling of JSON.
    let escaped = ID.replacen('0', "\\u0030", 1);
    assert_eq!(refusals(format!(r#"{{"rows": {{"{ID}": {{}}, "{escaped}": {{}}}}}}"#)).len(), 1);
}

#[test]
fn a_field_that_occurs_twice_is_refused() {
    for fields in [
        r#""month": "2026-01", "month": "2026-01""#,
        r#""month": null, "month": "2026-01""#,
        r#""month": "2026-01", "month": null, "month": 7"#,
    ] {
        let found = refusals(format!(r#"{{"rows": {{"{ID}": {{{fields}}}}}}}"#));
        assert_eq!(found, [format!("row \"{ID}\": month: duplicate field: expected it once")], "{fields}");
    }
}

#[test]
fn a_row_must_be_an_object() {
    let shown = [
        ("null", "null"),
        ("true", "true"),
        ("-3", "-3"),
        ("[{}]", "a list"),
        (r#""a\nb""#, r#""a\nb""#),
        ("1e3", "1000.0"),
    ];
    for (value, shown) in shown {
        let found = refusals(format!(r#"{{"rows": {{"{ID}": {value}}}}}"#));
        assert_eq!(found, [format!("row \"{ID}\": expected an object, got {shown}")]);
    }
}

#[test]
fn a_plan_must_be_one_that_there_is() {
    for (value, shown) in [
        (r#""gold""#, r#""gold""#),
        (r#""Pro""#, r#""Pro""#),
        (r#""""#, r#""""#),
        ("1", "1"),
        ("[]", "a list"),
        ("{}", "an object"),
    ] {
        let expected = format!(r#"expected "core", "pro" or "max", got {shown}"#);
        assert_eq!(problem("tier_snapshot", value), expected);
    }
}

#[test]
fn a_count_must_be_a_whole_number_in_range() {
    let counts =
        ["lifetime_consumed", "lifetime_gemini_consumed", "monthly_consumed", "monthly_gemini_consumed"];
    for field in counts {
        for (value, shown) in [
            ("-1", "-1"),
            ("-0", "-0.0"),
            ("1.5", "1.5"),
            ("1.0", "1.0"),
            ("1e3", "1000.0"),
            (r#""7""#, r#""7""#),
            ("true", "true"),
            ("1000000000001", "1000000000001"),
            ("18446744073709551616", "1.8446744073709552e19"),
            ("[7]", "a list"),
        ] {
            let expected = format!("expected a whole number from 0 to 1000000000000, got {shown}");
            assert_eq!(problem(field, value), expected, "{field}");
        }
    }
}

#[test]
fn a_day_must_be_one_of_a_month() {
    for (value, shown) in [
        ("0", "0"),
        ("32", "32"),
        ("287", "287"),
        ("-1", "-1"),
        ("1.5", "1.5"),
        ("15.0", "15.0"),
        (r#""15""#, r#""15""#),
    ] {
        assert_eq!(
            problem("anniversary_day", value),
            format!("expected a whole number from 1 to 31, got {shown}")
        );
    }
}

#[test]
fn a_time_must_exist() {
    for field in ["last_renewal_at", "last_active_at"] {
        for value in [
            r#""2026-02-30T00:00:00.000Z""#,
            r#""2026-02-29T00:00:00.000Z""#,
            r#""2026-13-01T00:00:00.000Z""#,
            r#""2026-01-01T24:00:00.000Z""#,
            r#""2026-01-01""#,
            r#""2026-01-01T00:00:00""#,
            r#""Invalid Date""#,
            r#""""#,
            r#""+010000-01-01T00:00:00.000Z""#,
            r#""0000-12-31T23:59:59.999Z""#,
            r#""9999-12-31T23:59:59-01:00""#,
            "1769860800000",
            "true",
        ] {
            let expected =
                format!(r#"expected a time that exists, such as "2026-01-31T12:00:00.000Z", got {value}"#);
            assert_eq!(problem(field, value), expected, "{field}");
        }
    }
}

#[test]
fn a_month_must_be_a_year_and_a_month() {
    for value in [
        r#""2026-13""#,
        r#""2026-00""#,
        r#""2026-1""#,
        r#""2026-01-01""#,
        r#""26-01""#,
        r#""2026""#,
        r#""2026/01""#,
        r#"" 2026-01""#,
        r#""2026-01 ""#,
        r#""0000-01""#,
        r#""""#,
        "202601",
    ] {
        assert_eq!(problem("month", value), format!(r#"expected a month such as "2026-01", got {value}"#));
    }
    // It is read even if it is not used.
    let row = json!({"month": "2026-13", "last_renewal_at": "2026-01-01T00:00:00.000Z"});
    assert_eq!(refusals(json!({"rows": {ID: row}}).to_string()).len(), 1);
}

#[test]
fn a_period_must_not_begin_more_than_a_day_ahead() {
    let of = |value: &str| {
        format!(
            "expected at most one day ahead of the present time (2026-11-20T12:00:00.000000Z), got {value}"
        )
    };
    for value in [
        r#""2026-11-21T12:00:00.000001Z""#,
        r#""2026-11-21T12:00:00.000-00:01""#,
        r#""9999-12-31T00:00:00.000Z""#,
        r#""9999-12-31T23:59:59.999999Z""#,
    ] {
        assert_eq!(problem("last_renewal_at", value), of(value));
    }
    for value in [r#""2026-12""#, r#""9999-12""#] {
        assert_eq!(problem("month", value), of(value));
    }
    // Even if it is not used.
    let row = json!({"month": "9999-12", "last_renewal_at": "2026-01-01T00:00:00.000Z"});
    assert_eq!(refusals(json!({"rows": {ID: row}}).to_string()).len(), 1);
}

#[test]
fn one_row_that_cannot_be_read_is_one_row() {
    let error = read(json!({"rows": {ID: {"month": 1}}}).to_string(), at(NOW)).unwrap_err();
    assert_eq!(error.to_string(), "1 row cannot be read");
}

#[test]
fn all_problems_of_all_rows_are_reported_in_the_order_of_the_file() {
    let other = "00000000-0000-4000-8000-000000000001";
    let text = format!(
        r#"{{"rows": {{
            "{ID}": {{"monthly_consumed": -1, "tier_snapshot": "gold", "anniversary_day": 31}},
            "{other}": {{}},
            "X": {{"month": "2026-1"}}
        }}}}"#
    );
    let Err(RelayFileError::Refused(refused)) = read(text, at(NOW)) else { panic!("it is refused") };
    assert_eq!((refused.rows, refused.problems), (2, 4));
    let found: Vec<_> = refused.first.iter().map(|refusal| (refusal.row.as_str(), refusal.field)).collect();
    let expected = [
        (ID, Some(Field::MonthlyConsumed)),
        (ID, Some(Field::TierSnapshot)),
        ("X", None),
        ("X", Some(Field::Month)),
    ];
    assert_eq!(found, expected);
    assert!(matches!(refused.first.first().unwrap().problem, Problem::InvalidCount(_)));
}

#[test]
fn a_thousand_problems_are_kept_and_all_are_counted() {
    let rows: serde_json::Map<String, Value> =
        (0..1_500).map(|n| (format!("install-{n:04}"), json!({"month": 1}))).collect();
    let Err(error) = read(json!({"rows": rows}).to_string(), at(NOW)) else { panic!("it is refused") };
    assert_eq!(error.to_string(), "1500 rows cannot be read");
    let RelayFileError::Refused(refused) = error else { panic!("{error}") };
    assert_eq!((refused.rows, refused.problems, refused.first.len()), (1_500, 3_000, 1_000));
    assert_eq!(refused.first.last().unwrap().row, "install-0499");
}
