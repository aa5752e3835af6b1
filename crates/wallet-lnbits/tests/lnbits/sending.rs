//! Making payments.

use crate::lnbits::{
    DONATION, INVOICE, LIMIT, Lnbits, REFUND, REFUND_HASH, REFUND_PREIMAGE, error, get, msats, order, payee,
    payment_error, payment_id, refund, settings, with,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::SystemClock;
use tithe_lightning::{Network, Payment, PaymentOrder, Wallet, WalletError};
use tithe_money::BasisPoints;
use tithe_wallet_lnbits::{FundingFee, LnbitsWallet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use wiremock::{MockServer, ResponseTemplate};

fn succeeded(fee: u64) -> Payment {
    Payment::Succeeded { preimage: REFUND_PREIMAGE.parse().unwrap(), fee: msats(fee) }
}

fn pending() -> Value {
    let fields = json!({ "checking_id": REFUND_HASH, "status": "pending", "preimage": null, "fee": -2_000 });
    with(refund(), fields)
}

fn failed() -> Value {
    with(pending(), json!({ "status": "failed" }))
}

#[tokio::test]
async fn a_payment_carries_our_id_and_costs_what_lnbits_booked() {
    for (fee, cost) in [(0, 0), (-4_200, 4_200), (4_200, 4_200)] {
        let lnbits = Lnbits::paying(201, &with(refund(), json!({ "fee": fee }))).await;
        assert_eq!(lnbits.wallet.payment_send(&order()).await.unwrap(), succeeded(cost), "{fee}");
        let id = payment_id().to_string();
        let expected =
            json!({ "out": true, "bolt11": REFUND.as_str(), "external_id": id, "extra": { "tithe_id": id } });
        assert_eq!(lnbits.posted().await, [expected]);
    }
}

#[tokio::test]
async fn a_payment_that_lnbits_no_longer_waits_for_is_in_flight() {
    for status in ["pending", "in limbo"] {
        let lnbits = Lnbits::paying(201, &with(pending(), json!({ "status": status }))).await;
        assert_eq!(lnbits.wallet.payment_send(&order()).await.unwrap(), Payment::InFlight, "{status}");
    }
}

#[tokio::test]
async fn a_failure_that_lnbits_states_is_a_failure_when_it_has_no_other_record() {
    let (no_record, failed_record) = (vec![], vec![failed()]);
    for (status, body, reason) in [
        (520, payment_error("Payment failed: no route", "failed"), "Payment failed: no route"),
        (520, payment_error("Insufficient balance.", "failed"), "Insufficient balance."),
        (520, payment_error("Internal invoice already paid.", "failed"), "Internal invoice already paid."),
        (
            520,
            payment_error("Payment is failed node, retrying is not possible.", "failed"),
            "Payment is failed node, retrying is not possible.",
        ),
        (201, failed(), "LNbits has recorded the payment as failed"),
        (
            201,
            with(payee(), json!({ "status": "failed", "labels": ["expired"] })),
            "the invoice belongs to a wallet of this LNbits and can no longer be paid",
        ),
    ] {
        for records in [&no_record, &failed_record] {
            let lnbits = Lnbits::start().await;
            lnbits.list_twice(REFUND_HASH, &[], records).await;
            lnbits.reserve(2_000).await;
            lnbits.post(ResponseTemplate::new(status).set_body_json(&body)).await;
            let payment = lnbits.wallet.payment_send(&order()).await.unwrap();
            assert_eq!(payment, Payment::Failed { reason: reason.to_owned() }, "{body}");
        }
    }
}

#[tokio::test]
async fn no_answer_hides_a_payment_that_an_earlier_attempt_made() {
    let answers = [
        (520, payment_error("Payment already paid.", "success")),
        (520, payment_error("Failed payment was already paid on the fundingsource.", "success")),
        (520, payment_error("Internal invoice already paid.", "failed")),
        (520, payment_error("Insufficient balance.", "failed")),
        (520, payment_error("Payment is still pending.", "pending")),
        (520, error("something")),
        (400, error("Payment already exists")),
        (500, error("Unexpected error! ID: MLZEfMi7Wfpc6rWs5DLPdy")),
        (201, failed()),
        (201, with(payee(), json!({ "status": "failed" }))),
        (201, payee()),
        (201, with(refund(), json!({ "payment_hash": "ab".repeat(32) }))),
        (201, json!({ "payment_hash": REFUND_HASH })),
        (200, json!("accepted")),
    ];
    for (status, body) in answers {
        for (record, expected) in [(refund(), succeeded(0)), (pending(), Payment::InFlight)] {
            let lnbits = Lnbits::start().await;
            // The record appears while this attempt is under way.
            lnbits.list_twice(REFUND_HASH, &[], &[payee(), record]).await;
            lnbits.reserve(2_000).await;
            lnbits.post(ResponseTemplate::new(status).set_body_json(&body)).await;
            assert_eq!(lnbits.wallet.payment_send(&order()).await.unwrap(), expected, "{status} {body}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_happened_is_an_unknown_outcome() {
    for (status, body) in [
        (520, payment_error("Payment already paid.", "success")),
        (520, payment_error("Payment is still pending.", "pending")),
        (520, payment_error("odd", "odd")),
        (520, error("something")),
        (400, error("Payment already exists")),
        (500, error("Unexpected error! ID: MLZEfMi7Wfpc6rWs5DLPdy")),
        (500, json!("Internal Server Error")),
        (502, json!("Bad Gateway")),
        (503, json!("upstream reset")),
        (504, json!("Gateway Timeout")),
        (504, error("Gateway Timeout")),
        (520, json!("Web server is returning an unknown error")),
        (408, json!("Request Timeout")),
        (200, json!("accepted")),
        (201, json!({})),
        (201, payee()),
        (201, with(refund(), json!({ "payment_hash": "ab".repeat(32) }))),
        (201, with(refund(), json!({ "preimage": null }))),
        (201, with(refund(), json!({ "preimage": "ab".repeat(32) }))),
        (201, with(refund(), json!({ "amount": 0 }))),
    ] {
        let lnbits = Lnbits::paying(status, &body).await;
        let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
        assert!(matches!(failure, WalletError::OutcomeUnknown(Some(_))), "{status} {body}: {failure:?}");
        assert_eq!(lnbits.posted().await.len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn a_failure_that_cannot_be_verified_is_an_unknown_outcome() {
    for (status, body) in [
        (520, payment_error("Insufficient balance.", "failed")),
        (520, payment_error("Payment already paid.", "success")),
    ] {
        let lnbits = Lnbits::start().await;
        let none = ResponseTemplate::new(200).set_body_json(json!({ "data": [], "total": 0 }));
        get("/api/v1/payments/paginated").respond_with(none).up_to_n_times(1).mount(&lnbits.server).await;
        let down = ResponseTemplate::new(502);
        get("/api/v1/payments/paginated").respond_with(down).mount(&lnbits.server).await;
        lnbits.reserve(2_000).await;
        lnbits.post(ResponseTemplate::new(status).set_body_json(&body)).await;
        let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
        assert!(matches!(failure, WalletError::OutcomeUnknown(Some(_))), "{body}: {failure:?}");
    }
}

#[tokio::test]
async fn a_refusal_before_lnbits_looks_at_the_payment_is_refused() {
    let invalid = json!({ "detail": [{ "loc": ["body", "external_id"], "msg": "Invalid external id.", "type": "value_error" }] });
    for (status, body, message) in [
        (
            403,
            error("Invoice (or Admin) key required."),
            "wrong key: paying needs the wallet's admin key, got its invoice key",
        ),
        (403, error("IP is blocked"), "IP is blocked"),
        (401, error("No Api Key provided."), "No Api Key provided."),
        (404, error("Wallet not found."), "Wallet not found."),
        (400, invalid, "external_id: Invalid external id."),
        (
            400,
            error("Daily withdrawal limit of 5 sats reached."),
            "Daily withdrawal limit of 5 sats reached.",
        ),
        (307, json!("/first_install"), "unexpected response: status 307"),
    ] {
        let lnbits = Lnbits::paying(status, &body).await;
        let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
        assert!(
            matches!(&failure, WalletError::Refused(text) if text == message),
            "{status} {body}: {failure:?}"
        );
    }
    let lnbits = Lnbits::paying(429, &json!({ "error": "Rate limit exceeded: 200 per 1 minute" })).await;
    let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
    assert!(matches!(failure, WalletError::Unavailable(Some(_))), "{failure:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let lnbits = Lnbits::start().await;
    lnbits.list(REFUND_HASH, &[]).await;
    lnbits.reserve(2_000).await;
    lnbits.post(ResponseTemplate::new(307).insert_header("Location", elsewhere.uri().as_str())).await;
    let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
    assert!(matches!(failure, WalletError::Refused(_)), "{failure:?}");
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_payment_whose_reserve_exceeds_the_fee_limit_is_not_sent() {
    let phoenixd = FundingFee { base: msats(4_000), share: BasisPoints::new(40).unwrap() };
    // For 9 sats, phoenixd charges up to 5.
    for (reserve, funding_fee, limit, sent) in [
        (2_000, None, 2_000, true),
        (2_001, None, 2_000, false),
        (2_000, Some(phoenixd), 5_000, true),
        (2_000, Some(phoenixd), 4_999, false),
        (6_000, Some(phoenixd), 5_000, false),
    ] {
        let lnbits = Lnbits::start_with(|settings| settings.funding_fee = funding_fee).await;
        lnbits.list(REFUND_HASH, &[]).await;
        lnbits.reserve(reserve).await;
        lnbits.post(ResponseTemplate::new(201).set_body_json(refund())).await;
        let outcome = lnbits.wallet.payment_send(&PaymentOrder { max_fee: msats(limit), ..order() }).await;
        if sent {
            assert_eq!(outcome.unwrap(), succeeded(0), "{reserve} {limit}");
        } else {
            let failure = outcome.unwrap_err();
            assert!(
                matches!(&failure, WalletError::Refused(text) if text.starts_with("fee limit: ")),
                "{failure:?}"
            );
        }
        assert_eq!(lnbits.posted().await.len(), usize::from(sent), "{reserve} {limit}");
    }
}

#[tokio::test]
async fn nothing_is_sent_when_the_reserve_cannot_be_found_out() {
    for (status, body) in [
        (500, error("Unexpected error! ID: x")),
        (200, json!({})),
        (200, json!({ "fee_reserve": -1 })),
        (400, error("Invoice has no amount.")),
    ] {
        let lnbits = Lnbits::start().await;
        lnbits.list(REFUND_HASH, &[]).await;
        let answer = ResponseTemplate::new(status).set_body_json(&body);
        get("/api/v1/payments/fee-reserve").respond_with(answer).mount(&lnbits.server).await;
        lnbits.wallet.payment_send(&order()).await.unwrap_err();
        assert!(lnbits.posted().await.is_empty(), "{status} {body}");
    }
}

#[tokio::test]
async fn an_order_that_lnbits_cannot_keep_is_refused_without_a_request() {
    let donation = PaymentOrder { request: DONATION.parse().unwrap(), amount: Some(msats(1_000)), ..order() };
    let twice = PaymentOrder { amount: Some(msats(9_000)), ..order() };
    for (order, message) in [
        (PaymentOrder { amount: None, ..donation.clone() }, "missing amount: "),
        (donation, "missing amount: "),
        (twice, "unexpected amount: "),
    ] {
        let lnbits = Lnbits::start().await;
        let failure = lnbits.wallet.payment_send(&order).await.unwrap_err();
        assert!(matches!(&failure, WalletError::Refused(text) if text.starts_with(message)), "{failure:?}");
        assert_eq!(lnbits.requests().await, 0);
    }
    let lnbits = Lnbits::start_with(|settings| settings.network = Network::Signet).await;
    let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
    assert!(
        matches!(&failure, WalletError::Refused(text) if text.starts_with("wrong network: ")),
        "{failure:?}"
    );
    assert_eq!(lnbits.requests().await, 0);
}

#[tokio::test]
async fn a_payment_that_is_under_way_is_not_sent_again() {
    for (record, expected) in [(refund(), succeeded(0)), (pending(), Payment::InFlight)] {
        let lnbits = Lnbits::start().await;
        lnbits.list(REFUND_HASH, &[record, payee()]).await;
        assert_eq!(lnbits.wallet.payment_send(&order()).await.unwrap(), expected);
        assert_eq!(lnbits.requests().await, 1);
    }
}

#[tokio::test]
async fn a_failed_payment_is_sent_again_so_that_lnbits_may_correct_itself() {
    let lnbits = Lnbits::start().await;
    lnbits.list_twice(REFUND_HASH, &[failed()], &[with(refund(), json!({ "fee": -4_200 }))]).await;
    lnbits.reserve(2_000).await;
    let corrected = payment_error("Failed payment was already paid on the fundingsource.", "success");
    lnbits.post(ResponseTemplate::new(520).set_body_json(corrected)).await;
    assert_eq!(lnbits.wallet.payment_send(&order()).await.unwrap(), succeeded(4_200));
}

#[tokio::test]
async fn a_response_that_comes_too_late_is_an_unknown_outcome() {
    let lnbits = Lnbits::start_with(|settings| settings.send_timeout = Duration::from_millis(50)).await;
    lnbits.list(REFUND_HASH, &[]).await;
    lnbits.reserve(2_000).await;
    let late = ResponseTemplate::new(201).set_body_json(refund()).set_delay(Duration::from_mins(1));
    lnbits.post(late).await;
    let failure = lnbits.wallet.payment_send(&order()).await.unwrap_err();
    assert!(matches!(failure, WalletError::OutcomeUnknown(Some(_))), "{failure:?}");
}

#[tokio::test]
async fn paying_has_a_timeout_of_its_own() {
    let lnbits = Lnbits::start_with(|settings| settings.timeout = Duration::from_secs(10)).await;
    lnbits.list(REFUND_HASH, &[]).await;
    lnbits.reserve(2_000).await;
    lnbits.post(ResponseTemplate::new(201).set_body_json(refund())).await;
    assert_eq!(lnbits.wallet.payment_send(&order()).await.unwrap(), succeeded(0));
    let defaults = settings("http://127.0.0.1/");
    assert!(defaults.send_timeout > Duration::from_mins(1) && defaults.timeout < defaults.send_timeout);
}

/// A server that answers each request with one of these texts, and closes the connection. An empty text is no answer.
async fn raw(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 * 1024];
            let mut length = 0;
            while !is_complete(&request[..length]) {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

/// Whether a request has arrived with its body.
fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn http(body: &str, length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_connection_that_closes_after_the_request_is_an_unknown_outcome() {
    let none = r#"{"data":[],"total":0}"#;
    let reserve = r#"{"fee_reserve":2000}"#;
    let record = refund().to_string();
    for lost in [String::new(), "HTTP/1.1 2".to_owned(), http(&record[..200], record.len())] {
        let answers = vec![http(none, none.len()), http(reserve, reserve.len()), lost.clone()];
        let wallet = LnbitsWallet::new(&settings(&raw(answers).await), Arc::new(SystemClock)).unwrap();
        // Far earlier than the timeout for payments.
        let failure = timeout(LIMIT, wallet.payment_send(&order())).await.unwrap().unwrap_err();
        assert!(matches!(failure, WalletError::OutcomeUnknown(Some(_))), "{lost:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    // The list and the reserve are read; then nobody listens any more.
    let none = r#"{"data":[],"total":0}"#;
    let reserve = r#"{"fee_reserve":2000}"#;
    let answers = vec![http(none, none.len()), http(reserve, reserve.len())];
    for answers in [vec![], answers] {
        let wallet = LnbitsWallet::new(&settings(&raw(answers).await), Arc::new(SystemClock)).unwrap();
        let failure = wallet.payment_send(&order()).await.unwrap_err();
        assert!(matches!(failure, WalletError::Unavailable(Some(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn an_order_for_another_invoice_does_not_match_the_record() {
    let other = PaymentOrder { request: INVOICE.parse().unwrap(), ..order() };
    let lnbits = Lnbits::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "data": [refund()], "total": 1 }));
    get("/api/v1/payments/paginated").respond_with(answer).mount(&lnbits.server).await;
    let failure = lnbits.wallet.payment_send(&other).await.unwrap_err();
    assert!(matches!(failure, WalletError::Nonsense(_)), "{failure:?}");
    assert!(lnbits.posted().await.is_empty());
}
