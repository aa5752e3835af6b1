//! What may be seen by whom, and what a repeated request gets.

use crate::app::{Options, TestApp, key};
use reqwest::Method;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const HELLO: &str = r#"{"request":"hello"}"#;

#[tokio::test]
async fn a_key_that_can_be_guessed_does_not_protect_a_strangers_response() {
    let app = TestApp::standing();
    let post = |key: &str| app.request(Method::POST, "/api/jobs").header("Idempotency-Key", key).body(HELLO);
    let weak = app.send(post("order-1")).await;
    weak.is_problem(400, "weak_idempotency_key");
    assert!(weak.detail().contains("at least 16 characters"), "{}", weak.detail());
    app.send(post("0123456789abcdef")).await.ok(201);
    // An identity's keys are its own, however short.
    let token = app.login(&key(1)).await;
    let mine = app.send(post("1").header("X-Nostr-Token", &token)).await;
    mine.ok(201);
    assert_eq!(app.send(post("1").header("X-Nostr-Token", &token)).await.text, mine.text);
    app.send(post("1")).await.is_problem(400, "weak_idempotency_key");
    let hash = "00".repeat(32);
    let pay = app.request(Method::POST, &format!("/dev/stub/pay/{hash}")).header("Idempotency-Key", "1");
    app.send(pay).await.is_problem(400, "weak_idempotency_key");
    assert_eq!(app.jobs_count().await, 2);
}

#[tokio::test]
async fn the_same_signed_bytes_with_a_key_get_the_same_response() {
    let app = TestApp::standing();
    let signature = app.signature(&key(1), "POST", "/api/jobs", HELLO);
    let send = async |name: &str| {
        let request = app.request(Method::POST, "/api/jobs").header("Authorization", &signature);
        app.send(request.header("Idempotency-Key", name).body(HELLO)).await
    };
    let first = send("a").await;
    first.ok(201);
    let second = send("a").await;
    assert_eq!((second.status, &second.text), (201, &first.text));
    assert_eq!(second.header("idempotency-replayed"), "true");
    // Under another key it is another request, and the signature has been used.
    send("b").await.is_problem(401, "invalid_identity");
    // The response is kept for longer than the signature is fresh, and only the signer gets it.
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(send("a").await.text, first.text);
    send("b").await.is_problem(401, "invalid_identity");
    let stranger = app.request(Method::POST, "/api/jobs").header("Idempotency-Key", "a");
    let stranger = stranger.header("Authorization", app.signature(&key(2), "POST", "/api/jobs", HELLO));
    assert_ne!(app.send(stranger.body(HELLO)).await.text, first.text);
    let other = app.request(Method::POST, "/api/jobs").header("Idempotency-Key", "a");
    let other = app.send(other.header("Authorization", &signature).body(r#"{"request":"other"}"#)).await;
    other.is_problem(401, "invalid_identity");
    assert_eq!(app.jobs_count().await, 2);
    let (_, hash) = app.job_create("pay").await;
    let path = format!("/dev/stub/pay/{hash}");
    let signature = app.signature(&key(1), "POST", &path, "");
    let pay = || {
        let request = app.request(Method::POST, &path).header("Authorization", &signature);
        request.header("Idempotency-Key", "c").send()
    };
    let (first, second) =
        (pay().await.unwrap().text().await.unwrap(), pay().await.unwrap().text().await.unwrap());
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_signature_is_not_used_up_by_a_refusal() {
    let app = TestApp::standing();
    let signature = app.signature(&key(1), "POST", "/api/jobs", HELLO);
    for name in [Some("a"), None] {
        let send = async || {
            let request = app.request(Method::POST, "/api/jobs").header("Authorization", &signature);
            let request =
                if let Some(name) = name { request.header("Idempotency-Key", name) } else { request };
            app.send(request.body(HELLO)).await
        };
        app.prices.switch_off(true);
        send().await.is_problem(503, "no_price");
        app.prices.switch_off(false);
        if name.is_some() {
            let (one, other) = tokio::join!(send(), send());
            // Of two at once, one is done, and the other is told to wait, or gets the same.
            assert!([one.status, other.status].contains(&201), "{one:?} {other:?}");
            assert!(
                [one.status, other.status].iter().all(|status| [201, 409].contains(status)),
                "{one:?} {other:?}"
            );
            send().await.ok(201);
        } else {
            send().await.is_problem(401, "invalid_identity");
        }
    }
}

#[tokio::test]
async fn a_test_payment_takes_a_token_in_its_body() {
    let app = TestApp::standing();
    let token = app.login(&key(1)).await;
    let (_, hash) = app.job_create("pay").await;
    let pay = async |body: String| {
        let request = app.request(Method::POST, &format!("/dev/stub/pay/{hash}"));
        app.send(request.header("Idempotency-Key", "1").body(body)).await
    };
    pay(r#"{"nostr_token":"forged"}"#.to_owned()).await.is_problem(401, "invalid_identity");
    pay(r#"{"nostr_token":5}"#.to_owned()).await.is_problem(400, "invalid_field");
    // The key of an identity may be short.
    pay("{}".to_owned()).await.is_problem(400, "weak_idempotency_key");
    pay(json!({ "nostr_token": token }).to_string()).await.ok(200);
}

#[tokio::test]
async fn signed_reads_may_be_repeated() {
    let app = TestApp::standing();
    let signature = app.signature(&key(1), "GET", "/api/identity/me", "");
    for _ in 0..3 {
        let request = app.request(Method::GET, "/api/identity/me").header("Authorization", &signature);
        app.send(request).await.ok(200);
    }
}

#[tokio::test]
async fn a_signature_for_another_url_is_told_the_right_one() {
    let app = TestApp::standing();
    let signature = app.signature(&key(1), "GET", "/api/pool", "");
    let request = app.request(Method::GET, "/api/identity/me").header("Authorization", &signature);
    let refused = app.send(request).await;
    refused.is_problem(401, "invalid_identity");
    assert!(refused.detail().contains(&app.url("/api/identity/me")), "{}", refused.detail());
}

#[tokio::test]
async fn nobody_is_served_as_anonymous_by_mistake() {
    let app = TestApp::standing();
    let token = app.login(&key(1)).await;
    for authorization in
        [format!("Bearer {token}"), "Basic YTpi".to_owned(), format!("Token {token}"), token.clone()]
    {
        for (method, path) in [
            (Method::POST, "/api/jobs"),
            (Method::GET, "/api/pool"),
            (Method::GET, "/api/estimate?request=a"),
        ] {
            let request = app.request(method.clone(), path).header("Authorization", &authorization);
            let request = if method == Method::POST { request.body(HELLO) } else { request };
            app.send(request).await.is_problem(401, "invalid_identity");
        }
    }
    // By the name that all other fields would suggest.
    let body = json!({ "request": "hello", "nostrToken": token }).to_string();
    assert_eq!(app.post("/api/jobs", body).await.ok(201)["trust_tier"], "new");
    let estimate = app.get(&format!("/api/estimate?request=a&nostrToken={token}")).await.ok(200);
    assert_eq!(estimate["identity"]["trust_tier"], "new");
    app.get("/api/estimate?request=a&nostrToken=x").await.is_problem(401, "invalid_identity");
}

#[tokio::test]
async fn a_host_name_of_this_machine_is_believed_only_from_this_machine() {
    // A client cannot come from elsewhere in a test; that of another loopback address still is this machine.
    let app = TestApp::standing();
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let client = reqwest::Client::builder().no_proxy().local_address(elsewhere).build().unwrap();
    let signature = app.signature(&key(1), "GET", "/api/identity/me", "");
    let request = client.get(app.url("/api/identity/me")).header("Authorization", signature);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_server_may_have_several_public_urls() {
    let urls = ["https://tithe.example", "https://www.tithe.example"].map(|url| url.parse().unwrap());
    let app = TestApp::with(Options { public_urls: urls.into(), started: false, ..Options::default() });
    for (site, status) in
        [("https://tithe.example", 200), ("https://www.tithe.example", 200), ("https://evil.example", 401)]
    {
        let url = format!("{site}/api/identity/me");
        let signature = crate::app::signature_of(&key(1), &[&["u", &url], &["method", "GET"]], "", app.now());
        let request = app.request(Method::GET, "/api/identity/me").header("Authorization", signature);
        assert_eq!(app.send(request).await.status, status, "{site}");
    }
}

#[tokio::test]
async fn the_id_of_an_event_of_another_job_is_ignored() {
    let app = TestApp::new();
    let (one, two) = (app.job_complete("one").await, app.job_complete("two").await);
    let (one, two) = (one["jobId"].as_str().unwrap(), two["jobId"].as_str().unwrap());
    let events = app.follow_to_the_end(one, None).await;
    let last = &events.last().unwrap().id;
    assert_eq!(app.follow_to_the_end(one, Some(last)).await.len(), 0);
    for id in [last.as_str(), "", "x"] {
        assert_eq!(app.follow_to_the_end(two, Some(id)).await.len(), events.len(), "{id:?}");
    }
}
