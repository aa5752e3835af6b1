//! The free tier: estimates, jobs that the pool pays in full or in part, and limits.

use crate::app::{Event, Options, TestApp, key};
use crate::shapes::{answers, has_shape};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_money::Sats;

/// In these tests, the maximum price of the work is about thirty sats and the actual price about three.
const REQUEST: &str = "Why is the sky blue?";

/// Settings with this daily budget, in sats, for new identities.
fn generous(sats: u64) -> Settings {
    let mut settings = Settings::default();
    settings.rules.free_tier.budgets.new = Sats::new(sats).unwrap();
    settings
}

fn app(settings: Settings) -> TestApp {
    TestApp::with(Options { settings, ..Options::default() })
}

/// An app with a manual clock and running background tasks.
fn timed(settings: Settings) -> TestApp {
    TestApp::with(Options { settings, manual_clock: true, ..Options::default() })
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

fn hash(job: &Value) -> &str {
    job["workInvoice"]["paymentHash"].as_str().unwrap()
}

/// An estimate and its free-tier part.
async fn preview(app: &TestApp, token: &str) -> (Value, Value) {
    let estimate = app.get_as(token, "/api/estimate?request=Why+is+the+sky+blue%3F").await.ok(200);
    let free_tier = estimate["identity"]["free_tier"].clone();
    let shape =
        json!({"serve": "text", "absorbSats": "count", "chargeSats": "count", "upFrontSats": "count"});
    has_shape(&free_tier, &shape);
    let parts = count(&free_tier["absorbSats"]) + count(&free_tier["chargeSats"]);
    assert_eq!(parts, count(&estimate["estimatedSats"]));
    assert!(free_tier["chargeSats"].as_u64() >= estimate["evaluationFeeSats"].as_u64());
    (estimate, free_tier)
}

/// Creates a job and pays its evaluation; returns it when its work must be paid or is done.
async fn settled_or_asked(app: &TestApp, token: &str) -> Value {
    let id = app.job_begin_as(token, REQUEST).await;
    let mut events = app.follow(&id, None).await;
    while let Some(Event { data, .. }) = events.next().await {
        if data["state"] == "complete" || data["state"] == "awaiting_work_payment" {
            return data;
        }
    }
    panic!("the stream ended early");
}

/// Creates a job, pays for it, and waits until it ends.
async fn pay_through(app: &TestApp, token: &str, request: &str) -> Value {
    let id = app.job_begin_as(token, request).await;
    let priced = app.job_reaches(&id, "awaiting_work_payment").await;
    app.pay(hash(&priced)).await;
    app.job_reaches(&id, "complete").await
}

#[tokio::test]
async fn a_free_job_has_no_work_invoice_and_the_pool_pays_its_actual_cost() {
    let app = app(generous(1_000));
    let token = app.login(&key(1)).await;
    let (estimate, free_tier) = preview(&app, &token).await;
    assert_eq!((&free_tier["serve"], &free_tier["upFrontSats"]), (&json!("free"), &json!(0)));
    assert_eq!(free_tier["chargeSats"], estimate["evaluationFeeSats"]);

    let id = app.job_begin_as(&token, REQUEST).await;
    let events = app.follow_to_the_end(&id, None).await;
    let steps: Vec<_> =
        events.iter().filter(|event| event.name == "state").map(|event| &event.data).collect();
    let states: Vec<_> = steps.iter().map(|step| step["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["awaiting_eval_payment", "evaluating", "executing", "complete"]);
    assert!(steps.iter().all(|step| step.get("workInvoice").is_none() && step["trust_tier"] == "new"));
    let work_max = count(&estimate["range"]["maxSats"]) - count(&estimate["evaluationFeeSats"]);
    let absorbed: Vec<_> = steps.iter().map(|step| count(&step["absorbed_sats"])).collect();
    assert_eq!(absorbed[..3], [0, 0, work_max]);
    assert!((1..work_max).contains(&absorbed[3]), "{absorbed:?}");
    let free: Vec<_> = steps.iter().map(|step| step["free_tier"].as_bool().unwrap()).collect();
    assert_eq!(free, [false, false, true, true]);

    let done = app.job(&id).await;
    assert_eq!(steps.last(), Some(&&done));
    assert_eq!(done["charged"], json!({"chargedSats": 0, "absorbedSats": absorbed[3]}));
    assert_eq!(done["usage"]["costSats"], absorbed[3]);
    assert_eq!(done["refund"], json!({"amountSats": 0, "state": "not_applicable"}));

    let shape = json!({
        "balanceSats": "count", "balanceMsats": "count", "reservedSats": 0, "reservedMsats": 0,
        "grantedTodaySats": absorbed[3], "grantedTodayMsats": "count",
        "dailyBudgets": {"new": 1_000, "established": 50, "trusted": 200, "elite": 1_000},
    });
    let pool = answers(&app.get("/api/pool").await, 200, &shape);
    let granted = count(&pool["grantedTodayMsats"]);
    assert_eq!(granted.div_ceil(1_000), absorbed[3]);
    assert_eq!(count(&pool["balanceMsats"]), 10_000_000 - granted);
    assert_eq!(count(&pool["balanceSats"]), 10_000 - absorbed[3], "rounded down");
    let me = app.me(&token).await;
    let free_tier = json!({
        "dailyBudgetSats": 1_000, "absorbedTodaySats": absorbed[3], "reservedSats": 0,
        "remainingTodaySats": 1_000 - absorbed[3], "resetsAt": "time",
    });
    has_shape(&me["freeTier"], &free_tier);
    // Work that the pool pays for does not increase the score.
    assert_eq!((&me["trust"]["score"], &me["trust"]["interactionCount"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn a_partly_free_job_invoices_the_rest_and_refunds_the_unused_part() {
    let app = app(generous(1));
    let token = app.login(&key(1)).await;
    let (_, before) = preview(&app, &token).await;
    assert_eq!((&before["serve"], &before["absorbSats"]), (&json!("partial"), &json!(1)));

    let id = app.job_begin_as(&token, REQUEST).await;
    let priced = app.job_reaches(&id, "awaiting_work_payment").await;
    let asked = count(&priced["workInvoice"]["amountSats"]);
    assert_eq!(before["upFrontSats"], asked);
    assert_eq!(priced["pricing"]["amountSats"], asked);
    assert_eq!(priced["pricing"]["fullAmountSats"], asked + 1);
    assert_eq!((&priced["free_tier"], &priced["absorbed_sats"]), (&json!(true), &json!(1)));
    let (me, pool) = (app.me(&token).await, app.pool().await);
    let (reserved, left) = (&me["freeTier"]["reservedSats"], &me["freeTier"]["remainingTodaySats"]);
    assert_eq!((reserved, left, &pool["reservedSats"]), (&json!(1), &json!(0), &json!(1)));
    assert_eq!(preview(&app, &token).await.1["serve"], "gate", "the daily budget is reserved");

    app.pay(hash(&priced)).await;
    let done = app.job_reaches(&id, "complete").await;
    let charged = count(&done["charged"]["chargedSats"]);
    assert_eq!(charged + count(&done["refund"]["amountSats"]), asked, "payment = charge + refund");
    assert_eq!(charged + 1, count(&done["usage"]["costSats"]), "cost = charge + absorbed");
    assert_eq!((&done["charged"]["absorbedSats"], &done["absorbed_sats"]), (&json!(1), &json!(1)));
    assert_eq!((&done["free_tier"], &done["refund"]["state"]), (&json!(true), &json!("pending")));
    let (me, pool) = (app.me(&token).await, app.pool().await);
    assert_eq!((&pool["reservedSats"], &pool["grantedTodaySats"]), (&json!(0), &json!(1)));
    // A tenth of the charge is credited to the pool.
    let tithe = count(&pool["balanceMsats"]) - (10_000_000 - 1_000);
    assert!(((charged - 1) * 100..=charged * 100).contains(&tithe), "{tithe} of {charged} sats");
    assert_eq!(
        (&me["freeTier"]["reservedSats"], &me["freeTier"]["absorbedTodaySats"]),
        (&json!(0), &json!(1))
    );
    assert!(me["trust"]["score"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn an_expired_offer_releases_its_reservation() {
    let app = timed(generous(10));
    let token = app.login(&key(1)).await;
    let id = app.job_begin_as(&token, REQUEST).await;
    let priced = app.job_reaches(&id, "awaiting_work_payment").await;
    assert_eq!(priced["absorbed_sats"], 10);
    assert_eq!(app.pool().await["reservedSats"], 10);
    app.clock.advance(Duration::from_secs(601));
    let expired = app.job(&id).await;
    assert_eq!((&expired["state"], &expired["free_tier"]), (&json!("expired"), &json!(false)));
    assert_eq!(expired["absorbed_sats"], 0);
    assert_eq!(expired["refund"], json!({"amountSats": 0, "state": "not_applicable"}));
    let (me, pool) = (app.me(&token).await, app.pool().await);
    assert_eq!((&pool["reservedSats"], &pool["balanceSats"]), (&json!(0), &json!(10_000)));
    let day = &me["freeTier"];
    assert_eq!((&day["reservedSats"], &day["remainingTodaySats"]), (&json!(0), &json!(10)));
    assert_eq!(day["resetsAt"], Value::Null, "nothing was granted, so no budget window is open");
    // A later follower still sees the original offer.
    let events = app.follow_to_the_end(&id, None).await;
    let absorbed: Vec<_> = events.iter().map(|event| count(&event.data["absorbed_sats"])).collect();
    assert_eq!(absorbed, [0, 0, 10, 0]);
    assert_eq!(preview(&app, &token).await.1["serve"], "partial");
}

#[tokio::test]
async fn failed_free_work_costs_the_pool_nothing() {
    let app = app(generous(1_000));
    let token = app.login(&key(1)).await;
    let id = app.job_begin_as(&token, "[sim:refuse] please").await;
    let failed = app.job_reaches(&id, "failed").await;
    assert_eq!((&failed["free_tier"], &failed["absorbed_sats"]), (&json!(false), &json!(0)));
    assert_eq!(failed["refund"], json!({"amountSats": 0, "state": "not_applicable"}));
    let (me, pool) = (app.me(&token).await, app.pool().await);
    assert_eq!((&pool["reservedMsats"], &pool["balanceMsats"]), (&json!(0), &json!(10_000_000)));
    assert_eq!(
        (&me["freeTier"]["reservedSats"], &me["freeTier"]["absorbedTodaySats"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn an_exhausted_budget_window_gates_until_it_ends() {
    let app = timed(generous(1));
    let token = app.login(&key(1)).await;
    assert_eq!(pay_through(&app, &token, REQUEST).await["absorbed_sats"], 1);
    let resets_at = app.me(&token).await["freeTier"]["resetsAt"].clone();
    assert_eq!(resets_at, (app.now() + Duration::from_hours(24)).to_string());

    assert_eq!(preview(&app, &token).await.1["serve"], "gate");
    let gated = settled_or_asked(&app, &token).await;
    assert_eq!(gated["pricing"]["amountSats"], gated["pricing"]["fullAmountSats"]);
    assert_eq!((&gated["free_tier"], &gated["absorbed_sats"]), (&json!(false), &json!(0)));

    app.clock.advance(Duration::from_hours(24));
    let token = app.login(&key(1)).await;
    let day = app.me(&token).await["freeTier"].clone();
    assert_eq!((&day["absorbedTodaySats"], &day["resetsAt"]), (&json!(0), &Value::Null));
    assert_eq!(preview(&app, &token).await.1["serve"], "partial");
    assert_eq!(settled_or_asked(&app, &token).await["absorbed_sats"], 1);
}

#[tokio::test]
async fn an_empty_pool_and_anonymous_callers_are_gated() {
    let mut settings = generous(1_000);
    settings.rules.free_tier.pool_initial = Sats::ZERO;
    let empty = app(settings);
    let token = empty.login(&key(1)).await;
    let (_, free_tier) = preview(&empty, &token).await;
    assert_eq!((&free_tier["serve"], &free_tier["absorbSats"]), (&json!("gate"), &json!(0)));
    let gated = settled_or_asked(&empty, &token).await;
    assert_eq!(gated["pricing"]["amountSats"], gated["pricing"]["fullAmountSats"]);
    assert_eq!(free_tier["upFrontSats"], gated["pricing"]["amountSats"]);
    assert_eq!(empty.pool().await["balanceSats"], 0);

    let full = app(generous(1_000));
    let estimate = full.get("/api/estimate?request=a").await.ok(200);
    assert_eq!(estimate["identity"], json!({"trust_tier": "anonymous"}));
    assert_eq!(full.job_complete(REQUEST).await["free_tier"], false);
}

#[tokio::test]
async fn a_pool_with_less_than_the_price_pays_up_to_its_limit_for_offers() {
    let mut settings = generous(1_000);
    settings.rules.free_tier.pool_initial = Sats::new(10).unwrap();
    let app = app(settings);
    let token = app.login(&key(1)).await;
    // Unpaid offers may reserve half of the pool.
    assert_eq!(settled_or_asked(&app, &token).await["absorbed_sats"], 5);
    let other = app.login(&key(2)).await;
    assert_eq!(settled_or_asked(&app, &other).await["absorbed_sats"], 0);
}

#[tokio::test]
async fn many_concurrent_jobs_stay_within_the_daily_budget() {
    let app = app(generous(40));
    let token = app.login(&key(1)).await;
    let jobs = (0..8).map(|_| settled_or_asked(&app, &token));
    let jobs = futures_util::future::join_all(jobs).await;
    assert!(jobs.iter().any(|job| job["state"] == "complete"), "expected at least one free job");
    let offers = jobs.iter().filter(|job| job["state"] != "complete" && job["free_tier"] == true);
    assert!(offers.count() <= 1, "one offer at a time");
    let sum: u64 = jobs.iter().map(|job| count(&job["absorbed_sats"])).sum();
    let me = app.me(&token).await["freeTier"].clone();
    assert!(count(&me["absorbedTodaySats"]) + count(&me["reservedSats"]) <= 41, "{me}: rounded up twice");
    assert!(sum <= 40 + 8, "{sum}: each was rounded up");
    assert!(count(&app.pool().await["grantedTodaySats"]) <= 40);
}

#[tokio::test]
async fn payments_increase_trust_rejections_reduce_it_and_every_response_shows_the_tier() {
    let mut settings = Settings::default();
    settings.rules.trust.established = "0.001".parse().unwrap();
    settings.rules.trust.fault = "0.01".parse().unwrap();
    let app = app(settings);
    let token = app.login(&key(1)).await;
    let score = async || app.me(&token).await["trust"]["score"].as_f64().unwrap();
    let id = app.job_begin_as(&token, REQUEST).await;
    let priced = app.job_reaches(&id, "awaiting_work_payment").await;
    assert_eq!((&priced["trust_tier"], score().await), (&json!("new"), 0.0));
    app.pay(hash(&priced)).await;
    let done = app.job_reaches(&id, "complete").await;
    let earned = score().await;
    assert!(earned > 0.01, "{earned}");

    let (estimate, free_tier) = preview(&app, &token).await;
    assert_eq!(free_tier["serve"], "free", "an established identity has 50 sats a day");
    let next = app.post_as(&token, "/api/jobs", json!({ "request": REQUEST }).to_string()).await.ok(201);
    let read = app.job(next["jobId"].as_str().unwrap()).await;
    let login = app.verify(&app.answer_to(&app.nonce().await, &key(1))).await.ok(200);
    let me = app.me(&token).await;
    let events = app.follow_to_the_end(&id, None).await;
    let mut tiers = vec![
        &done["trust_tier"],
        &estimate["identity"]["trust_tier"],
        &next["trust_tier"],
        &read["trust_tier"],
        &login["trust"]["tier"],
        &me["trust"]["tier"],
    ];
    tiers.extend(events.iter().filter(|event| event.name == "state").map(|event| &event.data["trust_tier"]));
    assert!(tiers.iter().all(|tier| **tier == "established"), "{tiers:?}");

    let rejected = app.job_begin_as(&token, "[sim:reject] no").await;
    let rejected = app.job_reaches(&rejected, "rejected").await;
    assert_eq!((&rejected["free_tier"], &rejected["absorbed_sats"]), (&json!(false), &json!(0)));
    let left = score().await;
    assert!((earned - left - 0.01).abs() < 1e-9, "{earned} became {left}");
    assert_eq!(app.me(&token).await["trust"]["interactionCount"], 2);
    assert_eq!(app.me(&app.login(&key(2)).await).await["trust"]["tier"], "new");
}

#[tokio::test]
async fn an_estimate_changes_no_row_with_any_credentials() {
    let app = TestApp::with(Options {
        settings: generous(1_000),
        started: false,
        manual_clock: true,
        ..Options::default()
    });
    let (alice, stranger) = (key(1), key(2));
    let token = app.login(&alice).await;
    app.job_create_as(&token, REQUEST).await;
    app.job_create(REQUEST).await;
    app.clock.advance(Duration::from_secs(30));
    let before = app.rows().await;
    assert!(before.values().map(Vec::len).sum::<usize>() > 5, "{before:#?}");

    let path = "/api/estimate?request=Why%3F";
    let signed = |who, method| app.signature(who, method, path, "");
    let get = |header: &str| app.request(Method::GET, path).header("Authorization", header);
    app.get(path).await.ok(200);
    preview(&app, &token).await;
    app.get(&format!("{path}&nostr_token={token}")).await.ok(200);
    app.send(get(&signed(&alice, "GET"))).await.ok(200);
    let once = signed(&stranger, "GET");
    assert_eq!(app.send(get(&once)).await.ok(200)["identity"]["trust_tier"], "new");
    app.send(get(&once)).await.ok(200);
    let head = app.request(Method::HEAD, path).header("Authorization", signed(&stranger, "HEAD"));
    assert_eq!(app.send(head).await.status, 200);
    app.send(get("Nostr e30=")).await.is_problem(401, "invalid_identity");
    app.get_as("v1.x.y", path).await.is_problem(401, "invalid_identity");
    app.send(app.request_as(&token, Method::GET, path).header("Idempotency-Key", "k")).await.ok(200);
    assert_eq!(app.rows().await, before);

    let signed = |path| {
        app.request(Method::GET, path).header("Authorization", app.signature(&stranger, "GET", path, ""))
    };
    app.send(signed("/api/pool")).await.ok(200);
    assert_eq!(app.rows().await, before, "a public read changed the database");
    app.send(signed("/api/identity/me")).await.ok(200);
    assert_eq!(app.rows().await, before);
    // A request that changes something is recorded, so the comparison would detect it.
    app.job_create(REQUEST).await;
    assert_ne!(app.rows().await, before);
}
