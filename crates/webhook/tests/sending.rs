//! Messages are sent as they are, and nowhere else than they may go.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use tithe_clock::Timestamp;
use tithe_engine::sessions::{WebhookMessage, Webhooks};
use tithe_webhook::{Destinations, WebhookSender};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn message(url: &str) -> WebhookMessage {
    WebhookMessage {
        url: url.parse().unwrap(),
        id: "msg_1".to_owned(),
        sent_at: Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap(),
        signature: "v1,AAAA".to_owned(),
        body: "{\"type\":\"session.balance.usage\"}".to_owned(),
    }
}

async fn server(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path("/hook")).respond_with(response).mount(&server).await;
    server
}

#[tokio::test]
async fn a_message_has_its_id_its_time_and_its_signature() {
    let server = server(ResponseTemplate::new(204)).await;
    let sender = WebhookSender::new(Destinations::Any).unwrap();
    sender.send(&message(&format!("{}/hook?token=t", server.uri()))).await.unwrap();
    let received = server.received_requests().await.unwrap().remove(0);
    let header = |name: &str| received.headers.get(name).unwrap().to_str().unwrap().to_owned();
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type"];
    let headers: BTreeMap<&str, String> = headers.into_iter().map(|name| (name, header(name))).collect();
    let wanted = [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("webhook-signature", "v1,AAAA"),
        ("webhook-timestamp", "1772366400"),
    ];
    assert_eq!(headers, wanted.map(|(name, value)| (name, value.to_owned())).into());
    assert_eq!(received.body, b"{\"type\":\"session.balance.usage\"}");
}

#[tokio::test]
async fn what_is_not_2xx_is_not_delivered_and_redirects_are_not_followed() {
    let elsewhere = server(ResponseTemplate::new(200)).await;
    let to = format!("{}/hook", elsewhere.uri());
    for response in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(404),
        ResponseTemplate::new(302).insert_header("Location", to.as_str()),
        ResponseTemplate::new(308).insert_header("Location", to.as_str()),
    ] {
        let server = server(response).await;
        let sender = WebhookSender::new(Destinations::Any).unwrap();
        let failure = sender.send(&message(&format!("{}/hook", server.uri()))).await.unwrap_err();
        assert!(failure.to_string().contains("the response has the status "), "{failure}");
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_operators_own_network_is_out_of_reach() {
    let server = server(ResponseTemplate::new(200)).await;
    let port = server.address().port();
    let sender = WebhookSender::new(Destinations::Public).unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "foo.localhost",
        "printer.local",
        "intranet",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "0.0.0.0",
    ] {
        let url = format!("https://{host}:{port}/hook");
        let refused = sender.check(&url.parse().unwrap()).unwrap_err();
        assert!(refused.to_string().starts_with("private address"), "{url}: {refused}");
        assert!(sender.send(&message(&url)).await.is_err(), "{url}");
    }
    for (url, reason) in [
        ("http://example.com/hook", "invalid URL: expected https://…"),
        ("https://user:secret@example.com/", "unexpected credentials"),
        ("https://", "invalid URL"),
    ] {
        let refused = sender.check(&url.parse().unwrap()).unwrap_err();
        assert!(refused.to_string().starts_with(reason), "{url}: {refused}");
    }
    assert!(sender.check(&"https://example.com/hook".parse().unwrap()).is_ok());
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_shows_nothing_of_the_url() {
    let sender = WebhookSender::new(Destinations::Any).unwrap();
    let failure = sender.send(&message("http://127.0.0.1:1/hook?token=hunter2")).await.unwrap_err();
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
}
