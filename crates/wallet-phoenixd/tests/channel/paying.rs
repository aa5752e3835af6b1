//! Making payments.

use crate::bench::{Bench, difference, msats, order, received, settings, sum};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{Direction, Payment, PaymentOrder, Wallet, WalletError};
use tithe_money::Msats;
use tithe_test_lightning::{LightningLine, LightningPair, RoutingFee};
use tithe_wallet_phoenixd::{PhoenixdWallet, SendFee};

fn fee(payment: Option<Payment>) -> Msats {
    match payment {
        Some(Payment::Succeeded { fee, .. }) => fee,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_payment_costs_the_fee_that_was_worked_out_before_and_not_a_millisat_more() {
    let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
    let bench = Bench::over(line.merchant()).await;
    let mut cost = Msats::ZERO;
    let amounts = [1_000, 250_000, 123_456_789, 1_000_000_000];
    for amount in amounts {
        let order = order(line.customer(), amount);
        let payment = bench.wallet.payment_send(&order).await.unwrap();
        let Payment::Succeeded { preimage, fee } = payment else { panic!("{payment:?}") };
        assert_eq!(preimage.payment_hash(), order.request.payment_hash());
        let most = SendFee::default().most(msats(amount)).unwrap();
        assert!(fee <= most && difference(most, fee) <= msats(1), "{fee} of {most}");
        assert_eq!(received(line.customer(), &order), Some(msats(amount)));
        cost = sum(cost, sum(msats(amount), fee));
    }
    line.settle().await.unwrap();
    let left = difference(msats(4_000_000_000), cost);
    assert_eq!(bench.api.balance(), left);
    let rounded = left.to_sats_rounding_down().to_msats();
    assert_eq!(bench.wallet.balance().await.unwrap(), rounded, "phoenixd has whole sats only");
    // The list is exact.
    let list = bench.wallet.payments_settled(Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(list.iter().all(|payment| payment.direction == Direction::Outgoing));
    let mut listed: Vec<u64> = list.iter().map(|payment| payment.amount.get()).collect();
    listed.sort_unstable();
    assert_eq!(listed, amounts);
    let total = list.iter().fold(Msats::ZERO, |total, payment| sum(total, sum(payment.amount, payment.fee)));
    assert_eq!(total, cost);
}

#[tokio::test]
async fn a_payment_whose_fee_could_exceed_the_limit_is_not_even_tried() {
    let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
    let bench = Bench::over(line.merchant()).await;
    let affordable = order(line.customer(), 1_000_000);
    let limited = PaymentOrder { max_fee: difference(affordable.max_fee, msats(1)), ..affordable.clone() };
    assert!(matches!(bench.wallet.payment_send(&limited).await, Err(WalletError::Refused(_))));
    let hash = limited.request.payment_hash();
    assert_eq!(bench.wallet.payment_status(limited.id, hash).await.unwrap(), None);
    assert!(line.merchant().outgoing_all().is_empty());
    fee(Some(bench.wallet.payment_send(&affordable).await.unwrap()));
}

#[tokio::test]
async fn an_invoice_without_an_amount_is_paid_the_amount_of_the_order() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let request = pair.customer().create_invoice(None, "a refund", Duration::from_hours(1)).unwrap();
    let order = PaymentOrder { request, amount: Some(msats(77_000)), ..order(pair.customer(), 77_000) };
    fee(Some(bench.wallet.payment_send(&order).await.unwrap()));
    assert_eq!(received(pair.customer(), &order), Some(msats(77_000)));
    let list = bench.wallet.payments_settled(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(list.iter().map(|payment| payment.amount.get()).collect::<Vec<_>>(), [77_000]);
}

#[tokio::test]
async fn two_servers_that_send_the_same_payment_pay_once() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let other = bench.another();
    let order = order(pair.customer(), 500_000);
    let (first, second) = tokio::join!(bench.wallet.payment_send(&order), other.payment_send(&order));
    for outcome in [first, second] {
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Payment::Succeeded { .. } | Payment::InFlight), "{outcome:?}");
    }
    let ended = bench.ended(&order).await;
    assert_eq!(Some(bench.wallet.payment_send(&order).await.unwrap()), ended, "the same outcome again");
    assert_eq!(fee(ended), Msats::ZERO);
    pair.settle().await.unwrap();
    assert_eq!(bench.api.balance(), msats(4_000_000_000 - 500_000));
    assert_eq!(pair.merchant().outgoing_all().len(), 1);
}

#[tokio::test]
async fn a_payment_that_takes_too_long_is_in_flight_until_it_ends() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::with_timeout(pair.merchant(), Duration::from_secs(2)).await;
    for rejected in [false, true] {
        let order = order(pair.customer(), if rejected { 300_000 } else { 200_000 });
        let hash = order.request.payment_hash();
        pair.customer().hold();
        let outcome = bench.wallet.payment_send(&order).await;
        assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(_))), "{outcome:?}");
        pair.customer().held(hash).await.unwrap();
        assert_eq!(bench.wallet.payment_status(order.id, hash).await.unwrap(), Some(Payment::InFlight));
        assert_eq!(bench.wallet.payment_send(&order).await.unwrap(), Payment::InFlight);
        if rejected {
            pair.customer().reject_held();
            let ended = bench.ended(&order).await;
            assert!(matches!(ended, Some(Payment::Failed { .. })), "{ended:?}");
        } else {
            pair.customer().release();
            fee(bench.ended(&order).await);
        }
        assert_eq!(received(pair.customer(), &order).is_some(), !rejected);
    }
    pair.settle().await.unwrap();
    assert_eq!(bench.api.balance(), msats(4_000_000_000 - 200_000));
}

#[tokio::test]
async fn a_payment_beyond_the_balance_has_failed_and_can_be_made_when_there_is_enough() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let order = order(pair.customer(), 4_500_000_000);
    for _ in 0..2 {
        let outcome = bench.wallet.payment_send(&order).await.unwrap();
        let reason = "not enough funds in wallet to afford payment".to_owned();
        assert_eq!(outcome, Payment::Failed { reason });
    }
    let hash = order.request.payment_hash();
    let status = bench.wallet.payment_status(order.id, hash).await.unwrap();
    assert!(matches!(status, Some(Payment::Failed { .. })), "{status:?}");
    let invoice = bench.invoice(1, 1_000_000).await;
    crate::bench::pay(pair.customer(), &invoice).await;
    pair.settle().await.unwrap();
    fee(Some(bench.wallet.payment_send(&order).await.unwrap()));
}

#[tokio::test]
async fn the_password_for_limited_access_can_receive_and_not_pay() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let mut limited = settings(&bench.api, Duration::from_mins(1));
    limited.password = bench.api.limited_password().parse().unwrap();
    let wallet = PhoenixdWallet::new(&limited, bench.clock.clone()).unwrap();
    wallet.invoice_create(&crate::bench::request(1, 5)).await.unwrap();
    let outcome = wallet.payment_send(&order(pair.customer(), 1_000)).await;
    assert!(matches!(outcome, Err(WalletError::Refused(_))), "{outcome:?}");
    assert!(pair.merchant().outgoing_all().is_empty());
}
