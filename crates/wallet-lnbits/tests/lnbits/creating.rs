//! Creating invoices.

use crate::lnbits::{
    INVOICE, INVOICE_HASH, INVOICE_PREIMAGE, KEY, Lnbits, error, hash, invoice, msats, payment_error,
    settings, with,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::SystemClock;
use tithe_lightning::{InvoiceId, InvoiceRequest, Network, Wallet, WalletError};
use tithe_money::Sats;
use tithe_wallet_lnbits::{LnbitsWallet, LnbitsWalletError};
use uuid::Uuid;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn request() -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(Uuid::from_u128(9)),
        amount: Sats::new(21).unwrap(),
        description: "ai call".to_owned(),
        expiry: Duration::from_mins(10),
    }
}

/// The outcome when LNbits answers the request with this.
async fn created(request: &InvoiceRequest, status: u16, body: &Value) -> Result<String, WalletError> {
    let lnbits = Lnbits::start().await;
    lnbits.post(ResponseTemplate::new(status).set_body_json(body)).await;
    lnbits.wallet.invoice_create(request).await.map(|bolt11| bolt11.to_string())
}

#[tokio::test]
async fn an_invoice_is_requested_in_sats_with_our_id() {
    let lnbits = Lnbits::start().await;
    lnbits.post(ResponseTemplate::new(201).set_body_json(invoice())).await;
    let made = lnbits.wallet.invoice_create(&request()).await.unwrap();
    assert_eq!(made.as_str(), INVOICE.as_str());
    assert_eq!((made.payment_hash(), made.amount()), (hash(INVOICE_HASH), Some(msats(21_000))));
    assert!(!format!("{made:?}").contains(INVOICE_PREIMAGE));
    let id = request().id.to_string();
    let expected = json!({
        "out": false, "unit": "sat", "amount": 21, "memo": "ai call", "expiry": 600,
        "external_id": id, "extra": { "tithe_id": id },
    });
    assert_eq!(lnbits.posted().await, [expected]);
}

#[tokio::test]
async fn an_invoice_other_than_the_requested_one_is_nonsense() {
    let another = InvoiceRequest { amount: Sats::new(22).unwrap(), ..request() };
    let longer = InvoiceRequest { expiry: Duration::from_hours(1), ..request() };
    for (request, body, message) in [
        (&another, invoice(), "new invoice: wrong amount"),
        (&longer, invoice(), "new invoice: expires too early"),
        (
            &request(),
            with(invoice(), json!({ "payment_hash": "ab".repeat(32) })),
            "new invoice: wrong payment hash",
        ),
        (&request(), with(invoice(), json!({ "payment_hash": "ab" })), "unreadable response: Data error"),
        (&request(), with(invoice(), json!({ "bolt11": "lnbc1garbage" })), "new invoice: invalid BOLT11"),
        (&request(), with(invoice(), json!({ "bolt11": null })), "unreadable response: Data error"),
        (&request(), json!([]), "unreadable response: Data error"),
    ] {
        let failure = created(request, 201, &body).await.unwrap_err();
        assert!(
            matches!(&failure, WalletError::Nonsense(text) if text.starts_with(message)),
            "{message}: {failure:?}"
        );
        assert!(!failure.to_string().contains(INVOICE_PREIMAGE), "{failure}");
    }
    let lnbits = Lnbits::start_with(|settings| settings.network = Network::Regtest).await;
    lnbits.post(ResponseTemplate::new(201).set_body_json(invoice())).await;
    let failure = lnbits.wallet.invoice_create(&request()).await.unwrap_err();
    assert!(matches!(&failure, WalletError::Nonsense(text) if text.contains("wrong network")), "{failure:?}");
}

#[tokio::test]
async fn a_refusal_is_told_from_trouble_that_passes() {
    for (status, body) in [
        (520, payment_error("Invoice amount 21 sats is too high. Max allowed: 5 sats.", "failed")),
        (400, json!({ "detail": [{ "loc": ["body", "memo"], "msg": "too long", "type": "value_error" }] })),
        (400, error("63 is too large an unsigned integer for a bitstring of length 5.")),
        (404, error("Wallet not found.")),
        (401, error("No Api Key provided.")),
    ] {
        let failure = created(&request(), status, &body).await.unwrap_err();
        assert!(matches!(failure, WalletError::Refused(_)), "{status} {body}: {failure:?}");
    }
    for (status, body) in [
        (520, payment_error("unexpected backend error.", "pending")),
        (500, error("Unexpected error! ID: MLZEfMi7Wfpc6rWs5DLPdy")),
        (502, json!("Bad Gateway")),
        (429, json!({ "error": "Rate limit exceeded: 200 per 1 minute" })),
    ] {
        let failure = created(&request(), status, &body).await.unwrap_err();
        assert!(matches!(failure, WalletError::Unavailable(_)), "{status} {body}: {failure:?}");
    }
}

#[tokio::test]
async fn a_description_that_no_invoice_can_have_is_not_sent() {
    let lnbits = Lnbits::start().await;
    let long = InvoiceRequest { description: "é".repeat(320), ..request() };
    let free = InvoiceRequest { amount: Sats::ZERO, ..request() };
    for request in [long, free] {
        let failure = lnbits.wallet.invoice_create(&request).await.unwrap_err();
        assert!(matches!(failure, WalletError::Refused(_)), "{failure:?}");
    }
    assert_eq!(lnbits.requests().await, 0);
}

#[tokio::test]
async fn the_server_may_be_below_a_path_with_or_without_a_slash_at_its_end() {
    for suffix in ["/wallets/lnbits", "/wallets/lnbits/", "/wallets/lnbits//"] {
        let server = MockServer::start().await;
        let answer =
            ResponseTemplate::new(200).set_body_json(json!({ "name": "payer", "balance": 99_977_001 }));
        let wallet_path = path("/wallets/lnbits/api/v1/wallet");
        Mock::given(method("GET"))
            .and(wallet_path)
            .and(header("X-Api-Key", KEY))
            .respond_with(answer)
            .mount(&server)
            .await;
        let settings = settings(&format!("{}{suffix}", server.uri()));
        let wallet = LnbitsWallet::new(&settings, Arc::new(SystemClock)).unwrap();
        assert_eq!(wallet.balance().await.unwrap(), msats(99_977_001), "{suffix}");
    }
}

#[tokio::test]
async fn a_balance_below_zero_or_unreadable_is_nonsense() {
    for body in [json!({ "balance": -1 }), json!({ "balance": "many" }), json!({ "balance": 1.5 }), json!({})]
    {
        let lnbits = Lnbits::start().await;
        let answer = ResponseTemplate::new(200).set_body_json(&body);
        crate::lnbits::get("/api/v1/wallet").respond_with(answer).mount(&lnbits.server).await;
        let failure = lnbits.wallet.balance().await.unwrap_err();
        assert!(matches!(failure, WalletError::Nonsense(_)), "{body}: {failure:?}");
    }
}

#[test]
fn a_url_that_is_not_one_of_a_server_makes_no_wallet() {
    for url in [
        "ftp://lnbits.example/",
        "unix:/run/lnbits",
        "https://user:secret@lnbits.example/",
        "https://lnbits.example/?key=secret",
        "https://lnbits.example/#top",
    ] {
        let failure = LnbitsWallet::new(&settings(url), Arc::new(SystemClock)).unwrap_err();
        assert!(matches!(failure, LnbitsWalletError::Url), "{url}: {failure:?}");
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
}
