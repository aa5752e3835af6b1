//! Responses and relays that are lost while money moves.

use crate::bench::{Bench, invoice, is_unknown, within};
use futures_util::StreamExt;
use std::time::Duration;
use tithe_lightning::{InvoiceStatus, Payment, Wallet, WalletError};
use tithe_test_lightning::{NwcFault, NwcOptions, PayTerms};

const SHORT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_response_is_lost_or_wrong_is_found() {
    let faults = [
        (NwcFault::ResponseSwallowed, false),
        (NwcFault::Undecryptable, false),
        (NwcFault::Garbled, true),
        (NwcFault::WrongPreimage, true),
        (NwcFault::ErrorAfterwards("INTERNAL"), true),
        (NwcFault::ErrorAfterwards("OTHER"), true),
        (NwcFault::ErrorAfterwards("PAYMENT_FAILED"), true),
    ];
    let bench = Bench::patient_for(SHORT).await;
    for (amount, (fault, answered)) in (10_000..).zip(faults) {
        let refund = bench.order(amount);
        bench.service.faults().set_once("pay_invoice", fault.clone());
        let result = within(bench.wallet.payment_send(&refund)).await;
        // An answer, of any kind, is followed by a look-up.
        if answered {
            assert!(matches!(result, Ok(Payment::Succeeded { .. })), "{fault:?}: {result:?}");
        } else {
            assert!(is_unknown(&result), "{fault:?}: {result:?}");
        }
        let ended = bench.ended(&refund).await;
        assert!(matches!(ended, Payment::Succeeded { .. }), "{fault:?}: {ended:?}");
    }
    assert_eq!(bench.merchant().outgoing_all().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_wallet_ignores_or_refuses_is_not_reported_as_failed_in_error() {
    let bench = Bench::patient_for(SHORT).await;
    let refund = bench.order(10_000);
    bench.service.faults().set_once("pay_invoice", NwcFault::RequestIgnored);
    assert!(is_unknown(&within(bench.wallet.payment_send(&refund)).await));
    let hash = refund.request.payment_hash();
    let status = within(bench.wallet.payment_status(refund.id, hash)).await.unwrap();
    assert_eq!(status, Some(Payment::InFlight));

    for (amount, code) in (20_000..).zip(["INTERNAL", "OTHER", "PAYMENT_FAILED"]) {
        let refund = bench.order(amount);
        bench.service.faults().set_once("pay_invoice", NwcFault::Error(code));
        assert!(is_unknown(&within(bench.wallet.payment_send(&refund)).await), "{code}");
    }
    for (amount, code) in (30_000..).zip(["INSUFFICIENT_BALANCE", "QUOTA_EXCEEDED"]) {
        let refund = bench.order(amount);
        bench.service.faults().set_once("pay_invoice", NwcFault::Error(code));
        let result = within(bench.wallet.payment_send(&refund)).await;
        assert!(matches!(result, Ok(Payment::Failed { .. })), "{code}: {result:?}");
        // Nothing was paid, so it can be tried again.
        let again = within(bench.wallet.payment_send(&refund)).await.unwrap();
        assert!(matches!(again, Payment::Succeeded { .. }), "{again:?}");
    }
    let refund = bench.order(40_000);
    bench.service.faults().set_once("pay_invoice", NwcFault::Error("RATE_LIMITED"));
    let result = within(bench.wallet.payment_send(&refund)).await;
    assert!(matches!(result, Err(WalletError::Unavailable(_))), "{result:?}");
    assert_eq!(bench.merchant().outgoing_all().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_a_relay_has_kept_is_taken_after_an_outage() {
    let bench = Bench::new().await;
    bench.relay().keep_ephemeral(true);
    within(bench.wallet.balance()).await.unwrap();
    bench.customer().hold();
    let refund = bench.order(10_000);
    let hash = refund.request.payment_hash();
    let (wallet, sending) = (bench.wallet.clone(), refund.clone());
    let paying = tokio::spawn(async move { wallet.payment_send(&sending).await });
    within(bench.customer().held(hash)).await.unwrap();
    bench.relay().stop().await.unwrap();
    bench.service.connected(0).await.unwrap();
    bench.relay().start_again().await.unwrap();
    bench.service.connected(1).await.unwrap();
    bench.customer().release();
    let result = within(paying).await.unwrap();
    assert!(matches!(result, Ok(Payment::Succeeded { .. })), "{result:?}");
    assert_eq!(bench.merchant().outgoing_all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_made_by_the_relay_that_is_left() {
    let bench = Bench::with(2, NwcOptions::default(), Duration::from_secs(30)).await;
    within(bench.wallet.balance()).await.unwrap();
    for (amount, relay) in (10_000..).zip(&bench.relays) {
        relay.stop().await.unwrap();
        bench.service.connected(1).await.unwrap();
        let result = within(bench.wallet.payment_send(&bench.order(amount))).await;
        assert!(matches!(result, Ok(Payment::Succeeded { .. })), "{result:?}");
        relay.start_again().await.unwrap();
        bench.service.connected(2).await.unwrap();
    }
    assert_eq!(bench.merchant().outgoing_all().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_missed_by_the_stream_is_found_by_polling() {
    let bench = Bench::new().await;
    let mut received = within(bench.wallet.payments_received()).await.unwrap();
    let invoice = invoice(&bench.wallet, 21).await;
    bench.relay().stop().await.unwrap();
    assert!(within(received.next()).await.is_none());
    within(bench.customer().pay(&invoice, PayTerms::default())).await.unwrap();
    bench.relay().start_again().await.unwrap();
    let status = within(bench.wallet.invoice_status(invoice.payment_hash())).await.unwrap();
    assert!(matches!(status, Some(InvoiceStatus::Settled(_))), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_requires_authentication_is_used_and_one_that_refuses_is_not_waited_for() {
    let bench = Bench::new().await;
    bench.relay().require_auth(true);
    bench.relay().reject(Some("blocked: not you"));
    let result = within(bench.wallet.payment_send(&bench.order(10_000))).await;
    assert!(matches!(result, Err(WalletError::Unavailable(_))), "{result:?}");
    bench.relay().reject(None);
    let result = within(bench.wallet.payment_send(&bench.order(10_000))).await;
    assert!(matches!(result, Ok(Payment::Succeeded { .. })), "{result:?}");
    assert_eq!(bench.merchant().outgoing_all().len(), 1);
}
