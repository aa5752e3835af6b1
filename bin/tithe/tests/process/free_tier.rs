//! What the pool pays for.

use crate::events::Events;
use crate::identity::{identity, token_of_somebody_new};
use crate::server::{Server, tithe};
use crate::test_env::{TestEnv, on_both_stores};
use crate::{ask, text};
use reqwest::Client;
use serde_json::{Value, json};
use std::time::Duration;

on_both_stores! {
    the_pool_pays_for_who_has_an_identity_and_the_books_say_so,
    the_pool_pays_what_is_left_of_a_day_and_then_nothing,
    a_killed_server_s_reservation_is_settled_by_the_next,
    the_operator_s_first_money_is_put_into_the_pool_once,
}

/// How long things may take.
const PATIENCE: Duration = Duration::from_mins(1);

async fn get(server: &Server, path: &str) -> Value {
    let answer = Client::new().get(server.url(path)).send().await.unwrap().error_for_status().unwrap();
    answer.json().await.unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn pool(server: &Server) -> Value {
    block_on(get(server, "/api/pool"))
}

/// That what a command told has all of these parts, in that order.
fn tells(told: &str, parts: &[&str]) {
    let mut rest = told;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in (the rest of)\n{told}"));
        rest = &rest[at + part.len()..];
    }
}

fn the_pool_pays_for_who_has_an_identity_and_the_books_say_so(env: &TestEnv) {
    let mut server = env.start_with(&[("FREE_TIER_BUDGET_NEW", "1000")]);
    identity(env.path(), &["new"]);
    let bought = ask(&server, &["--identity", "Why is the sky blue?"]);
    let told = text(&bought.stderr);
    assert_eq!(bought.status.code(), Some(0), "{told}");
    tells(
        &told,
        &[
            "Logged in as npub1",
            "tier new, score 0",
            "The pool would pay for the work, about 12 sats.",
            "Pay 1 sat for the evaluation",
            "There is no invoice for the work: the pool pays for it.",
            "The work is running",
            "The pool paid 3 sats for the work; you paid 0 sats (6 tokens in, 80 out), and 1 for the evaluation.",
        ],
    );
    assert!(!told.contains("for the work, before") && !told.contains("Refund: "), "{told}");

    let pool = pool(&server);
    assert_eq!((&pool["reservedSats"], &pool["grantedTodaySats"]), (&json!(0), &json!(3)), "{pool}");
    let (balance, granted) = (&pool["balanceMsats"], &pool["grantedTodayMsats"]);
    assert_eq!(balance.as_u64().unwrap() + granted.as_u64().unwrap(), 10_000_000, "{pool}");
    assert!(server.stop());
    let report = env.audit();
    assert_eq!((&report["jobs"], &report["grants"]), (&json!(1), &json!(1)));
    assert_eq!(report["accountsMsats"]["pool"], balance.to_string());
    assert_eq!(report["accountsMsats"]["revenue"], (1_000 + granted.as_u64().unwrap()).to_string());
    let audited = text(&env.run(&["audit"]).stdout);
    assert!(audited.contains("1 jobs, 0 sessions, 0 bootstraps, 0 payouts, 1 grants"), "{audited}");
}

fn the_pool_pays_what_is_left_of_a_day_and_then_nothing(env: &TestEnv) {
    let server = env.start_with(&[("FREE_TIER_BUDGET_NEW", "2")]);
    identity(env.path(), &["new"]);
    let bought = ask(&server, &["--identity", "Why is the sky blue?"]);
    tells(
        &text(&bought.stderr),
        &[
            "The pool would pay about 2 sats of it; the work's invoice would be 27 sats.",
            "The pool pays 2 of 29 sats, if you pay the rest.",
            "Pay 27 sats for the work",
            "The pool paid 2 sats for the work; you paid 1 sat (6 tokens in, 80 out), and 1 for the evaluation.",
            "Refund: 26 sats (pending)",
        ],
    );
    let bought = ask(&server, &["--identity", "Why is the sky blue?"]);
    let told = text(&bought.stderr);
    tells(&told, &["The pool would currently pay nothing.", "Pay 29 sats for the work", "The work cost "]);
    assert!(!told.contains("The pool pa"), "{told}");
    // Who says nothing of an identity is told nothing of the pool.
    let told = text(&ask(&server, &["Why is the sky blue?"]).stderr);
    assert!(!told.contains("pool") && !told.contains("npub"), "{told}");
    let report = env.audit();
    assert_eq!((&report["jobs"], &report["grants"]), (&json!(3), &json!(1)));
}

fn a_killed_server_s_reservation_is_settled_by_the_next(env: &TestEnv) {
    let settings = [("FREE_TIER_BUDGET_NEW", "1000"), ("TITHE_LEASE_SECONDS", "1")];
    let mut server = env.start_with(&settings);
    let token = token_of_somebody_new(&server, env.path());
    let job = block_on(async {
        let request = Client::new().post(server.url("/api/jobs")).header("X-Nostr-Token", token);
        let asked = request.json(&json!({ "request": "[sim:slow=150] Why is the sky blue?" })).send().await;
        let created: Value = asked.unwrap().error_for_status().unwrap().json().await.unwrap();
        assert_eq!(created["trust_tier"], "new");
        let job = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
        let mut events = Events::of(&server, &job).await;
        let hash = created["evalInvoice"]["paymentHash"].as_str().unwrap();
        let paid = Client::new().post(server.url(&format!("/dev/stub/pay/{hash}"))).send().await;
        paid.unwrap().error_for_status().unwrap();
        let executing = events.reach("executing", PATIENCE).await;
        assert_eq!(executing["free_tier"], true, "{executing}");
        events.reach_text(PATIENCE).await;
        job
    });
    let reserved = pool(&server)["reservedMsats"].as_u64().unwrap();
    assert!(reserved > 0);
    server.kill();
    let report = env.audit();
    assert_eq!((&report["grants"], &report["accountsMsats"]["pool"]), (&json!(0), &json!("10000000")));

    server.restart().unwrap();
    assert_eq!(pool(&server)["reservedMsats"], reserved, "it is still set aside for the work");
    let complete = block_on(async { Events::of(&server, &job).await.reach("complete", PATIENCE).await });
    let absorbed = complete["absorbed_sats"].as_u64().unwrap();
    assert!(absorbed > 0 && complete["charged"]["chargedSats"] == 0, "{complete}");
    let pool = pool(&server);
    assert_eq!((&pool["reservedSats"], &pool["grantedTodaySats"]), (&json!(0), &json!(absorbed)), "{pool}");
    let report = env.audit();
    assert_eq!((&report["grants"], &report["jobsMsats"]), (&json!(1), &json!("0")), "{report:#}");
    assert_eq!(report["accountsMsats"]["pool"], pool["balanceMsats"].to_string());
}

fn the_operator_s_first_money_is_put_into_the_pool_once(env: &TestEnv) {
    let mut server = env.start_with(&[("FREE_TIER_POOL_INITIAL_SATS", "7")]);
    assert!(server.banner.contains("pool       7 sats; "), "{}", server.banner);
    server.kill();
    server.restart().unwrap();
    assert!(server.banner.contains("pool       7 sats; "), "{}", server.banner);
    assert!(server.stop());
    let mut richer = env.start_with(&[("FREE_TIER_POOL_INITIAL_SATS", "9")]);
    assert_eq!(pool(&richer)["balanceSats"], 7);
    assert!(richer.stop());
    assert_eq!(env.audit()["accountsMsats"]["operator"], "-7000");
}

#[test]
fn without_first_money_the_pool_is_fed_by_what_is_paid() {
    let env = TestEnv::sqlite();
    let settings = [("FREE_TIER_POOL_INITIAL_SATS", "0"), ("FREE_TIER_POOL_CREDIT_PCT", "50")];
    let server = env.start_with(&settings);
    assert!(server.banner.contains("pool       0 sats; "), "{}", server.banner);
    assert!(ask(&server, &["hello"]).status.success());
    let pool = pool(&server)["balanceMsats"].as_u64().unwrap();
    let report = env.audit();
    let revenue: u64 = report["accountsMsats"]["revenue"].as_str().unwrap().parse().unwrap();
    // All of the evaluation, and half of the work.
    assert!((revenue - 1_000).abs_diff(pool) <= 1 && pool > 0, "{report:#}");
}

#[test]
fn a_pool_that_cannot_be_opened_stops_the_server() {
    let env = TestEnv::sqlite();
    assert!(env.run(&["migrate"]).status.success());
    env.execute("CREATE TRIGGER no_seed BEFORE INSERT ON transfers BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let failed = tithe(env.path()).arg("serve").env("TITHE_LISTEN", "127.0.0.1:0").output().unwrap();
    let told = text(&failed.stderr);
    assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(1), String::new()), "{told}");
    assert!(told.contains("tithe: cannot open the pool"), "{told}");
}
