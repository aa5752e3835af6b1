//! Logging in, and reading the identity of the caller.

use crate::app::{Answer, Options, TestApp, event, key, secret};
use crate::shapes::answers;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_trust::{Challenges, Secret, Secrets, Tier};

const PATH: &str = "/api/identity/verify";

/// The login response for a key without any trust.
fn verified(pubkey: &str) -> Value {
    let trust = json!({"tier": "=new", "score": 0, "interactionCount": 0});
    json!({"nostr_token": "text", "expiresAt": "time", "pubkey": format!("={pubkey}"), "trust": trust})
}

/// Asserts that a response rejects the credentials and names the authentication scheme.
fn refused(answer: &Answer, why: &str) {
    answer.is_problem(401, "invalid_identity");
    assert_eq!(answer.header("www-authenticate"), "Nostr");
    assert!(answer.detail().contains(why), "{}", answer.detail());
}

/// Asserts that the nonce can still be used to log in.
async fn is_not_burnt(app: &TestApp, nonce: &str) {
    app.verify(&app.answer_to(nonce, &key(200))).await.ok(200);
}

#[tokio::test]
async fn a_signed_challenge_returns_a_token_that_authenticates() {
    let app = TestApp::standing();
    let asked = app.post("/api/identity/challenge", "what is in here is not looked at").await;
    let challenge = answers(&asked, 200, &json!({"nonce": "hash", "expiresAt": "time"}));
    assert_eq!(asked.header("cache-control"), "no-store");
    assert_eq!(challenge["expiresAt"], (app.now() + Duration::from_mins(5)).to_string());

    let alice = key(1);
    let pubkey = alice.pubkey().to_string();
    let answer = app.verify(&app.answer_to(challenge["nonce"].as_str().unwrap(), &alice)).await;
    let login = answers(&answer, 200, &verified(&pubkey));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-nostr-token"), login["nostr_token"]);
    assert_eq!(login["expiresAt"], (app.now() + Duration::from_hours(24)).to_string());

    let token = login["nostr_token"].as_str().unwrap();
    let estimate = app.get_as(token, "/api/estimate?request=hello").await.ok(200);
    assert_eq!(
        (&estimate["identity"]["pubkey"], &estimate["identity"]["trust_tier"]),
        (&json!(pubkey), &json!("new"))
    );
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn nip_42_and_nip_98_events_log_in_with_the_nonce_in_a_tag_or_as_the_content() {
    let app = TestApp::standing();
    for (kind, tagged) in [(22242, true), (27235, true), (27235, false)] {
        let nonce = app.nonce().await;
        let tag: [&str; 2] = ["challenge", &nonce];
        let (tags, content): (&[&[&str]], &str) = if tagged { (&[&tag], "") } else { (&[], &nonce) };
        app.verify(&event(&key(1), kind, tags, content, app.now())).await.ok(200);
    }
}

#[tokio::test]
async fn a_malformed_event_is_rejected_by_field_and_consumes_no_nonce() {
    let app = TestApp::standing();
    let nonce = app.nonce().await;
    let good = app.answer_to(&nonce, &key(1));
    let upper = |field: &str| json!(good[field].as_str().unwrap().to_uppercase());
    let mut wrong: Vec<(&str, Value)> = vec![
        ("id", upper("id")),
        ("pubkey", upper("pubkey")),
        ("sig", upper("sig")),
        ("pubkey", json!(key(1).pubkey().npub())),
        ("id", json!("abc")),
        ("sig", json!("0".repeat(64))),
        ("created_at", json!(1.5)),
        ("created_at", json!(-1)),
        ("created_at", json!("now")),
        ("created_at", json!(u64::MAX)),
        ("kind", json!(65_536)),
        ("kind", json!(22_242.0)),
        ("tags", json!({})),
        ("tags", json!([["challenge", 7]])),
        ("tags", json!([[]])),
        ("tags", json!([["a", "b"]].repeat(101))),
        ("content", json!(["a"])),
    ];
    let fields = ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"];
    wrong.extend(fields.map(|field| (field, Value::Null)));
    for (field, value) in wrong {
        let mut bad = good.clone();
        bad[field] = value.clone();
        let answer = app.verify(&bad).await;
        answer.is_problem(400, "invalid_field");
        assert!(answer.detail().starts_with(&format!("event.{field}: ")), "{value}: {}", answer.detail());
    }
    for field in fields {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(field);
        assert!(app.verify(&bad).await.detail().starts_with(&format!("event.{field}: ")), "{field}");
    }
    let mut large = good.clone();
    large["content"] = json!("x".repeat(17 * 1024));
    for bad in [large, json!(good.to_string()), json!([good]), json!(null), json!(true), json!(7)] {
        let answer = app.verify(&bad).await;
        answer.is_problem(400, "invalid_field");
        assert!(answer.detail().starts_with("event: "), "{}", answer.detail());
    }
    app.post(PATH, "{}").await.is_problem(400, "invalid_field");
    app.post(PATH, "").await.is_problem(400, "invalid_body");
    app.post(PATH, good.to_string()).await.is_problem(400, "invalid_field");
    app.verify(&good).await.ok(200);
}

#[tokio::test]
async fn an_invalid_event_is_rejected_with_a_reason_and_consumes_no_nonce() {
    let app = TestApp::standing();
    let (alice, now) = (key(1), app.now());
    let nonce = app.nonce().await;
    let tag: [&str; 2] = ["challenge", &nonce];
    let good = app.answer_to(&nonce, &alice);
    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        changed
    };
    let other = app.answer_to(&app.nonce().await, &alice);
    let at = |seconds: i64| {
        let moved = Duration::from_secs(seconds.unsigned_abs());
        event(&alice, 22242, &[&tag], "", if seconds < 0 { now - moved } else { now + moved })
    };
    let foreign = Challenges::new(&Secrets::new(Secret::new([8; 32]).unwrap(), vec![]), Challenges::LIFE);
    let foreign = foreign.issue(now, [1; 8]).nonce.to_string();
    let future = Challenges::new(&Secrets::new(secret(), vec![]), Challenges::LIFE);
    let future = future.issue(now + Duration::from_secs(61), [1; 8]).nonce.to_string();
    let altered = format!("{}{}", &nonce[..63], if nonce.ends_with('0') { '1' } else { '0' });
    for (bad, why) in [
        (with("id", other["id"].clone()), "wrong event id"),
        (with("content", json!("more")), "wrong event id"),
        (with("created_at", json!(now.unix_seconds() + 1)), "wrong event id"),
        (with("sig", other["sig"].clone()), "signature"),
        (with("sig", json!("0".repeat(128))), "signature"),
        (with("pubkey", json!(key(2).pubkey().to_string())), "wrong event id"),
        (event(&alice, 1, &[&tag], "", now), "got 1"),
        (event(&alice, 22241, &[&tag], &nonce, now), "got 22241"),
        (at(-601), "too old"),
        (at(601), "from the future"),
        (event(&alice, 22242, &[], &nonce, now), "missing nonce"),
        (event(&alice, 22242, &[&["challenge", "hello"]], "", now), "missing nonce"),
        (event(&alice, 22242, &[&["challenge", &nonce.to_uppercase()]], "", now), "missing nonce"),
        (app.answer_to(&altered, &alice), "not issued"),
        (app.answer_to(&"0".repeat(64), &alice), "not issued"),
        (app.answer_to(&foreign, &alice), "not issued"),
        (app.answer_to(&future, &alice), "not issued"),
    ] {
        refused(&app.verify(&bad).await, why);
    }
    // The time of the event may be off by ten minutes: the nonce limits its age more strictly.
    app.verify(&at(-600)).await.ok(200);
}

#[tokio::test]
async fn a_key_that_is_not_on_the_curve_is_rejected() {
    let app = TestApp::standing();
    let nonce = app.nonce().await;
    let nobody = format!("{:064}", 5);
    let content = json!([0, nobody, app.now().unix_seconds(), 22242, [["challenge", nonce]], ""]).to_string();
    let id = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content));
    let event = json!({
        "id": id, "pubkey": nobody, "created_at": app.now().unix_seconds(), "kind": 22242,
        "tags": [["challenge", nonce]], "content": "", "sig": "1".repeat(128),
    });
    refused(&app.verify(&event).await, "not on the curve");
    is_not_burnt(&app, &nonce).await;
}

#[tokio::test]
async fn the_expected_key_must_match_the_event() {
    let app = TestApp::standing();
    let alice = key(1);
    let nonce = app.nonce().await;
    let good = app.answer_to(&nonce, &alice);
    let ask = async |event: &Value, pubkey: Value| {
        app.post(PATH, json!({"event": event, "pubkey": pubkey}).to_string()).await
    };
    let mut unproved = good.clone();
    unproved["sig"] = json!("0".repeat(128));
    let hex = alice.pubkey().to_string();
    for (pubkey, why) in [
        (json!(key(2).pubkey().to_string()), "expected the public key of the event"),
        (json!(key(2).pubkey().npub()), "expected the public key of the event"),
        (json!(hex.to_uppercase()), "uppercase"),
        (json!(format!("{:064}", 5)), "curve"),
        (json!(format!("{}q", alice.pubkey().npub())), "npub"),
        (json!(alice.nsec()), "invalid Nostr public key"),
        (json!(""), "invalid Nostr public key"),
        (json!(7), "invalid type"),
    ] {
        // An invalid signature is reported only if everything else is valid.
        for event in [&good, &unproved] {
            let answer = ask(event, pubkey.clone()).await;
            answer.is_problem(400, "invalid_field");
            let detail = answer.detail();
            assert!(detail.starts_with("pubkey: ") && detail.contains(why), "{pubkey}: {detail}");
        }
    }
    refused(&ask(&unproved, json!(hex)).await, "signature");
    ask(&good, json!(hex)).await.ok(200);
    for pubkey in [json!(alice.pubkey().npub()), json!(null)] {
        ask(&app.answer_to(&app.nonce().await, &alice), pubkey).await.ok(200);
    }
}

#[tokio::test]
async fn an_event_for_another_site_is_rejected() {
    let app = TestApp::standing();
    let nonce = app.nonce().await;
    let login = async |app: &TestApp, nonce: &str, tag: &[&str]| {
        app.verify(&event(&key(1), 22242, &[&["challenge", nonce], tag], "", app.now())).await
    };
    for tag in [["relay", "wss://relay.example"], ["u", "https://127.0.0.2/"], ["relay", "no address"]] {
        refused(&login(&app, &nonce, &tag).await, "wrong site");
    }
    login(&app, &nonce, &["relay", "ws://127.0.0.1:1"]).await.ok(200);
    let public_url = Some("https://tithe.example".parse().unwrap());
    let app = TestApp::with(Options {
        public_urls: public_url.into_iter().collect(),
        started: false,
        ..Options::default()
    });
    let nonce = app.nonce().await;
    refused(&login(&app, &nonce, &["relay", "ws://127.0.0.1"]).await, "wrong site");
    refused(&login(&app, &nonce, &["t", "no site"]).await, "missing site");
    login(&app, &nonce, &["relay", "wss://TITHE.example/api"]).await.ok(200);
}

#[tokio::test]
async fn a_nonce_can_be_used_only_once_by_any_key() {
    let app = TestApp::standing();
    let nonce = app.nonce().await;
    let event = app.answer_to(&nonce, &key(1));
    app.verify(&event).await.ok(200);
    refused(&app.verify(&event).await, "used before");
    refused(&app.verify(&app.answer_to(&nonce, &key(1))).await, "used before");
    refused(&app.verify(&app.answer_to(&nonce, &key(2))).await, "used before");
}

#[tokio::test]
async fn of_many_concurrent_logins_with_one_nonce_one_succeeds() {
    let app = TestApp::standing();
    for others in [false, true] {
        let nonce = app.nonce().await;
        let events: Vec<Value> =
            (1..=16).map(|n| app.answer_to(&nonce, &key(if others { n } else { 1 }))).collect();
        let answers = futures_util::future::join_all(events.iter().map(|event| app.verify(event))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            refused(answer, "used before");
        }
    }
}

#[tokio::test]
async fn a_nonce_is_valid_for_five_minutes() {
    let app = TestApp::standing();
    let (one, two) = (app.nonce().await, app.nonce().await);
    app.clock.advance(Duration::from_millis(299_999));
    app.verify(&app.answer_to(&one, &key(1))).await.ok(200);
    app.clock.advance(Duration::from_millis(1));
    refused(&app.verify(&app.answer_to(&two, &key(1))).await, "expired");
}

#[tokio::test]
async fn a_login_repeated_with_its_key_gets_the_same_response() {
    let app = TestApp::standing();
    let ask = async |path: &str, body: &str| {
        let request = app.request(Method::POST, path).header("Idempotency-Key", path);
        app.send(request.body(body.to_owned())).await
    };
    // A challenge writes nothing, not even its idempotency key.
    let challenge = "/api/identity/challenge";
    let before = app.rows().await;
    let (first, second) = (ask(challenge, "").await, ask(challenge, "anything").await);
    assert_ne!(first.ok(200)["nonce"], second.ok(200)["nonce"]);
    assert_eq!(app.rows().await, before);

    let nonce = first.ok(200)["nonce"].as_str().unwrap().to_owned();
    let body = |kind| {
        let event = event(&key(1), kind, &[&["challenge", &nonce]], "", app.now());
        json!({ "event": event }).to_string()
    };
    for _ in 0..2 {
        // A rejected login is not replayed.
        let request = app.request(Method::POST, PATH).header("Idempotency-Key", "refused");
        refused(&app.send(request.body(body(1))).await, "kind");
    }
    assert_eq!(app.rows().await, before, "a rejected login changed the database");
    let login = body(22242);
    let first = ask(PATH, &login).await;
    app.clock.advance(Duration::from_hours(1));
    let second = ask(PATH, &login).await;
    assert_eq!((first.status, &first.text), (200, &second.text));
    for answer in [&first, &second] {
        assert_eq!(answer.header("x-nostr-token"), answer.json()["nostr_token"]);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
}

#[tokio::test]
async fn an_identity_can_read_its_trust_and_budget() {
    let app = TestApp::standing();
    let alice = key(1);
    let token = app.login(&alice).await;
    let trust = json!({
        "tier": "=new", "score": 0, "interactionCount": 0, "lastSeen": null, "nextTier": "=established",
        "pointsToNextTier": 10,
    });
    let free_tier = json!({
        "dailyBudgetSats": 0, "absorbedTodaySats": 0, "reservedSats": 0, "remainingTodaySats": 0, "resetsAt": null,
    });
    let pubkey = alice.pubkey();
    let mut shape = json!({
        "pubkey": format!("={pubkey}"), "npub": format!("={}", pubkey.npub()), "trust": trust, "freeTier": free_tier,
    });
    let answer = app.get_as(&token, "/api/identity/me").await;
    let me = answers(&answer, 200, &shape);
    assert_eq!(answer.header("cache-control"), "no-store");
    let query = format!("/api/identity/me?nostr_token={token}");
    assert_eq!(app.get(&query).await.ok(200), me);
    let head = app.send(app.request_as(&token, Method::HEAD, "/api/identity/me")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));

    // A key that has only signed this request is a new identity.
    let bob = key(2);
    shape["pubkey"] = json!(format!("={}", bob.pubkey()));
    shape["npub"] = json!(format!("={}", bob.pubkey().npub()));
    let signature = app.signature(&bob, "GET", "/api/identity/me", "");
    let request = app.request(Method::GET, "/api/identity/me").header("Authorization", signature);
    answers(&app.send(request).await, 200, &shape);

    // The identity is stored when it creates its first job.
    app.job_create_as(&token, "hello").await;
    app.clock.advance(Duration::from_mins(1));
    let token = app.login(&alice).await;
    assert_eq!(app.me(&token).await["trust"]["lastSeen"], app.now().to_string());
}

#[tokio::test]
async fn a_request_without_credentials_is_told_how_to_authenticate() {
    let app = TestApp::standing();
    let me = || app.request(Method::GET, "/api/identity/me");
    for (request, code) in
        [(me(), "identity_required"), (me().header("Authorization", "Bearer x"), "invalid_identity")]
    {
        let answer = app.send(request).await;
        answer.is_problem(401, code);
        assert_eq!(answer.header("www-authenticate"), "Nostr");
    }
}

#[tokio::test]
async fn the_top_tier_has_no_next_tier_and_points_are_exact() {
    let mut settings = Settings::default();
    let trust = &mut settings.rules.trust;
    trust.established = "0.001".parse().unwrap();
    let app = TestApp::with(Options { settings: settings.clone(), started: false, ..Options::default() });
    let token = app.login(&key(1)).await;
    let me = app.get_as(&token, "/api/identity/me").await;
    assert!(me.text.contains("\"pointsToNextTier\":0.001"), "{}", me.text);
    settings.rules.trust.established = "0".parse().unwrap();
    settings.rules.trust.trusted = "0".parse().unwrap();
    settings.rules.trust.elite = "0".parse().unwrap();
    let app = TestApp::with(Options { settings, started: false, ..Options::default() });
    let me = app.me(&app.login(&key(1)).await).await;
    assert_eq!(me["trust"]["tier"], Tier::Elite.as_str());
    assert_eq!((&me["trust"]["nextTier"], &me["trust"]["pointsToNextTier"]), (&Value::Null, &Value::Null));
    let free_tier = &me["freeTier"];
    assert_eq!(
        (&free_tier["dailyBudgetSats"], &free_tier["remainingTodaySats"]),
        (&json!(1_000), &json!(1_000))
    );
}
