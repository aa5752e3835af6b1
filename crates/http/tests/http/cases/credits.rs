//! Install credits: who an install is, what its plan includes, and what is left of it.

use crate::app::{Answer, Options, TestApp, install, key, licence, licence_key};
use crate::shapes::answers;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_ledger::credits::{Counted, Plan, Plans, Quota};
use tithe_licences::LicenceKeys;

/// Settings that accept licences of this key, and with these plans.
fn licensed(plans: Plans) -> Settings {
    let mut settings = crate::app::settings();
    settings.credits.licence_keys = LicenceKeys::new([licence_key(1).verifying_key()]);
    settings.credits.plans = plans;
    settings
}

fn app(settings: Settings) -> TestApp {
    TestApp::with(Options { settings, ..Options::default() })
}

fn reading(app: &TestApp) -> RequestBuilder {
    app.request(Method::GET, "/api/credits")
}

/// Sends a request of an install, with a licence, to both routes.
async fn both(app: &TestApp, with: impl Fn(RequestBuilder) -> RequestBuilder) -> [Answer; 2] {
    [app.send(with(reading(app))).await, app.send(with(app.asking("hello"))).await]
}

#[tokio::test]
async fn reading_credits_says_what_is_left_and_changes_nothing() {
    let app = app(crate::app::settings());
    let id = install(1);
    let before = app.rows().await;
    let shape = json!({
        "installId": format!("={id}"), "plan": "=core", "capped": "=lifetime", "remaining": 50, "cloudRemaining": null,
        "periodStart": "time", "renewsAt": null, "lifetimeConsumed": 0, "monthlyConsumed": 0,
    });
    let answer = app.send(reading(&app).header("X-Install-Id", &id)).await;
    answers(&answer, 200, &shape);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(app.rows().await, before, "an unknown install gets no row");
    app.ask_of(&id, "hello").await.ok(200);
    let before = app.rows().await;
    let left = app.credits(&id).await;
    assert_eq!((&left["remaining"], &left["lifetimeConsumed"]), (&json!(49), &json!(1)));
    assert_eq!(app.credits(&id).await, left);
    assert_eq!(app.rows().await, before);
}

#[tokio::test]
async fn an_install_is_named_by_one_header_with_one_spelling_of_a_uuid() {
    let app = TestApp::standing();
    let id = install(1);
    let (upper, bare) = (id.to_uppercase(), id.replace('-', ""));
    let twice = format!("{id}, {id}");
    for (wrong, expected) in [
        ("", "got an empty text"),
        ("install-1", "such as 0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10"),
        (upper.as_str(), id.as_str()),
        (bare.as_str(), id.as_str()),
        (twice.as_str(), "expected a UUID in lower case"),
    ] {
        for answer in both(&app, |request| request.header("X-Install-Id", wrong)).await {
            answer.is_problem(400, "invalid_field");
            assert!(answer.detail().starts_with("X-Install-Id: expected a UUID in lower case"), "{wrong}");
            assert!(answer.detail().contains(expected), "{wrong}: {}", answer.detail());
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
    for (headers, name) in [
        (vec![("X-Install-Id", id.as_str()), ("X-Install-Id", id.as_str())], "X-Install-Id: repeated header"),
        (
            vec![("X-Install-Id", id.as_str()), ("X-License", "a"), ("X-License", "a")],
            "X-License: repeated header",
        ),
        (vec![("X-Install-Id", "\u{e9}")], "X-Install-Id: invalid header"),
        (vec![("X-License", "v1.a.b")], "X-Install-Id: missing header"),
    ] {
        let with = |request: RequestBuilder| {
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        for answer in both(&app, with).await {
            answer.is_problem(400, "invalid_field");
            assert!(answer.detail().starts_with(name), "{}", answer.detail());
        }
    }
    let none = app.send(reading(&app)).await;
    none.is_problem(400, "invalid_field");
    assert!(none.detail().starts_with("X-Install-Id: missing header"), "{}", none.detail());
    assert_eq!(app.credits_taken(&id).await, (0, 0));
}

#[tokio::test]
async fn a_licence_proves_its_plan_until_it_expires() {
    let plans = Plans {
        pro: Quota { counted: Counted::Monthly, requests: Some(7), cloud: Some(2) },
        ..Plans::default()
    };
    let options =
        Options { settings: licensed(plans), started: false, manual_clock: true, ..Options::default() };
    let app = TestApp::with(options);
    let (id, now) = (install(1), app.now());
    let day = Duration::from_hours(24);
    let (_, token) = licence(&licence_key(1), &id, Plan::Pro, (now, now + day));
    let with = |request: RequestBuilder| request.header("X-Install-Id", &id).header("X-License", &token);
    let left = app.send(with(reading(&app))).await.ok(200);
    assert_eq!(
        (&left["plan"], &left["capped"], &left["remaining"], &left["cloudRemaining"], &left["renewsAt"]),
        (&json!("pro"), &json!("monthly"), &json!(7), &json!(2), &json!("2026-04-01T12:00:00.000000Z"))
    );
    let (_, max) = licence(&licence_key(1), &id, Plan::Max, (now, now + day));
    let most = app.send(reading(&app).header("X-Install-Id", &id).header("X-License", &max)).await.ok(200);
    assert_eq!((&most["capped"], &most["remaining"]), (&json!("none"), &Value::Null));
    let reply = app.send(with(app.asking("hello"))).await.ok(200);
    assert_eq!(
        reply["credits"],
        json!({"plan": "pro", "remaining": 6, "cloudRemaining": 1, "renewsAt": "2026-04-01T12:00:00.000000Z"})
    );
    let left = app.send(with(reading(&app))).await.ok(200);
    assert_eq!((&left["monthlyConsumed"], &left["lifetimeConsumed"]), (&json!(1), &json!(0)));
    app.clock.advance(day);
    for answer in both(&app, with).await {
        answer.is_problem(401, "invalid_licence");
        assert!(answer.detail().starts_with("licence expired at 2026-03-02T12:00:00"), "{}", answer.detail());
    }
}

#[tokio::test]
async fn an_invalid_licence_is_never_taken_for_none() {
    let app = app(licensed(Plans::default()));
    let (id, now) = (install(1), app.now());
    let hour = Duration::from_hours(1);
    let times = (now, now + hour);
    let valid = licence(&licence_key(1), &id, Plan::Pro, times).1;
    let mut tampered = valid.clone().into_bytes();
    let last = tampered.len() - 10;
    tampered[last] = if tampered[last] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    let (revoked_id, revoked) = licence(&licence_key(1), &id, Plan::Pro, times);
    let engine = app.engine.clone();
    app.on_runtime(
        async move { engine.credits.licence_revoke(revoked_id, "refunded".into()).await.unwrap() },
    )
    .await;
    for (wrong, detail) in [
        (String::new(), "not a licence"),
        ("core".to_owned(), "not a licence"),
        ("x".repeat(600), "not a licence: expected at most"),
        (valid[..valid.len() - 1].to_owned(), "damaged licence"),
        (tampered, "invalid licence signature"),
        (licence(&licence_key(2), &id, Plan::Pro, times).1, "unknown or retired licence key"),
        (licence(&licence_key(1), &install(2), Plan::Pro, times).1, "wrong install"),
        (licence(&licence_key(1), &id, Plan::Pro, (now + hour, now + hour * 2)).1, "licence not valid yet"),
        (revoked, "the licence was revoked"),
    ] {
        let with = |request: RequestBuilder| request.header("X-Install-Id", &id).header("X-License", &wrong);
        for answer in both(&app, with).await {
            answer.is_problem(401, "invalid_licence");
            assert!(answer.detail().starts_with(detail), "{detail}: {}", answer.detail());
            assert!(wrong.is_empty() || !answer.text.contains(&wrong), "{}", answer.text);
        }
    }
    assert_eq!(app.credits_taken(&id).await, (0, 0));
    let with = |request: RequestBuilder| request.header("X-Install-Id", &id).header("X-License", &valid);
    for answer in both(&app, with).await {
        answer.ok(200);
    }
}

#[tokio::test]
async fn credentials_beside_an_install_must_be_valid() {
    let app = TestApp::standing();
    let id = install(1);
    let of_install = |request: RequestBuilder| request.header("X-Install-Id", &id);
    for answer in both(&app, |request| of_install(request).header("X-Nostr-Token", "forged")).await {
        answer.is_problem(401, "invalid_identity");
    }
    for answer in both(&app, |request| of_install(request).header("Authorization", "Bearer forged")).await {
        answer.is_problem(401, "invalid_macaroon");
    }
    for answer in both(&app, |request| of_install(request).header("Authorization", "Basic forged")).await {
        answer.is_problem(401, "invalid_identity");
    }
    let in_body = json!({ "request": "hello", "nostr_token": "forged" }).to_string();
    let in_body = app.send(of_install(app.request(Method::POST, "/api/ask")).body(in_body)).await;
    in_body.is_problem(401, "invalid_identity");
    let token = app.login(&key(1)).await;
    for answer in both(&app, |request| of_install(request).header("X-Nostr-Token", &token)).await {
        answer.ok(200);
    }
    assert_eq!(app.credits_taken(&id).await, (0, 1));
}

#[tokio::test]
async fn an_address_has_so_many_new_installs_a_day_unless_they_are_licensed() {
    let mut settings = licensed(Plans::default());
    settings.credits.new_installs = 2;
    settings.rules.free_tier.budgets.new = tithe_money::Sats::new(1_000).unwrap();
    let options = Options { settings, manual_clock: true, ..Options::default() };
    let app = TestApp::with(options);
    for number in [1, 2] {
        app.ask_of(&install(number), "hello").await.ok(200);
    }
    let refused = app.ask_of(&install(3), "hello").await;
    refused.is_problem(429, "too_many_installs");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((86_000..=86_401).contains(&wait), "{wait}");
    assert_eq!(app.credits(&install(3)).await["remaining"], 50, "reading is no first use");
    // Whoever is known, licensed, or trusted, goes on.
    app.ask_of(&install(1), "hello").await.ok(200);
    let now = app.now();
    let (_, token) = licence(&licence_key(1), &install(4), Plan::Pro, (now, now + Duration::from_hours(1)));
    let paid = app.asking("hello").header("X-Install-Id", install(4)).header("X-License", token);
    assert_eq!(app.send(paid).await.ok(200)["credits"]["plan"], "pro");
    let token = app.login(&key(1)).await;
    let trusted = app.asking("hello").header("X-Install-Id", install(5)).header("X-Nostr-Token", &token);
    assert_eq!(app.send(trusted).await.ok(200)["free_tier"], true);
    app.clock.advance(Duration::from_secs(wait));
    app.ask_of(&install(3), "hello").await.ok(200);
}
