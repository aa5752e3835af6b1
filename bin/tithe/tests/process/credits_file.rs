//! `tithe credits`: a relay's file of installs comes in, is used, and goes out.

use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Instant;

on_both_stores! {
    a_file_with_each_kind_of_row_is_imported_once_and_exported,
    ten_thousand_rows_are_imported_at_once,
}

/// An id for tests.
fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// A folder with a database that has no installs.
fn migrated(env: TestEnv) -> TestEnv {
    let migrated = env.run(&["migrate"]);
    assert!(migrated.status.success(), "{}", all_of(&migrated));
    env
}

fn import(env: &TestEnv, file: &str, options: &[&str]) -> Output {
    std::fs::write(env.path().join("credits.json"), file).unwrap();
    env.run(&[&["credits", "import", "credits.json"], options].concat())
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    text(&output.stdout)
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {}", all_of(output)))
}

fn exported(env: &TestEnv) -> Value {
    serde_json::from_str(&printed(&env.run(&["credits", "export"]))).unwrap()
}

/// A row of the current format, which is exported as it was imported.
fn row(consumed: usize) -> Value {
    json!({
        "tier_snapshot": "pro",
        "lifetime_consumed": 4,
        "lifetime_gemini_consumed": 3,
        "last_renewal_at": "2026-01-31T12:00:00.000Z",
        "anniversary_day": 31,
        "monthly_consumed": consumed,
        "monthly_gemini_consumed": consumed / 2,
        "last_active_at": "2026-02-03T08:15:30.250Z",
    })
}

/// A file with each kind of row, and what is exported of all rows but the last, whose period begins with the import.
fn each_kind() -> (Value, Value) {
    let unused = json!({
        "tier_snapshot": "core", "lifetime_consumed": 0, "lifetime_gemini_consumed": 0, "monthly_consumed": 0,
        "monthly_gemini_consumed": 0,
    });
    let with = |changes: Value| {
        let mut row = unused.clone();
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        row
    };
    let (old, february) = ("2026-02-01T00:00:00.000Z", "2026-02-28T23:30:00.123456Z");
    let file = json!({"version": 2, "rows": {
        id(1): row(7),
        id(2): {"tier_snapshot": "max", "month": "2026-02", "monthly_consumed": 9, "device": "tablet"},
        id(3): {"last_renewal_at": "2026-02-28T22:30:00.123456-01:00"},
        id(4): {"last_renewal_at": old, "month": "2026-03", "anniversary_day": 30, "last_active_at": null},
        id(5): {"lifetime_consumed": 5},
    }});
    let expected = json!({
        id(1): row(7),
        id(2): with(json!({
            "tier_snapshot": "max", "last_renewal_at": old, "last_active_at": old, "anniversary_day": 1, "monthly_consumed": 9,
        })),
        id(3): with(json!({"last_renewal_at": february, "last_active_at": february, "anniversary_day": 28})),
        id(4): with(json!({"last_renewal_at": old, "last_active_at": old, "anniversary_day": 30})),
    });
    (file, expected)
}

fn a_file_with_each_kind_of_row_is_imported_once_and_exported(env: &TestEnv) {
    assert!(env.run(&["migrate"]).status.success());
    let (file, expected) = each_kind();
    let file = file.to_string();
    let report = "rows read: 5\n  \
        rows with the time of the last renewal: 3\n  \
        rows that also have a month, which was not used: 1\n  \
        rows with a month only, as in old files (their period began on its first day): 1\n  \
        rows without either (their period begins now): 1\n  \
        rows without an anniversary day (it is the day on which their period began): 3\n  \
        rows without a plan (they are core): 3\n\
        unknown fields, which were ignored:\n  device: in 1 row\n  version: at the top level of the file\n";
    let checked = printed(&import(env, &file, &["--check"]));
    assert_eq!(checked, format!("{report}the file was only checked: nothing was imported\n"));
    assert_eq!(exported(env), json!({"rows": {}}));
    let outcome = |added, kept| {
        format!("installs added: {added}\ninstalls that already existed and were left unchanged: {kept}\n")
    };
    assert_eq!(printed(&import(env, &file, &[])), report.to_owned() + &outcome(5, 0));
    let first = exported(env);
    let mut rows = first["rows"].as_object().unwrap().clone();
    let now = rows.remove(&id(5)).unwrap();
    assert_eq!(Value::from(rows), expected);
    assert_eq!((&now["lifetime_consumed"], &now["last_renewal_at"]), (&json!(5), &now["last_active_at"]));

    // Once more, with one row changed and one new: what exists stays as it is.
    let mut again: Value = serde_json::from_str(&file).unwrap();
    again["rows"][id(1)]["monthly_consumed"] = json!(0);
    again["rows"][id(6)] = row(1);
    let report = json_of(&import(env, &again.to_string(), &["--json"]));
    assert_eq!(
        (&report["accepted"], &report["rows"], &report["withMonthOnly"]),
        (&json!(true), &json!(6), &json!(1))
    );
    assert_eq!((&report["added"], &report["kept"]), (&json!(1), &json!(5)), "{report:#}");
    assert_eq!(report["ignoredInRows"], json!([{"name": "device", "rows": 1}]));
    let mut both = first;
    both["rows"][id(6)] = row(1);
    assert_eq!(exported(env), both);
    // What was exported is a file that changes nothing.
    assert!(printed(&import(env, &both.to_string(), &[])).ends_with(&outcome(0, 6)));
    assert_eq!(exported(env), both);
    env.audit();
}

/// Before the first start of a server: nothing is there yet.
fn ten_thousand_rows_are_imported_at_once(env: &TestEnv) {
    let rows: Map<String, Value> = (0..10_000).map(|n| (id(n), row(n))).collect();
    let file = json!({"rows": rows});
    let began = Instant::now();
    let report = json_of(&import(env, &file.to_string(), &["--json"]));
    println!("10 000 rows were imported in {:?}", began.elapsed());
    assert_eq!((&report["added"], &report["kept"]), (&json!(10_000), &json!(0)), "{report:#}");
    let began = Instant::now();
    let found = exported(env);
    println!("10 000 rows were exported in {:?}", began.elapsed());
    assert!(found == file, "what is exported is what was imported");
}

/// Each kind of mistake: the file, and a part of what is printed.
fn mistakes() -> Vec<(String, String)> {
    let good = row(1);
    let with = |field: &str, value: Value| {
        let mut row = row(1);
        row[field] = value;
        json!({"rows": {id(1): good, id(2): row, id(3): good}}).to_string()
    };
    let of_row = |field: &str, problem: &str| format!("row \"{}\": {field}: {problem}", id(2));
    let mut all = vec![
        (
            with("tier_snapshot", json!("gold")),
            of_row("tier_snapshot", r#"expected "core", "pro" or "max", got "gold""#),
        ),
        (
            with("anniversary_day", json!(32)),
            of_row("anniversary_day", "expected a whole number from 1 to 31, got 32"),
        ),
        (
            with("last_renewal_at", json!("2026-02-30T00:00:00.000Z")),
            of_row("last_renewal_at", "expected a time that exists"),
        ),
        (with("last_active_at", json!(5)), of_row("last_active_at", "expected a time that exists")),
        (
            with("month", json!("2026-13")),
            of_row("month", "expected a month such as \"2026-01\", got \"2026-13\""),
        ),
        (
            with("last_renewal_at", json!("9999-12-31T00:00:00.000Z")),
            of_row("last_renewal_at", "expected at most one day ahead of the present time ("),
        ),
        (
            with("month", json!("9999-12")),
            of_row("month", "expected at most one day ahead of the present time ("),
        ),
    ];
    for (value, shown) in [
        (json!(-1), "-1"),
        (json!(1.5), "1.5"),
        (json!(1.0), "1.0"),
        (json!("1"), "\"1\""),
        (json!(1_000_000_000_001_u64), "1000000000001"),
    ] {
        let problem = format!("expected a whole number from 0 to 1000000000000, got {shown}");
        all.push((with("monthly_consumed", value), of_row("monthly_consumed", &problem)));
    }
    let (first, second) = (id(1), id(2));
    let rows = |rows: String| format!(r#"{{"rows": {{"{first}": {good}, {rows}}}}}"#);
    let in_row = |problem: &str| format!("row \"{second}\": {problem}");
    all.extend([
        (
            rows(format!(r#""{second}": {{"month": "2026-01", "month": "2026-02"}}"#)),
            in_row("month: duplicate field"),
        ),
        (rows(format!(r#""{second}": []"#)), in_row("expected an object, got a list")),
        (rows(format!(r#""{first}": {good}"#)), format!("row \"{first}\": duplicate id")),
        (rows(format!(r#""": {good}"#)), "row \"\": invalid id".to_owned()),
        (rows(format!(r#""install-1": {good}"#)), "row \"install-1\": invalid id".to_owned()),
        (
            rows(format!(r#""A0000000-0000-4000-8000-000000000000": {good}"#)),
            "lower case with hyphens: a0000000-".to_owned(),
        ),
        (rows(String::new()), "invalid JSON: trailing comma at line 1, column".to_owned()),
        (
            format!(r#"{{"rows": {{"{first}": {good}"#),
            "invalid JSON: EOF while parsing an object at line 1, column".to_owned(),
        ),
        (
            format!(r#"[{{"{first}": {good}}}]"#),
            "expected an object with the field `rows`, got a list".to_owned(),
        ),
        (format!(r#"{{"{first}": {good}}}"#), "missing field `rows`".to_owned()),
        (r#"{"rows": []}"#.to_owned(), "invalid field `rows`: expected an object".to_owned()),
        (String::new(), "invalid JSON: EOF while parsing a value at line 1, column 0".to_owned()),
    ]);
    all
}

#[test]
fn a_file_with_a_mistake_is_refused_and_nothing_is_imported() {
    let env = migrated(TestEnv::sqlite());
    for (file, reason) in mistakes() {
        for option in ["--check", "--json", ""] {
            let options: Vec<&str> = [option].into_iter().filter(|option| !option.is_empty()).collect();
            let refused = import(&env, &file, &options);
            assert_eq!(refused.status.code(), Some(1), "{file}: {}", all_of(&refused));
            if option == "--json" {
                let report = json_of(&refused);
                assert_eq!((&report["accepted"], &report["added"]), (&json!(false), &json!(0)), "{report:#}");
            } else {
                let told = text(&refused.stdout);
                assert!(told.contains(&reason), "{reason}: {told}");
                assert!(
                    told.starts_with("credits.json: ") && told.ends_with("\nnothing was imported\n"),
                    "{told}"
                );
            }
        }
    }
    assert_eq!(exported(&env), json!({"rows": {}}));
}

#[test]
fn all_mistakes_of_a_file_are_reported_together() {
    let env = migrated(TestEnv::sqlite());
    let rows: Map<String, Value> =
        (0..60).map(|n| (id(n), json!({"month": "2026-1", "anniversary_day": 0}))).collect();
    let file = json!({"rows": rows}).to_string();
    let told = text(&import(&env, &file, &[]).stdout);
    assert!(told.starts_with("credits.json: 60 rows cannot be read\n"), "{told}");
    assert_eq!(told.matches("\n  row ").count(), 50, "{told}");
    assert!(told.ends_with("\n  and 70 more\nnothing was imported\n"), "{told}");
    let report = json_of(&import(&env, &file, &["--json"]));
    assert_eq!((&report["refusedRows"], &report["problems"]), (&json!(60), &json!(120)));
    assert_eq!(report["refusals"].as_array().unwrap().len(), 120);
    let mut fields: Vec<&str> = report["refusals"].as_array().unwrap()[..2]
        .iter()
        .map(|refusal| refusal["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!((fields, &report["refusals"][0]["row"]), (vec!["anniversary_day", "month"], &json!(id(0))));
}

#[test]
fn a_file_comes_from_the_standard_input_and_goes_to_one_that_only_its_owner_can_read() {
    let env = migrated(TestEnv::sqlite());
    let file = json!({"rows": {id(1): row(7)}});
    let mut importing = env
        .tithe()
        .args(["credits", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    importing.stdin.take().unwrap().write_all(file.to_string().as_bytes()).unwrap();
    assert!(printed(&importing.wait_with_output().unwrap()).contains("installs added: 1\n"));

    let backup = env.path().join("backup.json");
    std::fs::write(&backup, "what was there before").unwrap();
    let export = env.run(&["credits", "export", "--output", "backup.json"]);
    assert_eq!(printed(&export), "");
    assert!(text(&export.stderr).contains("installs exported: 1\n"), "{}", text(&export.stderr));
    let written = std::fs::read_to_string(&backup).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), file);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let left: Vec<_> =
        std::fs::read_dir(env.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "backup.json" || name == "tithe-data"), "{left:?}");
    // Where it cannot be written, nothing is left behind.
    for place in ["tithe-data", "nowhere/backup.json"] {
        let refused = env.run(&["credits", "export", "--output", place]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            text(&refused.stderr).contains(&format!("cannot write {place}")),
            "{}",
            text(&refused.stderr)
        );
    }
    assert_eq!(std::fs::read_dir(env.path()).unwrap().count(), left.len());
}

#[test]
fn an_install_is_shown_as_it_is_now_and_as_the_admin_api_shows_it() {
    let env = migrated(TestEnv::sqlite());
    let token = "an-admin-token-of-ours";
    let unpaid = json!({"tier_snapshot": "core", "lifetime_consumed": 3, "last_renewal_at": "2026-01-31T12:00:00.000Z"});
    let max = json!({"tier_snapshot": "max", "monthly_consumed": 5});
    // The first was last active in February: nothing of its present period is used.
    let file = json!({"rows": {id(1): row(900), id(2): unpaid, id(3): max}});
    assert!(printed(&import(&env, &file.to_string(), &[])).contains("added: 3"));
    let mut server = env.start_with(&[("TITHE_ADMIN_TOKEN", token)]);
    let of_api = |id: &str| -> Value {
        let read = async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let url = server.url(&format!("/api/admin/installs/{id}"));
            client.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap()
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(read)
    };
    let mut shown = (1..=3).map(|n| {
        let shown = json_of(&env.run(&["credits", "show", &id(n), "--json"]));
        assert_eq!(shown, of_api(&id(n)));
        shown
    });
    let pro = shown.next().unwrap();
    assert_eq!(
        (&pro["plan"], &pro["remaining"], &pro["monthlyConsumed"]),
        (&json!("pro"), &json!(1_000), &json!(0))
    );
    assert!(pro["renewsAt"].as_str().unwrap() > pro["lastActiveAt"].as_str().unwrap(), "{pro:#}");
    let core = shown.next().unwrap();
    assert_eq!((&core["remaining"], &core["renewsAt"]), (&json!(47), &Value::Null), "{core:#}");
    let max = shown.next().unwrap();
    assert_eq!((&max["remaining"], &max["monthlyConsumed"]), (&Value::Null, &json!(5)), "{max:#}");
    assert!(server.stop());

    let plain = printed(&env.run(&["credits", "show", &id(1)]));
    for line in [
        &format!("install {}\n", id(1)),
        "  plan: pro\n",
        "  requests left: 1000 of 1000\n",
        "  requests under monthly plans, in this period: 0 (0 of them in the cloud)\n",
        "  requests under plans that are never renewed: 4 (3 of them in the cloud)\n",
        "  last active: 2026-02-03T08:15:30.250000Z\n",
    ] {
        assert!(plain.contains(line), "{line:?} is not in\n{plain}");
    }
    // The quota is the one that is configured.
    let configured =
        env.tithe().args(["credits", "show", &id(1)]).env("TITHE_PLAN_PRO", "monthly:7,cloud:2").output();
    let configured = printed(&configured.unwrap());
    assert!(configured.contains("left: 7 of 7\n  of these, in the cloud: 2 of 2\n"), "{configured}");
    let unknown = env.run(&["credits", "show", &id(4)]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        text(&unknown.stderr).contains(&format!("there is no install {}", id(4))),
        "{}",
        text(&unknown.stderr)
    );
    let invalid = env.run(&["credits", "show", "install-1"]);
    assert!(text(&invalid.stderr).contains("expected a UUID in lower case"), "{}", text(&invalid.stderr));
}

#[test]
fn a_row_that_counts_more_in_the_cloud_than_altogether_is_imported_as_it_is() {
    let env = migrated(TestEnv::sqlite());
    let mut odd = row(1);
    odd["lifetime_gemini_consumed"] = json!(5);
    let file = json!({"rows": {id(1): odd}});
    assert!(printed(&import(&env, &file.to_string(), &[])).contains("installs added: 1\n"));
    assert_eq!(exported(&env), file);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let env = migrated(TestEnv::sqlite());
    let missing = env.run(&["credits", "import", "missing.json"]);
    assert_eq!(missing.status.code(), Some(1));
    let told = text(&missing.stderr);
    assert!(told.contains("cannot read missing.json") && told.contains("No such file"), "{told}");
}
