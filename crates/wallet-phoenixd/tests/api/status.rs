//! The state of an invoice.

use crate::bench::{
    Bench, NOW_MILLIS, PREIMAGE, Terms, WRONG_PREIMAGE, bolt11, msats, node, not_found, now, ok,
};
use std::time::Duration;
use tithe_lightning::{InvoiceStatus, ReceivedPayment, Wallet, WalletError};
use wiremock::ResponseTemplate;

/// phoenixd's record of an invoice of 1,000 sat that expires ten minutes from now.
pub(crate) fn incoming(more: &str) -> String {
    let hash = PREIMAGE.payment_hash();
    let preimage = PREIMAGE.reveal();
    format!(
        r#"{{"type":"incoming_payment","subType":"lightning","paymentHash":"{hash}","preimage":"{preimage}",
            "externalId":"5","description":"a job","createdAt":{NOW_MILLIS}{more}}}"#
    )
}

pub(crate) fn unpaid() -> String {
    let expires_at = NOW_MILLIS + 600_000;
    let bolt11 = bolt11(Terms::default());
    incoming(&format!(
        r#","invoice":"{bolt11}","isPaid":false,"isExpired":false,"requestedSat":1000,"receivedSat":0,"fees":0,"expiresAt":{expires_at}"#
    ))
}

pub(crate) fn paid(received_sat: i64, fees: u64) -> String {
    let completed_at = NOW_MILLIS + 1_234;
    let expires_at = NOW_MILLIS + 600_000;
    incoming(&format!(
        r#","isPaid":true,"isExpired":false,"requestedSat":1000,"receivedSat":{received_sat},"fees":{fees},
            "expiresAt":{expires_at},"completedAt":{completed_at}"#
    ))
}

pub(crate) fn path() -> String {
    format!("/payments/incoming/{}", PREIMAGE.payment_hash())
}

async fn status(response: ResponseTemplate) -> Result<Option<InvoiceStatus>, WalletError> {
    let bench = Bench::new().await;
    bench.get(&path(), response).await;
    bench.wallet.invoice_status(PREIMAGE.payment_hash()).await
}

#[tokio::test]
async fn an_invoice_is_pending_then_paid() {
    assert_eq!(status(ok(&unpaid())).await.unwrap(), Some(InvoiceStatus::Pending));
    let payment = ReceivedPayment {
        payment_hash: PREIMAGE.payment_hash(),
        amount: msats(1_000_000),
        liquidity_fee: msats(0),
        preimage: Some(PREIMAGE),
        received_at: now() + Duration::from_millis(1_234),
    };
    assert_eq!(status(ok(&paid(1_000, 0))).await.unwrap(), Some(InvoiceStatus::Settled(payment)));
}

#[tokio::test]
async fn what_arrived_is_what_was_paid_less_the_liquidity_fee() {
    let Some(InvoiceStatus::Settled(payment)) = status(ok(&paid(123, 877_000))).await.unwrap() else {
        panic!()
    };
    assert_eq!((payment.amount, payment.liquidity_fee), (msats(1_000_000), msats(877_000)));
    let left = payment.amount.checked_sub(payment.liquidity_fee).unwrap();
    assert_eq!(left, msats(123_000), "what the balance rises by");
}

#[tokio::test]
async fn an_invoice_expires_by_its_own_time_also_where_only_the_invoice_has_it() {
    let bench = Bench::new().await;
    let bolt11 = bolt11(Terms::default());
    // As of 0.5.
    let old = incoming(&format!(r#","invoice":"{bolt11}","isPaid":false,"receivedSat":0,"fees":0"#));
    bench.get(&path(), ok(&old)).await;
    let status = || bench.wallet.invoice_status(PREIMAGE.payment_hash());
    assert_eq!(status().await.unwrap(), Some(InvoiceStatus::Pending));
    bench.clock.advance(Duration::from_mins(11));
    assert_eq!(status().await.unwrap(), Some(InvoiceStatus::Pending), "parts may be under way");
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(status().await.unwrap(), Some(InvoiceStatus::Expired));
}

#[tokio::test]
async fn an_invoice_that_phoenixd_does_not_know_is_unknown() {
    assert_eq!(status(not_found()).await.unwrap(), None);
    // The server has other words, but it is a phoenixd.
    assert_eq!(status(ResponseTemplate::new(404)).await.unwrap(), None);
}

#[tokio::test]
async fn that_a_proxy_does_not_know_an_invoice_says_nothing() {
    let bench = Bench::bare().await;
    bench.get_once("/getinfo", ok(&node("regtest", "0.8.0", "Normal"))).await;
    // From now on the proxy answers everything with 404.
    let lost = bench.wallet.invoice_status(PREIMAGE.payment_hash()).await;
    assert!(matches!(lost, Err(WalletError::Nonsense(_))), "{lost:?}");
}

#[tokio::test]
async fn another_invoice_or_another_preimage_is_nonsense() {
    let hash = PREIMAGE.payment_hash().to_string();
    let other_hash = WRONG_PREIMAGE.payment_hash().to_string();
    let other_preimage = WRONG_PREIMAGE.reveal();
    for wrong in [
        paid(1_000, 0).replace(&hash, &other_hash).replace(&PREIMAGE.reveal(), &other_preimage),
        paid(1_000, 0).replace(&PREIMAGE.reveal(), &other_preimage),
        paid(1_000, 0).replace("completedAt", "somethingElse"),
        paid(-1, 0),
        paid(10, 989_000),
        "null".to_owned(),
        "<html>".to_owned(),
    ] {
        let status = status(ok(&wrong)).await;
        assert!(matches!(status, Err(WalletError::Nonsense(_))), "{wrong}: {status:?}");
    }
}
