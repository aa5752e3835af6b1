//! Servers on one database that differ in what all of them must share say so.

use crate::server::{Server, tithe};
use crate::test_env::{TestEnv, on_both_stores, pause};
use crate::text;
use std::time::{Duration, Instant};

on_both_stores! {
    servers_without_a_common_secret_say_so,
    servers_with_other_budgets_say_so_until_they_agree,
    a_server_for_production_does_not_start_without_the_secret_of_the_others,
}

/// How long a server may take to notice another one.
const PATIENCE: Duration = Duration::from_mins(1);

fn log(env: &TestEnv) -> String {
    std::fs::read_to_string(env.path().join("server.log")).unwrap()
}

/// Waits for a line of the log in which all of these are.
fn until_logged(env: &TestEnv, words: &[&str]) -> String {
    let began = Instant::now();
    loop {
        let found = log(env);
        if let Some(line) = found.lines().find(|line| words.iter().all(|word| line.contains(word))) {
            return line.to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "{words:?} are in no line of\n{found}");
        pause();
    }
}

fn start(env: &TestEnv, settings: &[(&str, &str)]) -> Server {
    env.start_with(&[&[("TITHE_LOG_FORMAT", "json")], settings].concat())
}

fn servers_without_a_common_secret_say_so(env: &TestEnv) {
    let (old, new) = ("the secret of old", "the secret of new");
    let first = start(env, &[("TITHE_TOKEN_SECRET", old)]);
    let second = start(env, &[("TITHE_TOKEN_SECRET", new)]);
    // Each names the other one; the first once it looks again.
    for other in [&first, &second] {
        let line = until_logged(env, &["ERROR", "TITHE_TOKEN_SECRET", &other.address, "no secret in common"]);
        assert!(!line.contains(old) && !line.contains(new), "{line}");
    }
    // A rotation is none of that: each verifies what the other signs.
    let env = if env.is_postgres() { TestEnv::postgres() } else { TestEnv::sqlite() };
    let _first = start(&env, &[("TITHE_TOKEN_SECRET", &format!("{old},{new}"))]);
    let _second = start(&env, &[("TITHE_TOKEN_SECRET", &format!("{new},{old}"))]);
    let told = log(&env);
    assert!(!told.contains("TITHE_TOKEN_SECRET"), "{told}");
}

fn servers_with_other_budgets_say_so_until_they_agree(env: &TestEnv) {
    let generous = [("FREE_TIER_BUDGET_NEW", "100"), ("TITHE_TRUST_ELITE", "500")];
    let first = start(env, &[]);
    let mut second = start(env, &generous);
    for (setting, mine, other) in [("FREE_TIER_BUDGET_NEW", "100", "0"), ("TITHE_TRUST_ELITE", "500", "200")]
    {
        let told = format!(r#"{setting} is \"{mine}\" here and \"{other}\" there"#);
        until_logged(env, &["WARN", setting, &first.address, &told]);
        let told = format!(r#"{setting} is \"{other}\" here and \"{mine}\" there"#);
        until_logged(env, &["WARN", setting, &second.address, &told]);
    }
    // Stopped, and started with the settings of the others.
    assert!(second.stop());
    until_logged(env, &["a server with other settings runs no more", &second.address]);
    let lines = || log(env).lines().filter(|line| line.contains("has another setting")).count();
    let before = lines();
    let _third = start(env, &[]);
    assert_eq!(lines(), before, "nothing differs now");
}

fn a_server_for_production_does_not_start_without_the_secret_of_the_others(env: &TestEnv) {
    let production = [
        ("TITHE_DEV", "0"),
        ("TITHE_ENV", "production"),
        ("TITHE_WALLET", "phoenixd"),
        ("TITHE_PHOENIXD_URL", "http://127.0.0.1:1"),
        ("TITHE_PHOENIXD_PASSWORD", "the-password"),
        ("TITHE_INFERENCE", "openai"),
        ("TITHE_INFERENCE_URL", "http://127.0.0.1:1/v1"),
        ("TITHE_EVAL_MODEL", "sim-small"),
        ("TITHE_WORK_MODEL", "sim-large"),
        ("TITHE_BTC_PRICE_USD", "100000"),
        ("TITHE_PROVISIONER", "none"),
        ("TITHE_NOSTR_SECRET_KEY", "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"),
        ("TITHE_STOP_NOTICE_SECONDS", "0"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&production[..], more].concat();
    let secret = ("TITHE_TOKEN_SECRET", "the secret of all");
    let first = start(env, &with(&[secret]));
    for (settings, told) in [
        (
            with(&[("TITHE_TOKEN_SECRET", "quite another secret")]),
            "TITHE_TOKEN_SECRET: the servers have no secret in common",
        ),
        (
            with(&[secret, ("TITHE_PHOENIXD_PASSWORD", "of-another-node")]),
            "TITHE_PHOENIXD_PASSWORD is another one there",
        ),
        // A trial on the database of the production, with play money.
        (vec![("TITHE_DEV", "1"), secret], "TITHE_NETWORK is \"regtest\" here and \"mainnet\" there"),
    ] {
        let mut command = tithe(env.path());
        if env.is_postgres() {
            command.env("DATABASE_URL", env.url());
        }
        let refused =
            command.arg("serve").env("TITHE_LISTEN", "127.0.0.1:0").envs(settings).output().unwrap();
        let found = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{found}");
        assert!(found.contains("cannot serve beside ") && found.contains(&first.address), "{found}");
        assert!(found.contains(told), "{told} is not in {found}");
    }
    // One with the same settings does.
    let _second = start(env, &with(&[secret]));
}
