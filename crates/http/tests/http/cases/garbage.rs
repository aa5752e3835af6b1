//! Fuzzing: any input gets a well-formed response.

use crate::app::{Answer, TestApp, key};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

/// All tests together send ten thousand inputs, which takes a few seconds.
const BODIES: usize = 10_000;
const AT_ONCE: usize = 64;

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = prop_oneof![
            Just("request".to_owned()),
            Just("model".to_owned()),
            Just("maxOutputTokens".to_owned()),
            Just("nostr_token".to_owned()),
            "[a-zA-Z_.]{0,8}",
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        (any_json(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
            let mut bytes = value.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        (any_json(), any_json()).prop_map(|(model, limit)| {
            json!({"request": "a", "model": model, "maxOutputTokens": limit}).to_string().into_bytes()
        }),
        ".{0,40}".prop_map(|text| json!({"request": text}).to_string().into_bytes()),
    ]
}

#[tokio::test]
async fn garbage_bodies_get_well_formed_responses() {
    let app = TestApp::standing();
    let mut runner = runner();
    let mut taken = 0;
    for _ in 0..BODIES.div_ceil(AT_ONCE) {
        let bodies: Vec<Vec<u8>> =
            (0..AT_ONCE).map(|_| any_body().new_tree(&mut runner).unwrap().current()).collect();
        let answers = bodies.iter().map(|body| app.post("/api/jobs", body.clone()));
        let answers = futures_util::future::join_all(answers).await;
        for (body, answer) in bodies.iter().zip(&answers) {
            assert!(
                matches!(answer.status, 201 | 400 | 401),
                "{:?}: {answer:?}",
                String::from_utf8_lossy(body)
            );
        }
        taken += answers.iter().filter(|answer| answer.status == 201).count();
    }
    assert!(taken > 100, "too few bodies were valid requests: {taken}");
    assert_eq!(app.jobs_count().await, u64::try_from(taken).unwrap());
}

#[tokio::test]
async fn garbage_events_and_tokens_get_well_formed_responses_and_no_identity() {
    let app = TestApp::standing();
    let good = json!({"event": app.answer_to(&app.nonce().await, &key(1)), "pubkey": key(1).pubkey().npub()});
    let good = good.to_string().into_bytes();
    let mut runner = runner();
    let any_change = (any::<prop::sample::Index>(), any::<u8>());
    for _ in 0..30 {
        let changes = (0..AT_ONCE).map(|_| any_change.new_tree(&mut runner).unwrap().current());
        let bodies: Vec<Vec<u8>> = changes
            .map(|(at, byte)| {
                let mut bytes = good.clone();
                bytes[at.index(good.len())] = byte;
                bytes
            })
            .filter(|bytes| *bytes != good)
            .collect();
        let answers = bodies.iter().map(|body| app.post("/api/identity/verify", body.clone()));
        for (body, answer) in bodies.iter().zip(futures_util::future::join_all(answers).await) {
            // A name that is unknown once it is changed leaves the key unsaid.
            let unsaid = !String::from_utf8_lossy(body).contains("\"pubkey\":\"npub");
            let fits = matches!(answer.status, 400 | 401) || unsaid && answer.status == 200;
            assert!(fits, "{:?}: {answer:?}", String::from_utf8_lossy(body));
        }
    }
    let text = "[ -~]{0,80}|v1\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{43}|Nostr [A-Za-z0-9+/=]{0,200}";
    for _ in 0..1_000 {
        let text = text.new_tree(&mut runner).unwrap().current();
        for header in ["X-Nostr-Token", "Authorization"] {
            let request = app.request(Method::GET, "/api/identity/me").header(header, &text);
            app.send(request).await.is_one_of(401, &["invalid_identity", "identity_required"]);
        }
    }
}

#[tokio::test]
async fn garbage_paths_queries_and_headers_get_well_formed_responses() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    let mut runner = runner();
    let text = "[ -~]{0,30}";
    let root = prop::sample::select(vec![
        "/api/jobs/".to_owned(),
        format!("/api/jobs/{id}"),
        "/api/invoices/".to_owned(),
        format!("/api/invoices/{hash}"),
        "/api/estimate?".to_owned(),
        "/api/estimate?request=".to_owned(),
        "/api/estimate?request=a&".to_owned(),
        "/problems/".to_owned(),
        "/api/pool".to_owned(),
        "/api/identity/me".to_owned(),
        "/api/identity/me?nostr_token=".to_owned(),
        "/api/identity/challenge".to_owned(),
        "/".to_owned(),
    ]);
    let header = prop::sample::select(vec![
        "Last-Event-ID",
        "Authorization",
        "X-Nostr-Token",
        "Idempotency-Key",
        "Origin",
        "Content-Type",
        "Accept",
    ]);
    let method =
        prop::sample::select(vec![Method::GET, Method::GET, Method::POST, Method::HEAD, Method::OPTIONS]);
    let any_request = (method, root, text, header, "[ -~\u{80}-\u{ff}]{0,20}");
    for _ in 0..1_000 {
        let (method, root, rest, name, value) = any_request.new_tree(&mut runner).unwrap().current();
        let request = app.request(method, &format!("{root}{rest}")).header(name, value.as_bytes());
        let Ok(request) = request.build() else { continue };
        let head = request.method() == Method::HEAD;
        let what = format!("{request:?}");
        let response = app.client.execute(request).await.unwrap();
        if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            continue;
        }
        let answer = Answer::read(response).await;
        assert!(answer.status < 500, "{what}: {answer:?}");
        if head {
            assert_eq!(answer.text, "", "{what}");
        } else {
            answer.check();
        }
    }
}
