//! Money that moves.

use crate::bench::{Bench, invoice, msats, order, wallet_of, within};
use futures_util::StreamExt;
use std::time::Duration;
use tithe_clock::{Clock, SystemClock};
use tithe_lightning::{Direction, InvoiceStatus, Payment, PaymentOrder, Wallet};
use tithe_test_lightning::{
    LightningLine, NostrRelay, NwcEncryption, NwcOptions, NwcService, PayTerms, RoutingFee,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_paid_and_notified_in_each_encryption() {
    let schemes = [NwcEncryption::Both, NwcEncryption::Nip44, NwcEncryption::Nip04, NwcEncryption::Untold];
    for encryption in schemes {
        let options = NwcOptions { encryption, ..NwcOptions::default() };
        let bench = Bench::with(2, options, Duration::from_secs(30)).await;
        let before = within(bench.wallet.balance()).await.unwrap();
        assert_eq!(before, bench.merchant().balance());
        let mut received = within(bench.wallet.payments_received()).await.unwrap();

        let invoice = invoice(&bench.wallet, 21).await;
        let hash = invoice.payment_hash();
        assert_eq!(within(bench.wallet.invoice_status(hash)).await.unwrap(), Some(InvoiceStatus::Pending));
        assert_eq!(
            within(bench.wallet.payment_status(order(bench.customer(), 1).id, hash)).await.unwrap(),
            None
        );

        let paid = within(bench.customer().pay(&invoice, PayTerms::default())).await.unwrap();
        let (preimage, _) = paid.succeeded().unwrap();
        let payment = within(received.next()).await.unwrap();
        assert_eq!((payment.payment_hash, payment.amount), (hash, msats(21_000)), "{encryption:?}");
        assert_eq!(payment.preimage, Some(preimage));
        let status = within(bench.wallet.invoice_status(hash)).await.unwrap();
        assert_eq!(status, Some(InvoiceStatus::Settled(payment)));
        within(bench.pair.settle()).await.unwrap();
        let after = within(bench.wallet.balance()).await.unwrap();
        assert_eq!(after.checked_sub(before).unwrap(), msats(21_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_paid_once_and_found_again() {
    let bench = Bench::new().await;
    let refund = bench.order(123_456);
    let payment = within(bench.wallet.payment_send(&refund)).await.unwrap();
    let Payment::Succeeded { preimage, fee } = &payment else { panic!("{payment:?}") };
    assert_eq!((preimage.payment_hash(), fee.get()), (refund.request.payment_hash(), 0));
    assert_eq!(within(bench.wallet.payment_send(&refund)).await.unwrap(), payment);
    assert_eq!(bench.ended(&refund).await, payment);
    within(bench.pair.settle()).await.unwrap();
    assert_eq!(bench.merchant().outgoing_all().len(), 1);

    let request = bench.customer().create_invoice(None, "any", Duration::from_hours(1)).unwrap();
    let open = PaymentOrder { request, amount: Some(msats(7_001)), ..refund };
    let payment = within(bench.wallet.payment_send(&open)).await.unwrap();
    assert!(matches!(payment, Payment::Succeeded { .. }), "{payment:?}");
    let hash = open.request.payment_hash();
    let received = within(bench.customer().received(hash)).await.unwrap().received.unwrap();
    assert_eq!(received.amount, msats(7_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_fee_is_booked_as_it_was_paid() {
    let line = within(LightningLine::start(RoutingFee::TRAMPOLINE)).await.unwrap();
    let relay = NostrRelay::start().await.unwrap();
    let service = NwcService::start(line.customer(), &[relay.url()]).await.unwrap();
    let wallet = wallet_of(&service, Duration::from_secs(30));
    let before = within(wallet.balance()).await.unwrap();
    let sending = order(line.merchant(), 1_000_000);
    let payment = within(wallet.payment_send(&sending)).await.unwrap();
    let Payment::Succeeded { fee, .. } = payment else { panic!("{payment:?}") };
    // 4 sats and 0.4 %.
    assert_eq!(fee, msats(8_000));
    within(line.settle()).await.unwrap();
    let after = within(wallet.balance()).await.unwrap();
    assert_eq!(before.checked_sub(after).unwrap(), msats(1_008_000));
    let settled = within(wallet.payments_settled(SystemClock.now() - Duration::from_mins(5))).await.unwrap();
    let [listed] = settled.as_slice() else { panic!("{settled:?}") };
    assert_eq!((listed.amount, listed.fee), (msats(1_000_000), fee));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_settled_payments_explains_the_balance() {
    let bench = Bench::new().await;
    let since = SystemClock.now() - Duration::from_secs(2);
    let before = within(bench.wallet.balance()).await.unwrap();
    for sats in 1..=23 {
        let invoice = invoice(&bench.wallet, sats).await;
        within(bench.customer().pay(&invoice, PayTerms::default())).await.unwrap();
    }
    for amount in [1_001, 2_002, 3_003] {
        let payment = within(bench.wallet.payment_send(&bench.order(amount))).await.unwrap();
        assert!(matches!(payment, Payment::Succeeded { .. }), "{payment:?}");
    }
    let _unpaid = invoice(&bench.wallet, 99).await;
    within(bench.pair.settle()).await.unwrap();
    let settled = within(bench.wallet.payments_settled(since)).await.unwrap();
    let sum = |direction| -> u64 {
        let of = settled.iter().filter(|payment| payment.direction == direction);
        of.map(|payment| payment.amount.get() + payment.fee.get()).sum()
    };
    assert_eq!(settled.len(), 26);
    assert_eq!((sum(Direction::Incoming), sum(Direction::Outgoing)), (276_000, 6_006));
    let after = within(bench.wallet.balance()).await.unwrap();
    assert_eq!(after.get() + 6_006, before.get() + 276_000);
    let later =
        within(bench.wallet.payments_settled(SystemClock.now() + Duration::from_mins(1))).await.unwrap();
    assert_eq!(later, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_wallet_has_is_not_paid() {
    let bench = Bench::new().await;
    let much = bench.order(5_000_000_000);
    let result = within(bench.wallet.payment_send(&much)).await;
    assert!(matches!(result, Ok(Payment::Failed { .. })), "{result:?}");
    assert!(matches!(bench.ended(&much).await, Payment::Failed { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_payee_holds_is_in_flight_until_it_ends() {
    for released in [true, false] {
        let bench = Bench::patient_for(Duration::from_secs(5)).await;
        bench.customer().hold();
        let refund = bench.order(50_000);
        let hash = refund.request.payment_hash();
        let result = within(bench.wallet.payment_send(&refund)).await;
        assert!(crate::bench::is_unknown(&result), "{result:?}");
        within(bench.customer().held(hash)).await.unwrap();
        let status = within(bench.wallet.payment_status(refund.id, hash)).await.unwrap();
        assert_eq!(status, Some(Payment::InFlight));
        assert_eq!(within(bench.wallet.payment_send(&refund)).await.unwrap(), Payment::InFlight);
        if released {
            bench.customer().release();
        } else {
            bench.customer().reject_held();
        }
        let ended = bench.ended(&refund).await;
        assert_eq!(matches!(ended, Payment::Succeeded { .. }), released, "{ended:?}");
        assert_eq!(matches!(ended, Payment::Failed { .. }), !released);
        assert_eq!(bench.merchant().outgoing_all().len(), 1);
    }
}
