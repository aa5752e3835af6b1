//! One client does not lock the others out.

use crate::app::{Options, TestApp, settings, unlimited};
use reqwest::{Client, Method};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;
use tithe_engine::Settings;
use tithe_http::{ForwardedHeader, LimitSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Another address of this machine.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn client_elsewhere() -> Client {
    Client::builder().no_proxy().local_address(ELSEWHERE).build().unwrap()
}

fn limited(limits: LimitSettings) -> TestApp {
    TestApp::with(Options { limits, started: false, ..Options::default() })
}

async fn status(client: &Client, app: &TestApp, path: &str) -> u16 {
    client.get(app.url(path)).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn an_address_that_sends_too_many_requests_is_told_when_to_come_again() {
    let app = limited(LimitSettings { requests_per_second: NonZeroU32::new(1), ..unlimited() });
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(app.get("/api/pool").await);
    }
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(refused.len() >= 15, "{} of 30 were refused", refused.len());
    for answer in refused {
        answer.is_problem(429, "rate_limited");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(
            answer.header("access-control-expose-headers").is_empty(),
            answer.headers.get("origin").is_some()
        );
    }
    app.get("/healthz").await.ok(200);
    assert_eq!(status(&client_elsewhere(), &app, "/api/pool").await, 200);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let rate = NonZeroU32::new(1);
    let app = limited(LimitSettings { requests_per_second: rate, trusted_proxies, ..unlimited() });
    let ask = async |forwarded: &str| {
        let request = app.request(Method::GET, "/api/pool").header("X-Forwarded-For", forwarded);
        app.send(request).await.status
    };
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(ask("203.0.113.9, 198.51.100.1").await);
    }
    assert!(statuses.contains(&429));
    assert_eq!(ask("203.0.113.9, 198.51.100.2").await, 200);
    // What somebody else says of themselves is not believed.
    let stranger = client_elsewhere();
    let mut statuses = Vec::new();
    for n in 0..30 {
        let request = stranger.get(app.url("/api/pool")).header("X-Forwarded-For", format!("198.51.100.{n}"));
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert!(statuses.contains(&429));
}

#[tokio::test]
async fn clients_are_told_apart_by_the_header_that_the_proxies_write() {
    let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let (rate, forwarded_header) = (NonZeroU32::new(1), ForwardedHeader::Forwarded);
    let app = limited(LimitSettings {
        requests_per_second: rate,
        trusted_proxies,
        forwarded_header,
        ..unlimited()
    });
    let ask = async |forwarded: &str, claimed: String| {
        let request = app.request(Method::GET, "/api/pool").header("Forwarded", forwarded);
        app.send(request.header("X-Forwarded-For", claimed)).await.status
    };
    let mut statuses = Vec::new();
    for n in 0..30 {
        statuses.push(ask("for=203.0.113.9, for=198.51.100.1;proto=https", format!("198.51.100.{n}")).await);
    }
    assert!(statuses.contains(&429));
    assert_eq!(ask("for=\"[2001:db8::1]:4711\"", "198.51.100.1".to_owned()).await, 200);
}

#[tokio::test]
async fn an_address_has_only_so_many_unpaid_jobs() {
    let settings = Settings { max_unpaid_per_origin: 2, ..settings() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let (_, hash) = app.job_create("one").await;
    app.job_create("two").await;
    let refused = app.job_ask("three").await;
    refused.is_problem(429, "too_many_unpaid");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((590..=601).contains(&wait), "{wait}");
    let body = json!({ "request": "hello" });
    let elsewhere = client_elsewhere().post(app.url("/api/jobs")).json(&body).send().await.unwrap();
    assert_eq!(elsewhere.status(), 201);
    app.pay(&hash).await;
    app.job_create("three").await;
}

#[tokio::test]
async fn event_streams_are_limited_by_address_and_by_job() {
    let limits = LimitSettings { streams_per_address: 3, streams_per_job: 2, ..unlimited() };
    let app = limited(limits);
    let (one, _) = app.job_create("one").await;
    let (two, _) = app.job_create("two").await;
    let first = app.follow(&one, None).await;
    let _second = app.follow(&one, None).await;
    let path = format!("/api/jobs/{one}/events");
    app.get(&path).await.is_problem(429, "too_many_streams");
    let _third = app.follow(&two, None).await;
    app.get(&format!("/api/jobs/{two}/events")).await.is_problem(429, "too_many_streams");
    let elsewhere = client_elsewhere().get(app.url(&format!("/api/jobs/{two}/events"))).send().await.unwrap();
    assert_eq!(elsewhere.status(), 200);
    // A stream that its client has closed counts no more, as soon as the server sees that.
    drop(first);
    let again = async {
        loop {
            let answer = app.request(Method::GET, &path).send().await.unwrap();
            if answer.status() == 200 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), again).await.unwrap();
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let app = limited(LimitSettings { connections_per_address: 3, ..unlimited() });
    let alive = async |stream: &mut TcpStream| {
        let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut answer = [0; 15];
        let read = stream.read_exact(&mut answer).await;
        sent.is_ok() && read.is_ok() && answer == *b"HTTP/1.1 200 OK"
    };
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = app.connect().await;
        assert!(alive(&mut stream).await);
        open.push(stream);
    }
    assert!(!alive(&mut app.connect().await).await, "one too many is closed");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ELSEWHERE, 0).into()).unwrap();
    let mut elsewhere = socket.connect(app.address).await.unwrap();
    assert!(alive(&mut elsewhere).await);
    drop(open.pop());
    let again = async { while !alive(&mut app.connect().await).await {} };
    tokio::time::timeout(Duration::from_mins(1), again).await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_too_long_is_a_problem_that_says_where_long_texts_go() {
    let app = TestApp::standing();
    let text = "x".repeat(40_000);
    let refused = app.get(&format!("/api/estimate?request={text}")).await;
    refused.is_problem(414, "url_too_long");
    let estimate = app.post("/api/estimate", json!({ "request": text }).to_string()).await.ok(200);
    assert!(estimate["estimatedSats"].as_u64().unwrap() > 0);
    let short = app.post("/api/estimate", json!({ "request": "hello" }).to_string()).await.ok(200);
    assert_eq!(short, app.get("/api/estimate?request=hello").await.ok(200));
    app.post("/api/estimate", "{}").await.is_problem(400, "invalid_field");
}
