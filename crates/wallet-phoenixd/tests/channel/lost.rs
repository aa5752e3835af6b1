//! Requests and responses that get lost.

use crate::bench::{Bench, msats, order, received, request};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{Payment, PaymentHash, Wallet, WalletError};
use tithe_test_lightning::{Fault, LightningPair, RequestKind};

/// Long enough for a payment, and short enough to wait for in a test.
const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn whatever_is_lost_a_payment_is_made_once_and_its_outcome_is_found() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::with_timeout(pair.merchant(), TIMEOUT).await;
    let faults = [
        Fault::RequestLost,
        Fault::ResponseLost,
        Fault::RequestIgnored,
        Fault::ResponseWithheld,
        Fault::Refused(503),
        Fault::FailedAfterwards(502),
        Fault::FailedAfterwards(503),
        Fault::Garbled,
    ];
    let mut spent = 0;
    for (fault, amount) in faults.into_iter().zip((1_000..).step_by(1_000)) {
        let order = order(pair.customer(), amount);
        bench.api.faults().set_once(RequestKind::Send, fault);
        let outcome = bench.wallet.payment_send(&order).await;
        assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(Some(_)))), "{fault:?}: {outcome:?}");
        if !fault.carries_out() {
            let hash = order.request.payment_hash();
            let status = bench.wallet.payment_status(order.id, hash).await.unwrap();
            assert_eq!(status, Some(Payment::InFlight), "{fault:?}: it may still arrive");
            bench.clock.advance(Duration::from_mins(1));
            assert_eq!(bench.wallet.payment_status(order.id, hash).await.unwrap(), None, "{fault:?}");
            bench.wallet.payment_send(&order).await.unwrap();
        }
        let ended = bench.ended(&order).await;
        assert!(matches!(ended, Some(Payment::Succeeded { .. })), "{fault:?}: {ended:?}");
        // The payer has the preimage before the receiver has noted the payment.
        pair.settle().await.unwrap();
        assert_eq!(received(pair.customer(), &order), Some(msats(amount)), "{fault:?}");
        spent += amount;
    }
    pair.settle().await.unwrap();
    assert_eq!(bench.api.balance(), msats(4_000_000_000 - spent));
}

#[tokio::test]
async fn nothing_is_sent_without_a_look_up_before() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::with_timeout(pair.merchant(), TIMEOUT).await;
    bench.wallet.check().await.unwrap();
    for fault in [Fault::RequestLost, Fault::RequestIgnored, Fault::Refused(500), Fault::ResponseLost] {
        bench.api.faults().set(RequestKind::Read, fault);
        let outcome = bench.wallet.payment_send(&order(pair.customer(), 1_000)).await;
        assert!(matches!(outcome, Err(WalletError::Unavailable(Some(_)))), "{fault:?}: {outcome:?}");
    }
    bench.api.faults().set(RequestKind::Read, Fault::Garbled);
    let outcome = bench.wallet.payment_send(&order(pair.customer(), 1_000)).await;
    assert!(matches!(outcome, Err(WalletError::Nonsense(_))), "{outcome:?}");
    assert!(pair.merchant().outgoing_all().is_empty());
}

#[tokio::test]
async fn a_read_that_is_lost_is_unavailable_and_one_that_is_garbled_is_nonsense() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::with_timeout(pair.merchant(), TIMEOUT).await;
    bench.wallet.check().await.unwrap();
    let hash = PaymentHash::from_bytes([1; 32]);
    for (fault, unavailable) in [
        (Fault::RequestLost, true),
        (Fault::ResponseWithheld, true),
        (Fault::Refused(503), true),
        (Fault::Garbled, false),
        (Fault::Refused(404), false),
    ] {
        bench.api.faults().set_all(fault);
        let problems = [
            bench.wallet.balance().await.err(),
            bench.wallet.invoice_status(hash).await.err(),
            bench.wallet.payments_settled(Timestamp::UNIX_EPOCH).await.err(),
        ];
        for problem in problems {
            match problem {
                Some(WalletError::Unavailable(Some(_))) => assert!(unavailable, "{fault:?}"),
                Some(WalletError::Nonsense(_)) => assert!(!unavailable, "{fault:?}"),
                other => panic!("{fault:?}: {other:?}"),
            }
        }
    }
    bench.api.faults().clear();
    assert_eq!(bench.wallet.invoice_status(hash).await.unwrap(), None);
}

#[tokio::test]
async fn an_invoice_whose_response_is_lost_can_be_requested_again() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::with_timeout(pair.merchant(), TIMEOUT).await;
    for fault in [Fault::RequestLost, Fault::ResponseLost, Fault::FailedAfterwards(502)] {
        bench.api.faults().set_once(RequestKind::Invoice, fault);
        let lost = bench.wallet.invoice_create(&request(1, 7)).await;
        assert!(matches!(lost, Err(WalletError::OutcomeUnknown(Some(_)))), "{fault:?}: {lost:?}");
        let invoice = bench.invoice(1, 7).await;
        assert_eq!(invoice.amount(), Some(msats(7_000)));
    }
}
