//! Identity tokens: an invalid token is always rejected, and never makes the request anonymous.

use crate::app::{Answer, Options, TestApp, key, secret};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::time::Duration;
use tithe_trust::{Audience, IdentityTokens, Secret, Secrets};

const DAY: Duration = Duration::from_hours(24);

fn refused(answer: &Answer, why: &str) {
    answer.is_problem(401, "invalid_identity");
    assert!(answer.detail().contains(why), "{}", answer.detail());
}

/// Every route that authenticates its caller.
async fn routes(app: &TestApp) -> Vec<(Method, String)> {
    let (id, hash) = app.job_create("hello").await;
    vec![
        (Method::GET, "/api/estimate?request=a".to_owned()),
        (Method::POST, "/api/jobs".to_owned()),
        (Method::GET, format!("/api/jobs/{id}")),
        (Method::GET, format!("/api/jobs/{id}/events")),
        (Method::GET, format!("/api/invoices/{hash}")),
        (Method::GET, "/api/identity/me".to_owned()),
        (Method::GET, "/api/pool".to_owned()),
        (Method::POST, format!("/dev/stub/pay/{}", "00".repeat(32))),
    ]
}

fn ask(app: &TestApp, method: &Method, path: &str) -> RequestBuilder {
    let request = app.request(method.clone(), path);
    if *method == Method::POST { request.body(r#"{"request":"a"}"#) } else { request }
}

/// The same text with one bit changed, such that it is still a valid header value.
fn altered(token: &str, at: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let byte = bytes[at];
    bytes[at] = (0..7).map(|bit| byte ^ 1 << ((at + bit) % 7)).find(u8::is_ascii_graphic).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_token_with_any_bit_changed_is_rejected() {
    let app = TestApp::standing();
    let token = app.login(&key(1)).await;
    for at in 0..token.len() {
        let altered = altered(&token, at);
        assert_ne!(altered, token);
        refused(&app.get_as(&altered, "/api/estimate?request=a").await, "identity token");
        if at % 7 == 0 {
            refused(&app.post_as(&altered, "/api/jobs", r#"{"request":"a"}"#).await, "identity token");
            let body = json!({"request": "a", "nostr_token": altered}).to_string();
            refused(&app.post("/api/jobs", body).await, "identity token");
        }
    }
    for cut in [0, 1, 3, token.len() / 2, token.len() - 1] {
        refused(&app.get_as(&token[..cut], "/api/estimate?request=a").await, "identity token");
    }
    let (head, tail) = token.rsplit_once('.').unwrap();
    for wrong in
        [format!("{token}="), format!("{head}."), format!("{token}.{tail}"), token.replace("v1.", "v2.")]
    {
        refused(&app.get_as(&wrong, "/api/estimate?request=a").await, "identity token");
    }
    app.get_as(&token, "/api/estimate?request=a").await.ok(200);
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn an_invalid_token_is_rejected_on_every_route() {
    let app = TestApp::standing();
    let token = altered(&app.login(&key(1)).await, 60);
    for (method, path) in routes(&app).await {
        refused(
            &app.send(ask(&app, &method, &path).header("X-Nostr-Token", &token)).await,
            "token signature",
        );
        let query = format!("{path}{}nostr_token={token}", if path.contains('?') { '&' } else { '?' });
        refused(&app.send(ask(&app, &method, &query)).await, "token signature");
        // A token that is not text is invalid, too.
        let header = ask(&app, &method, &path).header("X-Nostr-Token", &b"\xff"[..]);
        refused(&app.send(header).await, "X-Nostr-Token");
        let query = format!("{path}{}nostr_token=%FF", if path.contains('?') { '&' } else { '?' });
        refused(&app.send(ask(&app, &method, &query)).await, "nostr_token");
    }
    assert_eq!(app.jobs_count().await, 1);
}

#[tokio::test]
async fn a_valid_token_is_accepted_on_every_route_in_every_form() {
    let app = TestApp::standing();
    let token = app.login(&key(1)).await;
    for (method, path) in routes(&app).await {
        let query = format!("{path}{}nostr_token={token}", if path.contains('?') { '&' } else { '?' });
        for request in [ask(&app, &method, &path).header("X-Nostr-Token", &token), ask(&app, &method, &query)]
        {
            let answer = request.send().await.unwrap();
            assert_ne!(answer.status(), 401, "{method} {path}");
        }
    }
    let ways = [
        app.request_as(&token, Method::POST, "/api/jobs").body(r#"{"request":"a"}"#),
        app.request(Method::POST, &format!("/api/jobs?nostr_token={token}")).body(r#"{"request":"a"}"#),
        app.request(Method::POST, "/api/jobs")
            .body(json!({"request": "a", "nostr_token": token}).to_string()),
    ];
    for way in ways {
        assert_eq!(app.send(way).await.ok(201)["trust_tier"], "new");
    }
}

#[tokio::test]
async fn a_token_is_valid_for_a_day_and_does_not_prevent_a_new_login() {
    let app = TestApp::standing();
    let token = app.login(&key(1)).await;
    app.clock.advance(Duration::from_secs(24 * 3_600 - 1));
    app.get_as(&token, "/api/estimate?request=a").await.ok(200);
    app.clock.advance(Duration::from_secs(1));
    for (method, path) in routes(&app).await {
        refused(&app.send(ask(&app, &method, &path).header("X-Nostr-Token", &token)).await, "expired");
    }
    let challenge = app.post_as(&token, "/api/identity/challenge", "").await.ok(200);
    let event = app.answer_to(challenge["nonce"].as_str().unwrap(), &key(1));
    app.post_as(&token, "/api/identity/verify", json!({ "event": event }).to_string()).await.ok(200);
}

#[tokio::test]
async fn tokens_of_a_retired_secret_are_valid_while_it_is_configured() {
    let old = Secret::new([8; 32]).unwrap();
    let options = || Options { started: false, manual_clock: true, ..Options::default() };
    let knows = TestApp::with(Options { retired: vec![old.clone()], ..options() });
    let forgot = TestApp::with(options());
    let tokens = |secret: &Secret| {
        IdentityTokens::new(&Secrets::new(secret.clone(), vec![]), Audience::literal("tithe"), DAY)
    };
    let token = tokens(&old).issue(key(1).pubkey(), knows.now()).text;
    assert_eq!(knows.me(&token).await["pubkey"], key(1).pubkey().to_string());
    refused(&forgot.get_as(&token, "/api/identity/me").await, "not signed by this server");
    let early = tokens(&secret()).issue(key(1).pubkey(), forgot.now() + Duration::from_secs(301)).text;
    refused(&forgot.get_as(&early, "/api/identity/me").await, "not valid yet");
}

#[tokio::test]
async fn conflicting_credentials_are_rejected_and_a_valid_one_hides_no_invalid_one() {
    let app = TestApp::standing();
    let (alice, bob) = (app.login(&key(1)).await, app.login(&key(2)).await);
    let again = app.login(&key(1)).await;
    let wrong = altered(&alice, 60);
    let body = |token: &str| json!({"request": "a", "nostr_token": token}).to_string();
    let jobs = |query: &str| app.request(Method::POST, &format!("/api/jobs{query}"));
    for (request, why) in [
        (jobs("").header("X-Nostr-Token", &alice).body(body(&bob)), "several identities"),
        (jobs(&format!("?nostr_token={bob}")).body(body(&alice)), "several identities"),
        (jobs(&format!("?nostr_token={alice}&nostr_token={bob}")).body(body(&alice)), "several identities"),
        (jobs("").header("X-Nostr-Token", &alice).body(body(&wrong)), "token signature"),
        (
            jobs(&format!("?nostr_token={wrong}")).header("X-Nostr-Token", &alice).body(body(&alice)),
            "token signature",
        ),
        (
            jobs("").header("X-Nostr-Token", &alice).header("X-Nostr-Token", &alice).body(body(&alice)),
            "at most once",
        ),
        (jobs("").header("X-Nostr-Token", &alice).body(body("")), "malformed identity token"),
    ] {
        refused(&app.send(request).await, why);
    }
    let signature = app.signature(&key(2), "POST", "/api/jobs", &body(&alice));
    let both = jobs("").header("Authorization", signature.clone()).body(body(&alice));
    refused(&app.send(both).await, "several identities");
    assert_eq!(app.jobs_count().await, 0);
    // The signature covers this body, and the rejection with another identity's token has not consumed it.
    let agreeing = jobs(&format!("?nostr_token={again}")).header("X-Nostr-Token", &alice).body(body(&alice));
    assert_eq!(app.send(agreeing).await.ok(201)["trust_tier"], "new");
}

#[tokio::test]
async fn idempotency_keys_are_scoped_to_the_identity() {
    let app = TestApp::standing();
    let (alice, bob) = (app.login(&key(1)).await, app.login(&key(2)).await);
    let again = app.login(&key(1)).await;
    let ask = async |token: Option<&str>, request: &str| {
        let body = json!({ "request": request }).to_string();
        let asked = app
            .request(Method::POST, "/api/jobs")
            .header("Idempotency-Key", "mine and mine alone")
            .body(body);
        app.send(token.into_iter().fold(asked, |asked, token| asked.header("X-Nostr-Token", token))).await
    };
    let mut first = Vec::new();
    for token in [None, Some(alice.as_str()), Some(bob.as_str())] {
        let made = ask(token, "hello").await;
        made.ok(201);
        assert_eq!(made.header("idempotency-replayed"), "");
        let replayed = ask(token, "hello").await;
        assert_eq!((replayed.header("idempotency-replayed"), &replayed.text), ("true", &made.text));
        ask(token, "something else").await.is_problem(409, "idempotency_key_reused");
        first.push(made);
    }
    assert_eq!(app.jobs_count().await, 3);
    // All authentication methods of an identity share its keys.
    assert_eq!(ask(Some(&again), "hello").await.text, first[1].text);
    let body = json!({"request": "hello"}).to_string();
    let signed = app.request(Method::POST, "/api/jobs").header("Idempotency-Key", "mine and mine alone");
    let signature = app.signature(&key(2), "POST", "/api/jobs", &body);
    assert_eq!(app.send(signed.header("Authorization", signature).body(body)).await.text, first[2].text);
    assert_eq!(app.jobs_count().await, 3);
}
