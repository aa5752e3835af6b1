//! Hosts that do harm, or lead elsewhere.

use crate::host::{Host, assert_refused, assert_unavailable, invoice, resolver, sats};
use serde_json::json;
use std::time::Duration;
use tithe_lightning::lightning_invoice::Currency;
use tithe_payouts::{AddressResolver, LightningAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

/// More than a response may have.
const TOO_MANY_BYTES: usize = 256 * 1024 + 1;

/// An address whose host answers every request with a head and then `piece`, `every` so often, until the client leaves.
async fn endless(piece: &'static [u8], every: Duration) -> LightningAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n").await.unwrap();
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
    });
    format!("alice@{address}").parse().unwrap()
}

#[tokio::test]
async fn bodies_that_are_too_large_are_not_read() {
    let large = || ResponseTemplate::new(200).set_body_bytes(vec![b' '; TOO_MANY_BYTES]);
    assert_unavailable(&Host::first(large()).await.ask().await, "response too large");
    assert_unavailable(&Host::second(large()).await.ask().await, "response too large");
}

#[tokio::test]
async fn metadata_with_an_image_of_the_largest_size_is_read() {
    let text = invoice(Currency::Regtest, Some(21_000), None);
    let host = Host::invoice(&text).await;
    let metadata = json!([["text/plain", "alice"], ["image/png;base64", "A".repeat(136_536)]]).to_string();
    let reply = json!({
        "tag": "payRequest",
        "callback": format!("{}/pay/alice?session=1", host.server.uri()),
        "minSendable": 1, "maxSendable": 21_000, "metadata": metadata,
    });
    let response = ResponseTemplate::new(200).set_body_json(reply);
    let first = Mock::given(path("/.well-known/lnurlp/alice")).respond_with(response).with_priority(1);
    first.mount(&host.server).await;
    assert!(host.ask().await.is_ok());
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let address = endless(&[b' '; 10_000], Duration::from_millis(1)).await;
    let result = resolver(Duration::from_secs(30)).invoice(&address, sats(21)).await;
    assert_unavailable(&result, "response too large");
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let address = endless(b" ", Duration::from_millis(20)).await;
    let result = resolver(Duration::from_millis(300)).invoice(&address, sats(21)).await;
    assert_unavailable(&result, "timeout");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_unavailable() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = format!("alice@{unused}").parse().unwrap();
    let result = resolver(Duration::from_secs(30)).invoice(&address, sats(21)).await;
    assert_unavailable(&result, "cannot connect");
    let result =
        resolver(Duration::from_secs(30)).invoice(&"alice@name.invalid".parse().unwrap(), sats(21)).await;
    assert_unavailable(&result, "unknown host");
}

#[tokio::test]
async fn deep_json_is_harmless_wherever_it_is() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let host = Host::first(ResponseTemplate::new(200).set_body_string(&deep)).await;
    assert_unavailable(&host.ask().await, "expected a JSON object");
    for field in ["tag", "callback", "metadata", "payerData", "status", "minSendable"] {
        let body = format!("{{\"{field}\": {deep}}}");
        let host = Host::first(ResponseTemplate::new(200).set_body_string(body)).await;
        assert_unavailable(&host.ask().await, "no valid");
    }
    let host = Host::pay_request(|reply| reply["metadata"] = json!(deep)).await;
    assert_unavailable(&host.ask().await, "unexpected status 404");
    let body = format!("{{\"pr\": {deep}}}");
    let host = Host::second(ResponseTemplate::new(200).set_body_string(body)).await;
    assert_unavailable(&host.ask().await, "no valid invoice");
}

#[tokio::test]
async fn a_few_redirects_are_followed_also_to_other_hosts() {
    let text = invoice(Currency::Regtest, Some(21_000), None);
    let elsewhere = Host::invoice(&text).await;
    let to = format!("{}/.well-known/lnurlp/alice", elsewhere.server.uri());
    let host = Host::first(ResponseTemplate::new(301).insert_header("Location", to)).await;
    assert_eq!(host.ask().await.unwrap().as_str(), text);
    assert_eq!(host.requested().await, ["/.well-known/lnurlp/alice"]);
    assert_eq!(elsewhere.requested().await.len(), 2);
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let redirect = || ResponseTemplate::new(302).insert_header("Location", "?again");
    let host = Host::first(redirect()).await;
    assert_unavailable(&host.ask().await, "too many redirects: expected at most 3");
    assert_eq!(host.requested().await.len(), 4);
    let host = Host::second(ResponseTemplate::new(302).insert_header("Location", "?session=1")).await;
    assert_unavailable(&host.ask().await, "too many redirects: expected at most 3");
    assert_eq!(host.requested().await.len(), 5);
}

#[tokio::test]
async fn redirects_and_callbacks_that_are_not_allowed_are_refused() {
    for (url, reason) in [
        ("ftp://example.com/", "invalid URL"),
        ("file:///etc/passwd", "invalid URL"),
        ("http://user@127.0.0.1/", "unexpected credentials"),
        ("http://abcdefgh.onion/", "onion service"),
    ] {
        let redirect = || ResponseTemplate::new(302).insert_header("Location", url);
        let reason = format!("is not allowed: {reason}");
        assert_refused(&Host::first(redirect()).await.ask().await, &reason);
        assert_refused(&Host::second(redirect()).await.ask().await, &reason);
        let host = Host::pay_request(|reply| reply["callback"] = json!(url)).await;
        assert_refused(&host.ask().await, &format!("the callback of the service {reason}"));
    }
    let host = Host::pay_request(|reply| reply["callback"] = json!("/pay/alice")).await;
    assert_refused(&host.ask().await, "the callback of the service is not allowed: invalid URL");
}

#[tokio::test]
async fn a_callback_that_is_too_long_for_a_request_is_unavailable() {
    let long = format!("http://127.0.0.1/{}", "x".repeat(200_000));
    let host = Host::pay_request(|reply| reply["callback"] = json!(long)).await;
    assert_unavailable(&host.ask().await, "no usable response");
}
