//! The state of invoices.

use crate::lnbits::{
    INVOICE_HASH, INVOICE_PREIMAGE, Lnbits, at, error, get, hash, invoice, msats, page, with,
};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::{InvoiceStatus, ReceivedPayment, Wallet, WalletError};
use wiremock::ResponseTemplate;

/// LNbits' answer to a query of a payment with the wallet's key.
fn checked(record: &Value) -> Value {
    let success = record["status"] == "success";
    let preimage = if success { record["preimage"].clone() } else { Value::Null };
    json!({ "paid": success, "status": record["status"], "preimage": preimage, "details": record })
}

/// The state of the invoice when LNbits answers with this record.
async fn status(record: Value, now: &str) -> Result<Option<InvoiceStatus>, WalletError> {
    let lnbits = Lnbits::start().await;
    lnbits.clock.set(at(now));
    lnbits.check(INVOICE_HASH, 200, checked(&record)).await;
    lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await
}

fn paid() -> Value {
    with(invoice(), json!({ "status": "success" }))
}

fn received() -> ReceivedPayment {
    ReceivedPayment {
        payment_hash: hash(INVOICE_HASH),
        amount: msats(21_000),
        liquidity_fee: msats(0),
        preimage: Some(INVOICE_PREIMAGE.parse().unwrap()),
        received_at: at("2026-11-20T09:23:29.075318Z"),
    }
}

const NOW: &str = "2026-11-20T09:23:31Z";

#[tokio::test]
async fn a_paid_invoice_has_what_lnbits_booked() {
    assert_eq!(status(paid(), NOW).await.unwrap(), Some(InvoiceStatus::Settled(received())));
    // LNbits stores an incoming fee with either sign and deducts it from the balance.
    for fee in [-1_300, 1_300] {
        let received = ReceivedPayment { liquidity_fee: msats(1_300), ..received() };
        let record = with(paid(), json!({ "fee": fee }));
        assert_eq!(status(record, NOW).await.unwrap(), Some(InvoiceStatus::Settled(received)), "{fee}");
    }
    for none in [Value::Null, json!(""), json!("0".repeat(64))] {
        let received = ReceivedPayment { preimage: None, ..received() };
        let record = with(paid(), json!({ "preimage": none }));
        assert_eq!(status(record, NOW).await.unwrap(), Some(InvoiceStatus::Settled(received)));
    }
}

#[tokio::test]
async fn an_unpaid_invoice_is_pending_and_its_preimage_stays_unknown() {
    for record in [invoice(), with(invoice(), json!({ "status": "in limbo" }))] {
        let status = status(record, NOW).await.unwrap();
        assert_eq!(status, Some(InvoiceStatus::Pending));
        assert!(!format!("{status:?}").contains(INVOICE_PREIMAGE));
    }
    // When its node is down, LNbits leaves the status out.
    let lnbits = Lnbits::start().await;
    let down = json!({ "paid": false, "details": with(invoice(), json!({ "preimage": null })) });
    lnbits.check(INVOICE_HASH, 200, down).await;
    let status = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap();
    assert_eq!(status, Some(InvoiceStatus::Pending));
}

#[tokio::test]
async fn paid_beside_the_record_is_no_evidence() {
    let lnbits = Lnbits::start().await;
    let body =
        json!({ "paid": true, "status": "success", "preimage": INVOICE_PREIMAGE, "details": invoice() });
    lnbits.check(INVOICE_HASH, 200, body).await;
    let status = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap();
    assert_eq!(status, Some(InvoiceStatus::Pending));
}

#[tokio::test]
async fn an_invoice_that_lnbits_marked_as_failed_is_expired_a_minute_after_its_expiry() {
    let expired = with(invoice(), json!({ "status": "failed", "labels": ["expired"] }));
    let failed = with(invoice(), json!({ "status": "failed" }));
    for record in [expired, failed] {
        for (now, expected) in [
            (NOW, InvoiceStatus::Pending),
            ("2026-11-20T09:33:28Z", InvoiceStatus::Pending),
            ("2026-11-20T09:34:27Z", InvoiceStatus::Pending),
            ("2026-11-20T09:34:28Z", InvoiceStatus::Expired),
        ] {
            assert_eq!(status(record.clone(), now).await.unwrap(), Some(expected), "{now} {record}");
        }
    }
}

#[tokio::test]
async fn a_payment_after_expiry_counts() {
    let now = "2026-11-21T00:00:00Z";
    let record = with(paid(), json!({ "labels": ["expired"] }));
    assert_eq!(status(record, now).await.unwrap(), Some(InvoiceStatus::Settled(received())));
}

#[tokio::test]
async fn an_answer_about_something_else_is_nonsense() {
    let other = "ab".repeat(32);
    for record in [
        with(paid(), json!({ "payment_hash": other })),
        with(paid(), json!({ "preimage": other })),
        with(paid(), json!({ "amount": 2_200_000_000_000_000_000_u64 })),
        with(paid(), json!({ "amount": "21" })),
        with(paid(), json!({ "updated_at": "yesterday" })),
    ] {
        let failure = status(record.clone(), NOW).await.unwrap_err();
        assert!(matches!(failure, WalletError::Nonsense(_)), "{record}: {failure:?}");
        assert!(!failure.to_string().contains(INVOICE_PREIMAGE), "{failure}");
    }
}

#[tokio::test]
async fn an_unknown_invoice_is_none_and_a_wrong_key_is_an_error() {
    // Without a valid key, LNbits answers this query as if no key was given.
    let unknown = error("Payment does not exist.");
    let strangers = json!({ "paid": true, "preimage": INVOICE_PREIMAGE });
    for (status, body) in [(404, unknown), (200, strangers)] {
        let lnbits = Lnbits::start().await;
        lnbits.check(INVOICE_HASH, status, body.clone()).await;
        lnbits.list(INVOICE_HASH, &[]).await;
        assert_eq!(lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap(), None, "{body}");

        let lnbits = Lnbits::start().await;
        lnbits.check(INVOICE_HASH, status, body.clone()).await;
        let no_wallet = ResponseTemplate::new(404).set_body_json(error("Wallet not found."));
        get("/api/v1/payments/paginated").respond_with(no_wallet).mount(&lnbits.server).await;
        let failure = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap_err();
        assert!(
            matches!(&failure, WalletError::Refused(text) if text == "Wallet not found."),
            "{body}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn a_404_that_lnbits_did_not_write_is_an_error() {
    for body in [json!("Not Found"), json!({}), error("Not Found")] {
        let lnbits = Lnbits::start().await;
        lnbits.check(INVOICE_HASH, 404, body.clone()).await;
        lnbits.list(INVOICE_HASH, &[]).await;
        let failure = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap_err();
        assert!(matches!(failure, WalletError::Refused(_)), "{body}: {failure:?}");
    }
}

#[tokio::test]
async fn an_invoice_that_the_wallet_paid_itself_is_found_beside_the_payment() {
    let payment = with(
        paid(),
        json!({ "checking_id": format!("internal_{INVOICE_HASH}"), "amount": -21_000, "fee": -5_000 }),
    );
    let lnbits = Lnbits::start().await;
    lnbits.check(INVOICE_HASH, 200, checked(&payment)).await;
    lnbits.list(INVOICE_HASH, &[payment.clone(), paid()]).await;
    let status = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap();
    assert_eq!(status, Some(InvoiceStatus::Settled(received())));

    // A payment of somebody else's invoice is no invoice.
    let lnbits = Lnbits::start().await;
    lnbits.check(INVOICE_HASH, 200, checked(&payment)).await;
    lnbits.list(INVOICE_HASH, &[payment]).await;
    assert_eq!(lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap(), None);
}

#[tokio::test]
async fn a_service_fee_for_somebodys_payment_is_no_invoice() {
    let fee = with(paid(), json!({ "checking_id": format!("service_fee_{INVOICE_HASH}"), "amount": 210 }));
    let lnbits = Lnbits::start().await;
    lnbits.check(INVOICE_HASH, 200, checked(&fee)).await;
    lnbits.list(INVOICE_HASH, &[fee]).await;
    assert_eq!(lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_that_is_not_filtered_is_nonsense() {
    let other = with(paid(), json!({ "payment_hash": "ab".repeat(32) }));
    let cut = with(page(&[paid()]), json!({ "total": 2 }));
    for list in [page(&[other]), cut] {
        let lnbits = Lnbits::start().await;
        lnbits.check(INVOICE_HASH, 404, error("Payment does not exist.")).await;
        let answer = ResponseTemplate::new(200).set_body_json(&list);
        get("/api/v1/payments/paginated").respond_with(answer).mount(&lnbits.server).await;
        let failure = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap_err();
        assert!(matches!(failure, WalletError::Nonsense(_)), "{list}: {failure:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_query_is_unavailable() {
    let lnbits = Lnbits::start_with(|settings| settings.timeout = Duration::from_millis(50)).await;
    let late = ResponseTemplate::new(200).set_body_json(checked(&paid())).set_delay(Duration::from_mins(1));
    get(&format!("/api/v1/payments/{INVOICE_HASH}")).respond_with(late).mount(&lnbits.server).await;
    let failure = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap_err();
    assert!(matches!(failure, WalletError::Unavailable(Some(_))), "{failure:?}");
    for (status, body) in [(500, error("Unexpected error! ID: x")), (504, json!("Gateway Timeout"))] {
        let lnbits = Lnbits::start().await;
        lnbits.check(INVOICE_HASH, status, body).await;
        let failure = lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap_err();
        assert!(matches!(failure, WalletError::Unavailable(Some(_))), "{status}: {failure:?}");
    }
}
