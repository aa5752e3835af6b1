//! Individually signed requests (NIP-98).

use crate::app::{Answer, Options, TestApp, key, signature_of, unlimited};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::time::Duration;
use tithe_http::LimitSettings;

const BODY: &str = r#"{"request":"a"}"#;
const ME: &str = "/api/identity/me";

fn refused(answer: &Answer, why: &str) {
    answer.is_problem(401, "invalid_identity");
    assert_eq!(answer.header("www-authenticate"), "Nostr");
    assert!(answer.detail().contains(why), "{}", answer.detail());
}

fn job(app: &TestApp, signature: &str) -> RequestBuilder {
    app.request(Method::POST, "/api/jobs").header("Authorization", signature).body(BODY)
}

fn read(app: &TestApp, path: &str, signature: &str) -> RequestBuilder {
    app.request(Method::GET, path).header("Authorization", signature)
}

#[tokio::test]
async fn a_signed_request_authenticates_on_every_route() {
    let app = TestApp::standing();
    let alice = key(1);
    let (id, hash) = app.job_create("hello").await;
    let made = app.send(job(&app, &app.signature(&alice, "POST", "/api/jobs", BODY))).await.ok(201);
    assert_eq!(made["trust_tier"], "new");
    let estimate = "/api/estimate?request=a%20b+c%E2%98%83&model=sim-small";
    let answer = app.send(read(&app, estimate, &app.signature(&alice, "GET", estimate, ""))).await.ok(200);
    assert_eq!(answer["identity"]["pubkey"], alice.pubkey().to_string());
    for path in [
        ME.to_owned(),
        "/api/pool".to_owned(),
        format!("/api/jobs/{id}"),
        format!("/api/jobs/{}", made["jobId"].as_str().unwrap()),
        format!("/api/invoices/{hash}"),
    ] {
        app.send(read(&app, &path, &app.signature(&alice, "GET", &path, ""))).await.ok(200);
        let head = app.signature(&alice, "HEAD", &path, "");
        let head = app.request(Method::HEAD, &path).header("Authorization", head);
        assert_eq!(app.send(head).await.status, 200, "{path}");
    }
    let events = format!("/api/jobs/{id}/events");
    let stream = read(&app, &events, &app.signature(&alice, "GET", &events, "")).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let pay = format!("/dev/stub/pay/{hash}");
    let signature = app.signature(&alice, "POST", &pay, "");
    let paid = app.request(Method::POST, &pay).header("Authorization", signature).send().await.unwrap();
    assert_eq!(paid.status(), 200);
}

#[tokio::test]
async fn a_signature_is_valid_for_one_url_method_and_body() {
    let app = TestApp::standing();
    let alice = key(1);
    let url = app.url("/api/jobs");
    let (u, post) = (["u", url.as_str()], ["method", "POST"]);
    let now = app.now();
    for path in ["/api/jobs?a=1", "/api/jobs/", "/api", "/api/jobs#a", "/API/jobs", "/api/estimate"] {
        refused(&app.send(job(&app, &app.signature(&alice, "POST", path, BODY))).await, "`u` tag");
    }
    let elsewhere = url.replace("127.0.0.1", "127.0.0.2");
    let other_port = url.replace(&app.address.port().to_string(), "1");
    for wrong in [elsewhere.as_str(), &other_port, &url.replace("http", "wss"), "/api/jobs", ""] {
        let signature = signature_of(&alice, &[&["u", wrong], &post], BODY, now);
        refused(&app.send(job(&app, &signature)).await, "`u` tag");
    }
    for tags in [&[&post[..]][..], &[&u, &u, &post]] {
        refused(&app.send(job(&app, &signature_of(&alice, tags, BODY, now))).await, "`u` tag");
    }
    for tags in [&[&u[..]][..], &[&u, &["method", "GET"]], &[&u, &post, &post]] {
        refused(&app.send(job(&app, &signature_of(&alice, tags, BODY, now))).await, "`method` tag");
    }
    for body in ["", r#"{"request":"b"}"#, r#"{"request":"a"} "#] {
        refused(
            &app.send(job(&app, &app.signature(&alice, "POST", "/api/jobs", body))).await,
            "`payload` tag",
        );
    }
    assert_eq!(app.jobs_count().await, 0);

    let me = app.signature(&alice, "GET", ME, "");
    refused(&app.send(read(&app, "/api/identity/me?", &me)).await, "`u` tag");
    refused(&app.send(read(&app, "/api/identity/me?x=1", &me)).await, "`u` tag");
    let head = app.request(Method::HEAD, ME).header("Authorization", &me).send().await.unwrap();
    assert_eq!(head.status(), 401);
    // The server does not know whether TLS is terminated in front of it.
    let tls = app.url(ME).replace("http", "https");
    let tls = signature_of(&alice, &[&["u", &tls], &["method", "get"]], "", now);
    app.send(read(&app, ME, &tls)).await.ok(200);
    // None of the failures has consumed the signature.
    app.send(read(&app, ME, &me)).await.ok(200);
}

#[tokio::test]
async fn invalid_events_are_rejected_with_a_reason() {
    use base64::Engine as _;
    let app = TestApp::standing();
    let alice = key(1);
    let url = app.url(ME);
    let encode = |json: &str| format!("Nostr {}", base64::engine::general_purpose::STANDARD.encode(json));
    let tags: [&[&str]; 2] = [&["u", &url], &["method", "GET"]];
    let good = alice.sign(27235, &tags, "", app.now(), [0; 32]);
    let login = alice.sign(22242, &tags, "", app.now(), [0; 32]);
    let sig = good.find("\"sig\":\"").unwrap() + 7;
    let forged = format!("{}{}{}", &good[..sig], "0".repeat(128), &good[sig + 128..]);
    for (header, why) in [
        ("Nostr".to_owned(), "expected a JSON object"),
        ("Nostr !".to_owned(), "base64"),
        ("Nostr e30=".to_owned(), "`id`"),
        ("Nostr\te30=".to_owned(), "expected `Nostr"),
        (encode("[]"), "expected a JSON object"),
        (encode(&login), "got 22242"),
        (encode(&forged), "signature"),
        (encode(&good.replace(&alice.pubkey().to_string(), &key(2).pubkey().to_string())), "wrong event id"),
        (format!("Nostr {}", "A".repeat(23 * 1024)), "at most 16 KiB"),
    ] {
        refused(&app.send(read(&app, ME, &header)).await, why);
    }
    let bytes = app.request(Method::GET, ME).header("Authorization", &b"Nostr \xff"[..]);
    refused(&app.send(bytes).await, "printable ASCII");
    app.send(read(&app, ME, &encode(&good).replace("Nostr", "nOSTR "))).await.ok(200);
}

#[tokio::test]
async fn a_signed_request_is_accepted_once() {
    let app = TestApp::standing();
    let alice = key(1);
    let signature = app.signature(&alice, "POST", "/api/jobs", BODY);
    app.send(job(&app, &signature)).await.ok(201);
    refused(&app.send(job(&app, &signature)).await, "used before");
    assert_eq!(app.jobs_count().await, 1);
    for path in [ME, "/api/estimate?request=a", "/api/pool"] {
        let signature = app.signature(&alice, "GET", path, "");
        app.send(read(&app, path, &signature)).await.ok(200);
        // A read may be repeated while its signature is valid.
        app.clock.advance(Duration::from_mins(1));
        app.send(read(&app, path, &signature)).await.ok(200);
        app.clock.advance(Duration::from_secs(1));
        refused(&app.send(read(&app, path, &signature)).await, "too old");
    }
}

#[tokio::test]
async fn of_many_concurrent_copies_of_a_signed_request_one_is_accepted() {
    let app = TestApp::standing();
    let alice = key(1);
    for round in 0..4 {
        let jobs = app.signature(&alice, "POST", "/api/jobs", BODY);
        let answers = futures_util::future::join_all((0..12).map(|_| app.send(job(&app, &jobs)))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            refused(answer, "used before");
        }
        assert_eq!(app.jobs_count().await, round + 1);
    }
}

#[tokio::test]
async fn a_signed_request_is_valid_within_a_minute_of_its_time() {
    let app = TestApp::standing();
    let url = app.url(ME);
    let tags: [&[&str]; 2] = [&["u", &url], &["method", "GET"]];
    let (now, minute, second) = (app.now(), Duration::from_mins(1), Duration::from_secs(1));
    for (at, why) in [(now - minute - second, "too old"), (now + minute + second, "from the future")] {
        let signature = signature_of(&key(1), &tags, "", at);
        refused(&app.send(read(&app, ME, &signature)).await, why);
    }
    for at in [now - minute, now, now + minute] {
        app.send(read(&app, ME, &signature_of(&key(1), &tags, "", at))).await.ok(200);
    }
}

#[tokio::test]
async fn another_credential_beside_a_signature_is_refused() {
    let app = TestApp::standing();
    let alice = key(1);
    let bearer = |signature: &str| read(&app, ME, signature).header("Authorization", "Bearer of news");
    refused(&app.send(bearer(&app.signature(&alice, "GET", ME, ""))).await, "unexpected credentials");
    let first = app.request(Method::GET, ME).header("Authorization", "Bearer of news");
    let answer = app.send(first.header("Authorization", app.signature(&alice, "GET", ME, ""))).await;
    refused(&answer, "unexpected credentials");
    let twice = read(&app, ME, &app.signature(&alice, "GET", ME, ""));
    let twice = twice.header("Authorization", app.signature(&alice, "GET", ME, ""));
    refused(&app.send(twice).await, "at most once");
    let token = app.login(&alice).await;
    let both = read(&app, ME, &app.signature(&alice, "GET", ME, "")).header("X-Nostr-Token", token);
    app.send(both).await.ok(200);
}

#[tokio::test]
async fn a_rejected_request_does_not_consume_its_signature_and_body_errors_come_first() {
    let app = TestApp::standing();
    let alice = key(1);
    let signature = app.signature(&alice, "POST", "/api/jobs", BODY);
    let bob = app.login(&key(2)).await;
    refused(&app.send(job(&app, &signature).header("X-Nostr-Token", bob)).await, "several identities");
    let keyed = job(&app, &signature).header("Idempotency-Key", "");
    app.send(keyed).await.is_problem(400, "invalid_idempotency_key");
    let torn = app.request(Method::POST, "/api/jobs").header("Authorization", &signature).body("{");
    app.send(torn).await.is_problem(400, "invalid_body");
    app.send(job(&app, &signature)).await.ok(201);
}

#[tokio::test]
async fn the_public_url_is_the_url_that_is_signed() {
    let public_url = Some("https://tithe.example/".parse().unwrap());
    let app = TestApp::with(Options {
        public_urls: public_url.into_iter().collect(),
        started: false,
        ..Options::default()
    });
    let sign = |url: &str| signature_of(&key(1), &[&["u", url], &["method", "GET"]], "", app.now());
    let path = "/api/identity/me?a=%20b";
    refused(&app.send(read(&app, path, &sign(&app.url(path)))).await, "`u` tag");
    refused(&app.send(read(&app, path, &sign(&format!("http://tithe.example{path}")))).await, "`u` tag");
    let spoofed = read(&app, path, &sign(&format!("https://other.example{path}")));
    refused(&app.send(spoofed.header("Host", "other.example")).await, "`u` tag");
    app.send(read(&app, path, &sign(&format!("https://tithe.example{path}")))).await.ok(200);
}

#[tokio::test]
async fn only_a_local_host_header_is_accepted_without_a_public_url() {
    let app = TestApp::standing();
    let sign = |url: &str| signature_of(&key(1), &[&["u", url], &["method", "GET"]], "", app.now());
    let ask = async |hosts: &str, signature: &str| {
        let head =
            format!("GET {ME} HTTP/1.1\r\n{hosts}Authorization: {signature}\r\nConnection: close\r\n\r\n");
        app.raw(head.as_bytes()).await
    };
    for host in ["127.0.0.1:81", "LocalHost:81", "[::1]:81", "127.9.9.9"] {
        let taken = ask(&format!("Host: {host}\r\n"), &sign(&format!("http://{host}{ME}"))).await;
        assert!(taken.starts_with("HTTP/1.1 200"), "{host}: {taken}");
    }
    // Any other host is an unverified claim: another site could have obtained the signature for itself.
    for host in ["tithe.example", "10.0.0.1", "localhost.evil.example", "evil.localhost", "0.0.0.0"] {
        let refused = ask(&format!("Host: {host}\r\n"), &sign(&format!("http://{host}{ME}"))).await;
        assert!(
            refused.starts_with("HTTP/1.1 401") && refused.contains("TITHE_PUBLIC_URL"),
            "{host}: {refused}"
        );
    }
    let url = format!("http://evil.example/a?b={ME}");
    for hosts in [
        "Host: evil.example/a?b=\r\n",
        "Host: me@evil.example\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: \r\n",
        "",
    ] {
        for url in [url.as_str(), &format!("http://me@evil.example{ME}"), &format!("http://a{ME}")] {
            let answer = ask(hosts, &sign(url)).await;
            assert!(answer.starts_with("HTTP/1.1 40"), "{hosts:?} {url}: {answer}");
        }
    }
    assert_eq!(app.get(ME).await.json()["code"], json!("identity_required"));
}

#[tokio::test]
async fn nobody_behind_a_proxy_is_on_this_machine() {
    let app = TestApp::standing();
    let host = app.address.to_string();
    let url = format!("http://{host}{ME}");
    let sign = || signature_of(&key(1), &[&["u", &url], &["method", "GET"]], "", app.now());
    let ask = async |app: &TestApp, version: &str, header: &str| {
        let signature = sign();
        let head = format!(
            "GET {ME} HTTP/{version}\r\nHost: {host}\r\n{header}Authorization: {signature}\r\nConnection: close\r\n\r\n"
        );
        app.raw(head.as_bytes()).await
    };
    let refused = |answer: &str, what: &str| {
        assert!(
            answer.contains(" 401 ") && answer.contains("TITHE_PUBLIC_URL is not set"),
            "{what}: {answer}"
        );
    };
    let taken = ask(&app, "1.1", "").await;
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    for header in [
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-Host: 127.0.0.1\r\n",
        "X-Forwarded-Proto: https\r\n",
        "Forwarded: for=127.0.0.1\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "Via: 1.1 proxy\r\n",
    ] {
        refused(&ask(&app, "1.1", header).await, header);
    }
    // What nginx speaks with servers unless it is told otherwise.
    refused(&ask(&app, "1.0", "").await, "HTTP/1.0");
    let limits = LimitSettings { trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()], ..unlimited() };
    let behind = TestApp::with(Options { limits, started: false, ..Options::default() });
    refused(&ask(&behind, "1.1", "").await, "a trusted proxy");
}
