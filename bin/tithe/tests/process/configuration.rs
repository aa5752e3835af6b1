//! Configuration mistakes.

use crate::server::tithe;
use crate::test_env::TestEnv;
use crate::text;
use std::process::Command;

#[test]
fn configuration_mistakes_stop_the_server_and_are_named() {
    let env = TestEnv::sqlite();
    let serve = |settings: &[(&str, &str)]| {
        let failed = tithe(env.path()).arg("serve").envs(settings.iter().copied()).output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        text(&failed.stderr)
    };
    let listen = ("TITHE_LISTEN", "127.0.0.1:0");
    for (settings, message) in [
        (&[("TITHE_MARGIN_PCT", "lots")][..], "invalid TITHE_MARGIN_PCT (from the environment): "),
        (&[("TITHE_ENV", "production")], "TITHE_ENV=production does not run on"),
        (
            &[listen, ("DATABASE_URL", "mysql://x")],
            "invalid DATABASE_URL: expected sqlite://path/to/file.db or postgres://",
        ),
        (&[listen, ("DATABASE_URL", "tithe.db")], "got no scheme"),
        (&[listen, ("DATABASE_URL", "postgres://h/d?sslmode=on")], "invalid sslmode in the database URL"),
        (
            &[listen, ("DATABASE_URL", "postgres://tithe@127.0.0.1:1/books")],
            "the database at 127.0.0.1:1/books is unreachable",
        ),
        (&[listen, ("TITHE_WORK_MODEL", "none")], "the work model is \"none\""),
        (
            &[listen, ("TITHE_HARDWARE", "sim"), ("TITHE_HARDWARE_MODEL", "none")],
            "invalid TITHE_HARDWARE_MODEL: expected a model in the catalogue, got \"none\"",
        ),
        (&[listen, ("TITHE_MODELS", "/nowhere.toml")], "/nowhere.toml (TITHE_MODELS)"),
        (&[("TITHE_TRUST_ELITE", "49")], "invalid tiers: expected TITHE_TRUST_ESTABLISHED"),
        (&[("TITHE_PUBLIC_URL", "tithe.example")], "invalid TITHE_PUBLIC_URL (from the environment): "),
    ] {
        let told = serve(settings);
        assert!(told.contains(message), "{told}");
    }
    let taken = env.start();
    let told = serve(&[("TITHE_LISTEN", &taken.address)]);
    assert!(told.contains("cannot listen on") && told.contains("in use"), "{told}");
}

#[test]
fn a_budget_that_is_none_stops_the_server_and_is_named_with_what_it_must_be() {
    let whole = "expected a whole number from 0 to 2100000000000000";
    let percents = "expected a number from 0 to 100";
    let folder = tempfile::tempdir().unwrap();
    let serve = |prepared: &mut Command| {
        let failed = prepared.arg("serve").env("TITHE_LISTEN", "127.0.0.1:0").output().unwrap();
        assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(1), String::new()));
        text(&failed.stderr)
    };
    for (name, value, problem) in [
        ("FREE_TIER_BUDGET_NEW", "-1", whole),
        ("FREE_TIER_BUDGET_NEW", "", whole),
        ("FREE_TIER_BUDGET_ESTABLISHED", "fifty", whole),
        ("FREE_TIER_BUDGET_TRUSTED", "0.5", whole),
        ("FREE_TIER_BUDGET_ELITE", "2100000000000001", whole),
        ("FREE_TIER_BUDGET_ELITE", "99999999999999999999", whole),
        ("FREE_TIER_POOL_INITIAL_SATS", "-0.1", whole),
        ("FREE_TIER_POOL_INITIAL_SATS", "1e4", whole),
        ("FREE_TIER_POOL_CREDIT_PCT", "-10", percents),
        ("FREE_TIER_POOL_CREDIT_PCT", "ten", percents),
        ("FREE_TIER_POOL_CREDIT_PCT", "100.5", "expected at most 100 percent"),
    ] {
        let told = serve(tithe(folder.path()).env(name, value));
        let named = format!("tithe: invalid {name} (from the environment): {problem}");
        assert!(told.starts_with(&named), "{told}");
    }
    let told = serve(tithe(folder.path()).env("FREE_TIER_BUDGET", "5"));
    assert!(told.starts_with("tithe: unknown setting FREE_TIER_BUDGET in the environment"), "{told}");
    std::fs::write(folder.path().join("tithe.toml"), "free_tier_budget_new = -5\n").unwrap();
    let told = serve(&mut tithe(folder.path()));
    assert!(
        told.starts_with(&format!("tithe: invalid FREE_TIER_BUDGET_NEW (from tithe.toml): {whole}")),
        "{told}"
    );
    assert!(!folder.path().join("tithe-data").exists(), "nothing was begun");
}

#[test]
fn the_configuration_can_be_looked_at_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tithe.toml"), "margin_pct = 12.5\nfree_tier_pool_credit_pct = 2.5\n")
        .unwrap();
    let mut check = tithe(folder.path());
    let shown =
        check.args(["config", "check"]).env("TITHE_TOKEN_SECRET", "a-secret-of-mine-1234").output().unwrap();
    let shown = text(&shown.stdout);
    assert!(shown.contains("margin_pct = \"12.5\"") && shown.contains("from tithe.toml"), "{shown}");
    for line in [
        "# FREE_TIER_POOL_CREDIT_PCT, from tithe.toml\nfree_tier_pool_credit_pct = \"2.5\"",
        "# FREE_TIER_BUDGET_ELITE, from the default\nfree_tier_budget_elite = \"1000\"",
        "# TITHE_TRUST_ESTABLISHED, from the default\ntrust_established = \"10\"",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert!(!shown.contains("a-secret-of-mine"), "{shown}");
}
