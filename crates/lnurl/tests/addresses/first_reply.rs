//! What a service says about payments to an address.

use crate::host::{Host, assert_refused, assert_unavailable, invoice};
use serde_json::{Value, json};
use tithe_lightning::lightning_invoice::Currency;
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

#[tokio::test]
async fn an_address_that_does_not_exist_is_refused() {
    let not_found = "the service does not know the address";
    for (response, reason) in [
        (ResponseTemplate::new(404), not_found),
        (ResponseTemplate::new(404).set_body_string("<html>Not found</html>"), not_found),
        (ResponseTemplate::new(404).set_body_bytes(vec![b' '; 1_000_000]), not_found),
        (ResponseTemplate::new(410), not_found),
    ] {
        assert_refused(&Host::first(response).await.ask().await, reason);
    }
    let error = json!({"status": "ERROR", "reason": "no such\n\u{1b}[31muser"});
    let host = Host::first(ResponseTemplate::new(404).set_body_json(error)).await;
    assert_refused(&host.ask().await, "the service refused: \"no such [31muser\"");
}

#[tokio::test]
async fn an_error_that_may_pass_does_not_end_the_address() {
    for status in [200, 400] {
        let error = json!({"status": "ERROR", "reason": "no such\n\u{1b}[31muser"});
        let host = Host::first(ResponseTemplate::new(status).set_body_json(error)).await;
        assert_unavailable(&host.ask().await, "the service refused: \"no such [31muser\"");
    }
    let host = Host::first(ResponseTemplate::new(200).set_body_json(json!({"status": "error"}))).await;
    assert_unavailable(&host.ask().await, "the service refused without a reason");
}

#[tokio::test]
async fn only_an_excerpt_of_the_hosts_words_is_passed_on() {
    let error = json!({"status": "ERROR", "reason": "<script>".repeat(10_000)});
    let host = Host::first(ResponseTemplate::new(200).set_body_json(error)).await;
    let failure = host.ask().await.unwrap_err().to_string();
    assert!(failure.len() < 200, "{failure}");
}

#[tokio::test]
async fn an_overloaded_or_broken_host_is_unavailable_whatever_it_says() {
    for status in [408, 429, 500, 502, 503, 504] {
        let error = json!({"status": "ERROR", "reason": "database is down"});
        let host = Host::first(ResponseTemplate::new(status).set_body_json(error)).await;
        assert_unavailable(&host.ask().await, &format!("unexpected status {status}"));
    }
    for status in [204, 304, 401, 403, 405] {
        let host = Host::first(ResponseTemplate::new(status)).await;
        let reason = if status == 204 { "expected a JSON object" } else { "unexpected status" };
        assert_unavailable(&host.ask().await, reason);
    }
}

#[tokio::test]
async fn what_is_no_reply_of_a_service_is_unavailable() {
    for body in ["", "<!DOCTYPE html><html></html>", "[]", "\"payRequest\"", "{\"tag\": \"payReq"] {
        let host = Host::first(ResponseTemplate::new(200).set_body_string(body)).await;
        assert_unavailable(&host.ask().await, "expected a JSON object");
    }
    for (field, value) in [
        ("tag", Value::Null),
        ("tag", json!(1)),
        ("callback", Value::Null),
        ("callback", json!(["https://example.com"])),
        ("minSendable", Value::Null),
        ("minSendable", json!(-1)),
        ("minSendable", json!("a lot")),
        ("minSendable", json!(100_000_001)),
        ("maxSendable", json!(1.5)),
        ("maxSendable", json!(0)),
        ("metadata", Value::Null),
        ("metadata", json!([["text/plain", "alice"]])),
        ("metadata", json!("alice")),
        ("metadata", json!("{}")),
        ("metadata", json!("[[\"text/plain\"")),
    ] {
        let host = Host::pay_request(|reply| reply[field] = value.clone()).await;
        let result = host.ask().await;
        assert_unavailable(&result, "unreadable response of the service: no valid");
        assert_eq!(host.requested().await.len(), 1, "{field}: {value}");
    }
}

#[tokio::test]
async fn a_url_that_is_not_for_payments_is_refused() {
    let host = Host::pay_request(|reply| reply["tag"] = json!("withdrawRequest")).await;
    assert_refused(&host.ask().await, "expected the tag \"payRequest\", got \"withdrawRequest\"");
}

#[tokio::test]
async fn a_service_that_requires_data_of_the_payer_is_refused() {
    let payer_data =
        json!({"name": {"mandatory": true}, "auth": {"mandatory": true, "k1": "00"}, "email": {}});
    let host = Host::pay_request(|reply| reply["payerData"] = payer_data).await;
    assert_refused(&host.ask().await, "the service requires data of the payer: \"auth, name\"");
    assert_eq!(host.requested().await.len(), 1);
}

#[tokio::test]
async fn an_amount_out_of_range_is_refused_with_the_range() {
    let host = Host::pay_request(|reply| {
        reply["minSendable"] = json!("5000");
        reply["maxSendable"] = json!(20_999);
    });
    let host = host.await;
    assert_refused(&host.ask_for(21).await, "the service expects 5 to 20 sats, got 21 sats");
    assert_refused(&host.ask_for(4).await, "the service expects 5 to 20 sats, got 4 sats");
    assert_eq!(host.requested().await.len(), 2, "no callback");

    let huge = json!(u64::MAX);
    let host =
        Host::pay_request(|reply| (reply["minSendable"], reply["maxSendable"]) = (huge.clone(), huge)).await;
    assert_refused(&host.ask().await, "amount out of range");
}

#[tokio::test]
async fn limits_may_be_strings_and_larger_than_all_money() {
    let host = Host::invoice(&invoice(Currency::Regtest, Some(21_000), None)).await;
    let callback = format!("{}/pay/alice?session=1", host.server.uri());
    let reply = format!(
        r#"{{"tag": "payRequest", "callback": "{callback}", "minSendable": "21000", "maxSendable": 1{}, "metadata": "[]"}}"#,
        "0".repeat(100),
    );
    let response = ResponseTemplate::new(200).set_body_string(reply);
    let first = Mock::given(path("/.well-known/lnurlp/alice")).respond_with(response).with_priority(1);
    first.mount(&host.server).await;
    assert!(host.ask().await.is_ok());
}
