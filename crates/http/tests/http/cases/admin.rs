//! What only the operator may see.

use crate::app::{ADMIN_TOKEN, Answer, Options, TestApp, install, licence, licence_key};
use crate::shapes::answers;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_ledger::credits::Plan;
use tithe_licences::LicenceKeys;

const INSTALLS: &str = "/api/admin/installs";

async fn read(app: &TestApp, path: &str) -> Answer {
    let request = app.request(Method::GET, path);
    app.send(request.header("Authorization", format!("Bearer {ADMIN_TOKEN}"))).await
}

fn shape(plan: &str, capped: &str) -> Value {
    json!({
        "installId": "uuid", "plan": format!("={plan}"), "capped": format!("={capped}"), "remaining": "count",
        "cloudRemaining": null, "periodStart": "time", "renewsAt": null, "lifetimeConsumed": "count",
        "lifetimeCloudConsumed": "count", "monthlyConsumed": "count", "monthlyCloudConsumed": "count",
        "reserved": 0, "lastActiveAt": "time", "createdAt": "time",
    })
}

#[tokio::test]
async fn the_operator_reads_installs_page_by_page() {
    let mut settings = crate::app::settings();
    let key = licence_key(1);
    settings.credits.licence_keys = LicenceKeys::new([key.verifying_key()]);
    let app = TestApp::with(Options { settings, ..Options::default() });
    assert_eq!(read(&app, INSTALLS).await.ok(200), json!({ "installs": [], "next": null }));
    for number in [3, 1, 2] {
        app.ask_of(&install(number), "hello").await.ok(200);
    }
    app.ask_of(&install(1), "[sim:fail]").await.is_problem(502, "work_failed");
    let now = app.now();
    let (_, token) = licence(&key, &install(2), Plan::Pro, (now, now + Duration::from_hours(1)));
    let paid = app.asking("hello").header("X-Install-Id", install(2)).header("X-License", &token);
    app.send(paid).await.ok(200);

    let all = read(&app, INSTALLS).await;
    assert_eq!(all.header("cache-control"), "no-store");
    let all = all.ok(200);
    let listed = all["installs"].as_array().unwrap();
    let ids: Vec<_> = listed.iter().map(|one| one["installId"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids, &all["next"]), ([1, 2, 3].map(install).to_vec(), &Value::Null));
    let first = read(&app, &format!("{INSTALLS}/{}", install(1))).await;
    let first = answers(&first, 200, &shape("core", "lifetime"));
    assert_eq!(first, listed[0]);
    assert_eq!((&first["remaining"], &first["lifetimeConsumed"]), (&json!(49), &json!(1)));
    let paid = &listed[1];
    assert_eq!((&paid["plan"], &paid["capped"]), (&json!("pro"), &json!("monthly")));
    assert_eq!((&paid["remaining"], &paid["monthlyConsumed"]), (&json!(999), &json!(1)));
    assert_eq!((&paid["lifetimeConsumed"], &paid["monthlyCloudConsumed"]), (&json!(1), &json!(1)));
    assert!(paid["renewsAt"].is_string(), "{paid}");

    let mut seen = Vec::new();
    let mut path = format!("{INSTALLS}?limit=2");
    loop {
        let page = read(&app, &path).await.ok(200);
        seen.extend(page["installs"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{INSTALLS}?limit=2&after={next}");
    }
    assert_eq!(&seen, listed);
    // A cursor need not exist.
    let page = read(&app, &format!("{INSTALLS}?after={}", install(9))).await.ok(200);
    assert_eq!(page["installs"], json!([]));
    let head = app.request(Method::HEAD, INSTALLS).header("Authorization", format!("Bearer {ADMIN_TOKEN}"));
    assert_eq!(app.send(head).await.status, 200);
}

#[tokio::test]
async fn bad_pages_and_unknown_installs_are_named() {
    let app = TestApp::standing();
    for (query, name) in [
        ("limit=0", "limit: "),
        ("limit=1001", "limit: "),
        ("limit=-1", "limit: "),
        ("limit=x", "limit: "),
        ("after=x", "after: "),
        ("after=", "after: "),
        (&format!("after={}", install(1).to_uppercase()), "after: "),
    ] {
        let refused = read(&app, &format!("{INSTALLS}?{query}")).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with(name), "{query}: {}", refused.detail());
    }
    read(&app, &format!("{INSTALLS}?limit=1000")).await.ok(200);
    read(&app, &format!("{INSTALLS}/{}", install(1))).await.is_problem(404, "not_found");
    let refused = read(&app, &format!("{INSTALLS}/{}", install(1).to_uppercase())).await;
    refused.is_problem(400, "invalid_field");
    assert!(refused.detail().starts_with("installId: ") && refused.detail().contains(&install(1)));
}

#[tokio::test]
async fn nobody_but_the_operator_reads_installs() {
    let app = TestApp::standing();
    let paths = [INSTALLS.to_owned(), format!("{INSTALLS}/{}", install(1))];
    for path in &paths {
        app.get(path).await.is_problem(401, "invalid_admin_token");
        for wrong in [
            "Bearer ",
            "Bearer operators-only-012",
            "Bearer operators-only-01234",
            "Bearer Operators-only-0123",
            "Basic operators-only-0123",
            "operators-only-0123",
        ] {
            let refused = app.send(app.request(Method::GET, path).header("Authorization", wrong)).await;
            refused.is_problem(401, "invalid_admin_token");
            assert_eq!(refused.header("www-authenticate"), "Bearer");
            assert!(!refused.text.contains(ADMIN_TOKEN));
        }
        let right = format!("Bearer {ADMIN_TOKEN}");
        let twice =
            app.request(Method::GET, path).header("Authorization", &right).header("Authorization", &right);
        app.send(twice).await.is_problem(401, "invalid_admin_token");
        let forged = app.request_as("forged", Method::GET, path).header("Authorization", &right);
        app.send(forged).await.is_problem(401, "invalid_identity");
    }
}

#[tokio::test]
async fn without_a_token_there_is_no_admin_api() {
    let options = Options { started: false, manual_clock: true, admin_token: None, ..Options::default() };
    let app = TestApp::with(options);
    let unknown = app.get("/api/admin/nothing").await;
    unknown.is_problem(404, "not_found");
    for path in [INSTALLS.to_owned(), format!("{INSTALLS}/{}", install(1))] {
        for method in [Method::GET, Method::POST] {
            for token in ["", ADMIN_TOKEN] {
                let request = app.request(method.clone(), &path);
                let answer = app.send(request.header("Authorization", format!("Bearer {token}"))).await;
                answer.is_problem(404, "not_found");
                assert_eq!(answer.detail(), unknown.detail().replace("/api/admin/nothing", &path));
            }
        }
    }
}

#[tokio::test]
async fn metrics_are_for_those_who_have_the_token() {
    let app = TestApp::with(Options { started: false, ..Options::default() });
    let read = async |method: Method, token: &str| {
        let request = app.request(method, "/metrics");
        app.send(request.header("Authorization", format!("Bearer {token}"))).await
    };
    app.get("/metrics").await.is_problem(401, "invalid_admin_token");
    read(Method::GET, "operators-only-0124").await.is_problem(401, "invalid_admin_token");
    let page = app.request(Method::GET, "/metrics").header("Authorization", format!("Bearer {ADMIN_TOKEN}"));
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert_eq!(page.text().await.unwrap(), "tithe_something 1\n");

    let options = Options { started: false, admin_token: None, ..Options::default() };
    let app = TestApp::with(options);
    app.get("/metrics").await.is_problem(404, "not_found");
}
