//! `tithe config check`: what is in force, everything that is wrong at once, and what the settings lead to.

use crate::operating::{procedure, shell};
use crate::server::tithe;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;

on_both_stores! {
    a_configuration_that_works_is_probed_without_a_trace,
}

fn check(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = tithe(folder);
    command.args(["config", "check"]).args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {}", all_of(output)))
}

/// The outcome and the details of all probes of something.
fn probes(report: &Value, subject: &str) -> Vec<(String, String)> {
    let probes = report["probes"].as_array().unwrap().iter().filter(|probe| probe["subject"] == subject);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    probes.map(|probe| (text(&probe["outcome"]), text(&probe["detail"]))).collect()
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tithe.toml"), "margin_pct = -5\nlistn = \"x\"\nworkers = 0\n")
        .unwrap();
    let settings = [
        ("TITHE_WALET", "lnbits"),
        ("TITHE_LEASE_SECONDS", "30s"),
        ("TITHE_WALLET", "lnbits"),
        ("LNBITS_URL", "https://lnbits.example"),
        ("TITHE_TOKEN_SECRET", "short"),
    ];
    let checked = check(folder.path(), &settings, &[]);
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(1), String::new()));
    let told = text(&checked.stderr);
    for problem in [
        "unknown setting \"listn\" in tithe.toml: did you mean listen?",
        "unknown setting TITHE_WALET in the environment: did you mean TITHE_WALLET?",
        "invalid TITHE_MARGIN_PCT (from tithe.toml): ",
        "invalid TITHE_WORKERS (from tithe.toml): expected a whole number from 1 to 10000, got \"0\"",
        "invalid TITHE_LEASE_SECONDS (from the environment): expected a whole number from 1 to 31536000, in seconds and without a unit",
        "missing LNBITS_API_KEY: it is required with TITHE_WALLET=lnbits",
        "invalid TITHE_TOKEN_SECRET: expected secrets of at least 16 bytes, got one of 5",
    ] {
        assert_eq!(told.matches(problem).count(), 1, "{problem} is not once in:\n{told}");
    }
    assert_eq!(told.lines().count(), 7, "{told}");
    // As JSON, and from the server itself.
    let report = json_of(&check(folder.path(), &settings, &["--json"]));
    assert_eq!(report["problems"].as_array().unwrap().len(), 7, "{report:#}");
    let mut serve = tithe(folder.path());
    let refused = serve.arg("serve").envs(settings).output().unwrap();
    assert!(text(&refused.stderr).starts_with("tithe: 7 settings are wrong:\n"), "{}", all_of(&refused));
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn values_are_shown_with_their_origin_and_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tithe.toml"), "margin_pct = 12.5\n").unwrap();
    let settings = [("TITHE_LEASE_SECONDS", "60"), ("TITHE_ADMIN_TOKEN", "0123456789abcdef")];
    let checked = check(folder.path(), &settings, &["--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", all_of(&checked));
    let report = json_of(&checked);
    let of = |name: &str| {
        let all = report["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    let (margin, lease) = (of("TITHE_MARGIN_PCT"), of("TITHE_LEASE_SECONDS"));
    assert_eq!(
        (&margin["value"], &margin["source"], &margin["file"]),
        (&"12.5".into(), &"file".into(), &"tithe.toml".into())
    );
    assert_eq!(
        (&lease["value"], &lease["source"], &lease["unit"]),
        (&"60".into(), &"environment".into(), &"seconds".into())
    );
    assert_eq!(lease["isShared"], true);
    let model = of("TITHE_WORK_MODEL");
    assert_eq!(
        (&model["value"], &model["source"], &model["inForce"]),
        (&"".into(), &"default".into(), &"sim-large".into())
    );
    let token = of("TITHE_ADMIN_TOKEN");
    assert_eq!((&token["value"], &token["isHidden"]), (&Value::Null, &true.into()));
    assert!(!text(&checked.stdout).contains("0123456789abcdef"));
    let shown = text(&check(folder.path(), &settings, &[]).stdout);
    assert!(
        shown.contains("# TITHE_WORK_MODEL, from the default\nwork_model = \"\"\n# in force: sim-large\n"),
        "{shown}"
    );
}

#[test]
fn what_is_printed_is_a_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("printed.toml");
    let settings = [("TITHE_MARGIN_PCT", "7"), ("TITHE_TOKEN_SECRET", "a secret that is hidden")];
    let printed = check(folder.path(), &settings, &["--connect"]);
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = check(folder.path(), &[], &["--json", "--config", file.to_str().unwrap()]);
    let report = json_of(&again);
    assert_eq!(report["problems"], Value::Array(vec![]), "{report:#}");
    let margin = report["settings"].as_array().unwrap().iter().find(|it| it["name"] == "TITHE_MARGIN_PCT");
    assert_eq!(margin.unwrap()["value"], "7");
}

#[test]
fn a_variable_that_looks_like_a_setting_is_named_and_refused_in_production_where_it_matters() {
    let folder = tempfile::tempdir().unwrap();
    let meant = [("DATABASE_URI", "postgres://tithe@db.example/tithe")];
    let checked = check(folder.path(), &meant, &[]);
    assert_eq!(checked.status.code(), Some(2), "only a warning: {}", all_of(&checked));
    let warning = "tithe: warning: DATABASE_URI is set, which is no setting: did you mean DATABASE_URL?\n";
    assert_eq!(text(&checked.stderr), warning);
    // Beside the setting itself, it belongs to another program.
    let both = check(folder.path(), &[meant[0], ("DATABASE_URL", "sqlite://other.db")], &[]);
    assert_eq!((both.status.code(), text(&both.stderr)), (Some(0), String::new()));
    let production = check(folder.path(), &[meant[0], ("TITHE_ENV", "production")], &[]);
    assert_eq!(production.status.code(), Some(1));
    let told = text(&production.stderr);
    assert!(told.contains("missing DATABASE_URL: DATABASE_URI is set, which is no setting"), "{told}");
    let env = TestEnv::sqlite();
    let _server = env.start_with(&[("LNBITS_KEY", "0")]);
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(log.contains("LNBITS_KEY is set, which is no setting: did you mean LNBITS_API_KEY?"), "{log}");
}

/// Everything in a folder, with sizes.
fn files(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            files(&entry.path(), found);
        }
        found.push((entry.path(), if about.is_dir() { 0 } else { about.len() }));
    }
    found.sort();
}

fn a_configuration_that_works_is_probed_without_a_trace(env: &TestEnv) {
    let probe = |settings: &[(&str, &str)]| {
        let mut command = env.tithe();
        command.args(["config", "check", "--connect", "--json"]).env("TITHE_LISTEN", "127.0.0.1:0");
        command.env("TITHE_DEV", "1").envs(settings.iter().copied()).output().unwrap()
    };
    let before = {
        let mut found = Vec::new();
        files(env.path(), &mut found);
        found
    };
    // The clusters of tests do not survive a crash of their machine, and a warning says so.
    let is_expected = |(outcome, told): &(String, String)| outcome == "ok" || told.contains("fsync");
    let first = probe(&[]);
    let code = if env.is_postgres() { 2 } else { 0 };
    assert_eq!(first.status.code(), Some(code), "{}", all_of(&first));
    let mut after = Vec::new();
    files(env.path(), &mut after);
    assert_eq!(after, before, "nothing was made");
    let server = env.start();
    let report = json_of(&probe(&[("TITHE_LISTEN", &server.address)]));
    for subject in ["data", "licences", "port", "database", "servers", "wallet", "backend", "price"] {
        let found = probes(&report, subject);
        assert!(!found.is_empty(), "{subject}: {report:#}");
        assert!(found.iter().all(is_expected), "{subject}: {found:?}");
    }
    let [(_, port)] = &probes(&report, "port")[..] else { panic!("{report:#}") };
    assert!(port.ends_with("is used by a Tithe server that runs"), "{port}");
    let [(_, servers)] = &probes(&report, "servers")[..] else { panic!("{report:#}") };
    assert!(
        servers.contains(&server.address) && servers.ends_with("runs, with the same settings"),
        "{servers}"
    );
    // Another secret, and another margin.
    let differs = probe(&[("TITHE_TOKEN_SECRET", "quite another secret"), ("TITHE_MARGIN_PCT", "41")]);
    assert_eq!(differs.status.code(), Some(1));
    let found = probes(&json_of(&differs), "servers");
    assert!(
        found.iter().any(|(outcome, told)| outcome == "failed"
            && told.contains("TITHE_TOKEN_SECRET: the servers have no secret in common")),
        "{found:?}"
    );
    let margin = r#"TITHE_MARGIN_PCT is "41" here and "40" there"#;
    assert!(found.iter().any(|(outcome, told)| outcome == "warning" && told.ends_with(margin)), "{found:?}");
}

#[test]
fn a_port_of_another_program_and_a_backend_that_is_not_there_fail() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = [
        ("TITHE_LISTEN", address.as_str()),
        ("TITHE_INFERENCE", "openai"),
        ("TITHE_INFERENCE_URL", "http://127.0.0.1:1/v1"),
        ("TITHE_EVAL_MODEL", "sim-small"),
        ("TITHE_WORK_MODEL", "sim-large"),
        ("TITHE_PUBLIC_URL", "https://tithe.invalid"),
    ];
    // Whoever connects is hung up on at once.
    std::thread::spawn(move || taken.incoming().for_each(drop));
    let checked = check(folder.path(), &settings, &["--connect", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let report = json_of(&checked);
    for (subject, told) in [
        ("port", "check TITHE_LISTEN, or stop the other program"),
        ("backend", "check TITHE_INFERENCE_URL and TITHE_INFERENCE_API_KEY"),
        ("public url", "has no address; check TITHE_PUBLIC_URL"),
    ] {
        let found = probes(&report, subject);
        assert!(!found.is_empty(), "{report:#}");
        assert!(found.iter().all(|(outcome, it)| outcome == "failed" && it.contains(told)), "{found:?}");
    }
}

#[test]
fn the_chapters_example_of_a_configuration_is_one_for_production() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tithe.toml"), procedure("configure-file")).unwrap();
    let script = procedure("configure-environment") + &procedure("configure-check");
    let checked = shell(folder.path(), &script).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", all_of(&checked));
    let shown = text(&checked.stdout);
    assert!(
        shown.contains("env = \"production\"") && shown.contains("# token_secret is set, and hidden"),
        "{shown}"
    );
    // Without its secrets, it is not.
    let checked = shell(folder.path(), &procedure("configure-check")).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
}

#[test]
fn the_chapters_licence_is_issued() {
    let folder = tempfile::tempdir().unwrap();
    let issued = shell(folder.path(), &procedure("licence-issue")).output().unwrap();
    assert!(issued.status.success() && text(&issued.stdout).starts_with("v1."), "{}", all_of(&issued));
}

#[test]
fn the_chapter_has_every_setting() {
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating/configure.md");
    let chapter = std::fs::read_to_string(chapter).unwrap();
    let (_, rest) = chapter.split_once("<!-- settings -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /settings -->").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let printed = tithe(folder.path()).args(["config", "settings"]).output().unwrap();
    assert_eq!(table.trim(), text(&printed.stdout).trim(), "`just settings` writes the table anew");
}
