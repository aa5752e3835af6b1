//! The state of outgoing payments.

use crate::lnbits::{
    Lnbits, REFUND_HASH, REFUND_PREIMAGE, at, error, get, hash, msats, payee, payment_id, refund, with,
};
use serde_json::{Value, json};
use tithe_lightning::{Payment, PaymentId, Wallet, WalletError};
use uuid::Uuid;
use wiremock::ResponseTemplate;

fn succeeded(fee: u64) -> Payment {
    Payment::Succeeded { preimage: REFUND_PREIMAGE.parse().unwrap(), fee: msats(fee) }
}

fn failed_payment() -> Payment {
    Payment::Failed { reason: "LNbits has recorded the payment as failed".to_owned() }
}

fn pending() -> Value {
    let fields = json!({ "checking_id": REFUND_HASH, "status": "pending", "preimage": null, "fee": -2_000 });
    with(refund(), fields)
}

fn failed() -> Value {
    with(pending(), json!({ "status": "failed" }))
}

/// The state of the payment when LNbits has these records.
async fn status(records: &[Value]) -> Result<Option<Payment>, WalletError> {
    let lnbits = Lnbits::start().await;
    lnbits.list(REFUND_HASH, records).await;
    lnbits.wallet.payment_status(payment_id(), hash(REFUND_HASH)).await
}

#[tokio::test]
async fn the_record_of_the_payee_is_not_ours() {
    assert_eq!(status(&[]).await.unwrap(), None);
    assert_eq!(status(&[payee()]).await.unwrap(), None);
    assert_eq!(status(&[payee(), refund()]).await.unwrap(), Some(succeeded(0)));
    assert_eq!(status(&[payee(), failed()]).await.unwrap(), Some(failed_payment()));
}

#[tokio::test]
async fn a_payment_that_succeeded_has_its_preimage_and_its_fee() {
    for fee in [-4_200, 4_200] {
        let record = with(refund(), json!({ "fee": fee }));
        assert_eq!(status(&[record]).await.unwrap(), Some(succeeded(4_200)), "{fee}");
    }
    for preimage in [Value::Null, json!("0".repeat(64)), json!("ab".repeat(32))] {
        let failure = status(&[with(refund(), json!({ "preimage": preimage }))]).await.unwrap_err();
        assert!(matches!(failure, WalletError::Nonsense(_)), "{preimage}: {failure:?}");
    }
}

#[tokio::test]
async fn a_failure_counts_for_the_attempt_that_failed() {
    let other = PaymentId(Uuid::from_u128(8)).to_string();
    let unnamed = with(failed(), json!({ "external_id": null, "extra": {} }));
    let named_in_extra =
        |id: &str| with(failed(), json!({ "external_id": null, "extra": { "tithe_id": id } }));
    for (record, expected) in [
        (failed(), Some(failed_payment())),
        (unnamed, Some(failed_payment())),
        (named_in_extra(&payment_id().to_string()), Some(failed_payment())),
        (with(failed(), json!({ "external_id": other })), None),
        (named_in_extra(&other), None),
    ] {
        assert_eq!(status(std::slice::from_ref(&record)).await.unwrap(), expected, "{record}");
    }
    // What another attempt has paid, or may pay yet, is paid.
    let paid = with(refund(), json!({ "external_id": other }));
    assert_eq!(status(&[paid]).await.unwrap(), Some(succeeded(0)));
    let in_flight = with(pending(), json!({ "external_id": other }));
    assert_eq!(status(&[in_flight]).await.unwrap(), Some(Payment::InFlight));
}

#[tokio::test]
async fn of_several_records_the_one_that_succeeded_or_is_in_flight_counts() {
    assert_eq!(status(&[failed(), refund()]).await.unwrap(), Some(succeeded(0)));
    assert_eq!(status(&[refund(), failed(), pending()]).await.unwrap(), Some(succeeded(0)));
    assert_eq!(status(&[pending(), failed()]).await.unwrap(), Some(Payment::InFlight));
}

#[tokio::test]
async fn a_payment_that_only_the_clock_has_ended_is_in_flight() {
    let record = with(failed(), json!({ "labels": ["expired"] }));
    assert_eq!(status(&[record]).await.unwrap(), Some(Payment::InFlight));
}

#[tokio::test]
async fn a_young_payment_is_not_checked_with_the_node_and_an_old_one_is() {
    // The payment was recorded at 09:23:30.992576.
    for (now, checked) in
        [("2026-11-20T09:23:31Z", false), ("2026-11-20T09:24:00.9Z", false), ("2026-11-20T09:24:01Z", true)]
    {
        for (record, state) in [
            (refund(), succeeded(0)),
            (pending(), Payment::InFlight),
            (failed(), failed_payment()),
            // Not the outgoing payment: it decides nothing.
            (payee(), Payment::InFlight),
        ] {
            let lnbits = Lnbits::start().await;
            lnbits.clock.set(at(now));
            lnbits.list(REFUND_HASH, &[pending()]).await;
            lnbits.check(REFUND_HASH, 200, json!({ "paid": false, "details": record })).await;
            let status = lnbits.wallet.payment_status(payment_id(), hash(REFUND_HASH)).await.unwrap();
            assert_eq!(status, Some(if checked { state } else { Payment::InFlight }), "{now} {record}");
            assert_eq!(lnbits.requests().await, 1 + usize::from(checked), "{now}");
        }
    }
}

#[tokio::test]
async fn a_lookup_that_finds_out_nothing_is_an_error() {
    for (code, body, refused) in [
        (404, error("Wallet not found."), true),
        (401, error("No Api Key provided."), true),
        (500, error("Unexpected error! ID: x"), false),
        (502, json!("Bad Gateway"), false),
        (429, json!({ "error": "Rate limit exceeded: 200 per 1 minute" }), false),
    ] {
        let lnbits = Lnbits::start().await;
        let answer = ResponseTemplate::new(code).set_body_json(&body);
        get("/api/v1/payments/paginated").respond_with(answer).mount(&lnbits.server).await;
        let failure = lnbits.wallet.payment_status(payment_id(), hash(REFUND_HASH)).await.unwrap_err();
        assert_eq!(matches!(failure, WalletError::Refused(_)), refused, "{body}: {failure:?}");
        assert_eq!(matches!(failure, WalletError::Unavailable(_)), !refused, "{body}: {failure:?}");
    }
    let other = with(refund(), json!({ "payment_hash": "ab".repeat(32) }));
    assert!(matches!(status(&[other]).await.unwrap_err(), WalletError::Nonsense(_)));
}
