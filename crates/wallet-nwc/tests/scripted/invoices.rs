//! Invoices and incoming payments.

use crate::bench::{
    Bench, hash, invoice_with, is_nonsense, is_refused, is_unavailable, is_unknown, msats, preimage, start,
    within,
};
use crate::service::{Answer, Service};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::lightning_invoice::Currency;
use tithe_lightning::{InvoiceId, InvoiceRequest, InvoiceStatus, PaymentHash, ReceivedPayment, Wallet};
use tithe_money::Sats;

const TEN_MINUTES: Duration = Duration::from_mins(10);

fn request() -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(tithe_lightning::uuid::Uuid::from_u128(1)),
        amount: Sats::new(21).unwrap(),
        description: "an eval".to_owned(),
        expiry: TEN_MINUTES,
    }
}

fn made(currency: Currency, amount: Option<u64>, expiry: Duration) -> Value {
    let invoice = invoice_with(currency, amount, hash(), expiry);
    json!({ "type": "incoming", "invoice": invoice.as_str(), "payment_hash": hash().to_string() })
}

#[tokio::test]
async fn an_invoice_is_made_as_requested() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("make_invoice", made(Currency::Regtest, Some(21_000), TEN_MINUTES));
    let invoice = within(bench.wallet.invoice_create(&request())).await.unwrap();
    assert_eq!((invoice.amount(), invoice.payment_hash()), (Some(msats(21_000)), hash()));
    let params = &bench.service.calls("make_invoice")[0].params;
    assert_eq!(params, &json!({ "amount": 21_000, "description": "an eval", "expiry": 600 }));
}

#[tokio::test]
async fn an_invoice_that_was_not_requested_is_nonsense() {
    let bench = Bench::new(Service::new());
    let mut other_hash = made(Currency::Regtest, Some(21_000), TEN_MINUTES);
    other_hash["payment_hash"] = json!(PaymentHash::from_bytes([1; 32]).to_string());
    for wrong in [
        made(Currency::Bitcoin, Some(21_000), TEN_MINUTES),
        made(Currency::Regtest, Some(21_001), TEN_MINUTES),
        made(Currency::Regtest, None, TEN_MINUTES),
        made(Currency::Regtest, Some(21_000), Duration::from_secs(539)),
        other_hash,
        json!({ "invoice": "lnbcrt1" }),
        json!({}),
        json!([]),
    ] {
        bench.service.on_result("make_invoice", wrong.clone());
        assert!(is_nonsense(&within(bench.wallet.invoice_create(&request())).await), "{wrong}");
    }
    // The clocks may differ by a minute.
    let early = made(Currency::Regtest, Some(21_000), Duration::from_mins(9));
    bench.service.on_result("make_invoice", early);
    within(bench.wallet.invoice_create(&request())).await.unwrap();
}

#[tokio::test]
async fn an_invoice_that_can_never_be_made_is_refused_without_a_request() {
    let bench = Bench::new(Service::new());
    for bad in [
        InvoiceRequest { amount: Sats::ZERO, ..request() },
        InvoiceRequest { description: "x".repeat(640), ..request() },
        InvoiceRequest { expiry: Duration::ZERO, ..request() },
    ] {
        assert!(is_refused(&within(bench.wallet.invoice_create(&bad)).await), "{bad:?}");
    }
    assert!(bench.service.calls("make_invoice").is_empty());
}

#[tokio::test]
async fn errors_of_making_an_invoice_are_told_apart() {
    let bench = Bench::with(Service::new(), |settings| settings.timeout = Duration::from_secs(3));
    for code in ["RESTRICTED", "UNAUTHORIZED", "NOT_IMPLEMENTED"] {
        bench.service.on_error("make_invoice", code);
        assert!(is_refused(&within(bench.wallet.invoice_create(&request())).await), "{code}");
    }
    for code in ["RATE_LIMITED", "INTERNAL", "OTHER"] {
        bench.service.on_error("make_invoice", code);
        assert!(is_unavailable(&within(bench.wallet.invoice_create(&request())).await), "{code}");
    }
    bench.service.on("make_invoice", |_| Answer::Nothing);
    assert!(is_unknown(&within(bench.wallet.invoice_create(&request())).await));
}

fn incoming(fields: Value) -> Value {
    let mut record = json!({ "type": "incoming", "payment_hash": hash().to_string(), "amount": 22_000,
        "fees_paid": 40, "created_at": 1_700_000_000, "preimage": preimage().reveal() });
    let Value::Object(fields) = fields else { panic!("an object is needed") };
    record.as_object_mut().unwrap().extend(fields);
    record
}

fn settled(seconds: i64) -> InvoiceStatus {
    InvoiceStatus::Settled(ReceivedPayment {
        payment_hash: hash(),
        amount: msats(22_000),
        liquidity_fee: msats(40),
        preimage: Some(preimage()),
        received_at: tithe_clock::Timestamp::from_unix_micros(seconds * 1_000_000).unwrap(),
    })
}

#[tokio::test]
async fn the_state_of_an_invoice_is_what_its_record_says() {
    let bench = Bench::new(Service::new());
    let status = || async { within(bench.wallet.invoice_status(hash())).await.unwrap() };
    assert_eq!(status().await, None);
    for (record, expected) in [
        (incoming(json!({ "state": "pending" })), InvoiceStatus::Pending),
        (
            incoming(json!({ "state": "pending", "expires_at": start().unix_seconds() - 1 })),
            InvoiceStatus::Expired,
        ),
        (incoming(json!({ "state": "expired" })), InvoiceStatus::Expired),
        (incoming(json!({ "state": "settled", "settled_at": 1_700_000_100 })), settled(1_700_000_100)),
        (incoming(json!({ "settled_at": 1_700_000_100 })), settled(1_700_000_100)),
        (incoming(json!({})), InvoiceStatus::Pending),
    ] {
        bench.service.on_result("lookup_invoice", record.clone());
        assert_eq!(status().await, Some(expected), "{record}");
    }
    let params = &bench.service.calls("lookup_invoice")[0].params;
    assert_eq!(params, &json!({ "payment_hash": hash().to_string() }));
}

#[tokio::test]
async fn an_invoice_that_the_wallet_itself_pays_is_found_in_the_list() {
    let bench = Bench::new(Service::new());
    let mut outgoing = incoming(json!({ "state": "settled", "settled_at": 1_700_000_100 }));
    outgoing["type"] = json!("outgoing");
    bench.service.on_result("lookup_invoice", outgoing);
    let status = || async { within(bench.wallet.invoice_status(hash())).await.unwrap() };
    assert_eq!(status().await, Some(InvoiceStatus::Pending));
    let record = incoming(json!({ "state": "settled", "settled_at": 1_700_000_100 }));
    bench.service.on_result("list_transactions", json!({ "transactions": [record] }));
    assert_eq!(status().await, Some(settled(1_700_000_100)));
    assert_eq!(bench.service.calls("list_transactions")[0].params["type"], json!("incoming"));
}
