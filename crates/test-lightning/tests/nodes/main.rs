//! Payments between real nodes, to the millisat.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tithe_lightning::{Bolt11, ExpectedInvoice, Network, Preimage};
use tithe_money::{Msats, Sats};
use tithe_test_lightning::{
    ChannelShares, FailureReason, HoldError, HoldState, LightningLine, LightningNode, LightningPair,
    OutgoingState, PayError, PayTerms, PaymentEvent, RoutingFee, total_balance,
};

const HOUR: Duration = Duration::from_hours(1);

fn msats(msats: u64) -> Msats {
    Msats::new(msats).unwrap()
}

fn invoice(node: &LightningNode, amount: u64) -> Bolt11 {
    node.create_invoice(Some(msats(amount)), "a test", HOUR).unwrap()
}

async fn pay(from: &LightningNode, to: &LightningNode, amount: u64) -> Msats {
    let invoice = invoice(to, amount);
    let paid = from.pay(&invoice, PayTerms::default()).await.unwrap();
    let (preimage, fee) = paid.succeeded().unwrap();
    assert_eq!(preimage.payment_hash(), invoice.payment_hash());
    let received = to.received(invoice.payment_hash()).await.unwrap();
    assert_eq!(received.preimage, Some(preimage));
    assert_eq!(received.received.unwrap().amount, msats(amount));
    fee
}

#[tokio::test]
async fn a_pair_starts_with_the_shares_that_were_asked_for() {
    let started = Instant::now();
    let pair = LightningPair::start().await.unwrap();
    println!("a pair starts in {:?}", started.elapsed());
    assert_eq!(pair.customer().balance(), msats(6_000_000_000));
    assert_eq!(pair.merchant().balance(), msats(4_000_000_000));
    assert_eq!((pair.merchant().name(), pair.customer().name()), ("merchant", "customer"));
    assert_ne!(pair.merchant().id(), pair.customer().id());
    assert!(pair.merchant().channels().iter().all(|channel| channel.usable));
}

#[tokio::test]
async fn payments_both_ways_move_the_balances_to_the_millisat() {
    let pair = LightningPair::start().await.unwrap();
    assert_eq!(pay(pair.customer(), pair.merchant(), 21_001).await, Msats::ZERO);
    assert_eq!(pair.customer().balance(), msats(5_999_978_999));
    assert_eq!(pair.merchant().balance(), msats(4_000_021_001));
    // Dust and no dust, and amounts of any number of millisats.
    assert_eq!(pay(pair.merchant(), pair.customer(), 1_234_567_891).await, Msats::ZERO);
    assert_eq!(pay(pair.merchant(), pair.customer(), 1).await, Msats::ZERO);
    assert_eq!(pair.customer().balance(), msats(7_234_546_891));
    assert_eq!(pair.merchant().balance(), msats(2_765_453_109));
    pair.settle().await.unwrap();
    assert_eq!(total_balance(&[pair.merchant(), pair.customer()]), msats(10_000_000_000));
}

#[tokio::test]
async fn an_invoice_says_what_was_asked_for() {
    let pair = LightningPair::start().await.unwrap();
    let invoice = invoice(pair.merchant(), 21_000);
    let expected = ExpectedInvoice {
        network: Network::Regtest,
        amount: msats(21_000),
        payment_hash: None,
        expires_after: invoice.created_at() + HOUR,
    };
    invoice.check(&expected).unwrap();
    let own = pair.merchant().incoming(invoice.payment_hash()).unwrap();
    assert_eq!(own.description.as_deref(), Some("a test"));
    assert_eq!(own.preimage.unwrap().payment_hash(), invoice.payment_hash());
    assert_eq!(own.received, None);
}

#[tokio::test]
async fn the_payer_chooses_the_amount_of_an_invoice_without_one() {
    let pair = LightningPair::start().await.unwrap();
    let open = pair.merchant().create_invoice(None, "any amount", HOUR).unwrap();
    let refused = pair.customer().pay(&open, PayTerms::default()).await;
    assert_eq!(refused.unwrap_err(), PayError::AmountMissing);
    let terms = PayTerms { amount: Some(msats(777)), max_fee: None };
    pair.customer().pay(&open, terms).await.unwrap().succeeded().unwrap();
    let received = pair.merchant().received(open.payment_hash()).await.unwrap();
    assert_eq!(received.received.unwrap().amount, msats(777));
}

#[tokio::test]
async fn many_payments_at_once_all_arrive() {
    let pair = LightningPair::start().await.unwrap();
    let started = Instant::now();
    let payments = (1..=40).map(|n| pay(pair.customer(), pair.merchant(), n * 1_003));
    futures_util::future::join_all(payments).await;
    println!("40 payments at once take {:?}", started.elapsed());
    pair.settle().await.unwrap();
    assert_eq!(pair.merchant().balance(), msats(4_000_000_000 + 820 * 1_003));
    assert_eq!(pair.customer().balance(), msats(6_000_000_000 - 820 * 1_003));
}

/// A payment that is under way is counted once, by its payer or by its receiver.
#[tokio::test]
async fn balances_only_grow_or_only_shrink_while_one_side_pays() {
    let pair = LightningPair::start().await.unwrap();
    let (merchant, customer) = (pair.merchant().clone(), pair.customer().clone());
    let done = Arc::new(AtomicBool::new(false));
    let watching = Arc::clone(&done);
    let watcher = std::thread::spawn(move || {
        let (mut least, mut most) = (merchant.balance(), customer.balance());
        let mut steps = 0;
        while !watching.load(Ordering::SeqCst) {
            let (received, left) = (merchant.balance(), customer.balance());
            assert!(received >= least && left <= most, "{received} after {least}, {left} after {most}");
            steps += u32::from(received > least);
            (least, most) = (received, left);
        }
        steps
    });
    let payments = (1..=30).map(|n| pay(pair.customer(), pair.merchant(), n * 500_001));
    futures_util::future::join_all(payments).await;
    done.store(true, Ordering::SeqCst);
    assert!(watcher.join().unwrap() > 0, "nothing was seen to change");
    // Both sides are exact although the last payments may still be on their way through the channel.
    assert_eq!(pair.merchant().balance(), msats(4_000_000_000 + 465 * 500_001));
    assert_eq!(pair.customer().balance(), msats(6_000_000_000 - 465 * 500_001));
}

#[tokio::test]
async fn an_invoice_is_paid_once() {
    let pair = LightningPair::start().await.unwrap();
    let invoice = invoice(pair.merchant(), 5_000);
    pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    let again = pair.customer().pay(&invoice, PayTerms::default()).await;
    assert_eq!(again.unwrap_err(), PayError::AlreadyPaid);
}

#[tokio::test]
async fn more_than_the_balance_is_not_sent() {
    let pair = LightningPair::start().await.unwrap();
    let invoice = invoice(pair.merchant(), 7_000_000_000);
    let failed = pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    assert!(
        matches!(failed.state, OutgoingState::Failed { reason: FailureReason::InsufficientBalance, .. }),
        "{failed:?}"
    );
    assert_eq!(pair.customer().balance(), msats(6_000_000_000));
}

#[tokio::test]
async fn a_held_payment_is_in_flight_until_it_is_released_or_rejected() {
    let pair = LightningPair::start().await.unwrap();
    let (released, rejected) = (invoice(pair.merchant(), 5_000), invoice(pair.merchant(), 6_000));
    let mut events = pair.customer().events();

    pair.merchant().hold();
    let id = pair.customer().pay_start(&released, PayTerms::default()).unwrap();
    pair.merchant().held(released.payment_hash()).await.unwrap();
    let status = pair.customer().payment_status(released.payment_hash()).unwrap();
    assert_eq!(status.state, OutgoingState::InFlight);
    assert_eq!(pair.customer().balance(), msats(6_000_000_000), "it may still come back");
    assert_eq!(pair.merchant().balance(), msats(4_000_000_000));
    let twice = pair.customer().pay_start(&released, PayTerms::default());
    assert_eq!(twice.unwrap_err(), PayError::InProgress);
    pair.merchant().release();
    pair.customer().paid(id).await.unwrap().succeeded().unwrap();
    assert_eq!(events.recv().await.unwrap(), PaymentEvent::Sent(id));
    assert_eq!(pair.customer().balance(), msats(5_999_995_000));

    pair.merchant().hold();
    let id = pair.customer().pay_start(&rejected, PayTerms::default()).unwrap();
    pair.merchant().held(rejected.payment_hash()).await.unwrap();
    pair.merchant().reject_held();
    let failed = pair.customer().paid(id).await.unwrap();
    assert!(
        matches!(failed.state, OutgoingState::Failed { reason: FailureReason::Rejected, .. }),
        "{failed:?}"
    );
    assert_eq!(events.recv().await.unwrap(), PaymentEvent::Failed(id));
    pair.settle().await.unwrap();
    assert_eq!(pair.customer().balance(), msats(5_999_995_000));
    // After a failure, the same invoice can be paid.
    pair.customer().pay(&rejected, PayTerms::default()).await.unwrap().succeeded().unwrap();
}

#[tokio::test]
async fn nothing_is_paid_while_the_nodes_are_disconnected() {
    let pair = LightningPair::start().await.unwrap();
    pair.customer().disconnect(pair.merchant()).await.unwrap();
    let invoice = invoice(pair.merchant(), 5_000);
    let failed = pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    assert!(
        matches!(failed.state, OutgoingState::Failed { reason: FailureReason::NoRoute, .. }),
        "{failed:?}"
    );
    pair.customer().connect(pair.merchant()).await.unwrap();
    pair.customer().pay(&invoice, PayTerms::default()).await.unwrap().succeeded().unwrap();
}

#[tokio::test]
async fn an_expired_invoice_is_not_paid() {
    let pair = LightningPair::start().await.unwrap();
    let invoice = pair.merchant().create_invoice(Some(msats(5_000)), "late", Duration::ZERO).unwrap();
    while tithe_clock::Clock::now(&tithe_clock::SystemClock) < invoice.expires_at() + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let failed = pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    assert!(
        matches!(failed.state, OutgoingState::Failed { reason: FailureReason::Expired, .. }),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_share_below_the_reserve_is_refused() {
    let sats = |sats| Sats::new(sats).unwrap();
    let shares = ChannelShares { customer_side: sats(1_000_000), merchant_side: sats(100) };
    let error = LightningPair::start_with(shares).await.unwrap_err();
    assert!(error.to_string().contains("reserve"), "{error}");
}

#[tokio::test]
async fn the_router_of_a_line_keeps_its_fee() {
    let started = Instant::now();
    let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
    println!("a line starts in {:?}", started.elapsed());
    let (customer, router, merchant) = (line.customer(), line.router(), line.merchant());
    let before = (customer.balance(), router.balance(), merchant.balance());
    assert_eq!(pay(customer, merchant, 100_250).await, msats(4_401));
    assert_eq!(pay(merchant, customer, 50_000).await, msats(4_200));
    line.settle().await.unwrap();
    assert_eq!(customer.balance().get(), before.0.get() - 100_250 - 4_401 + 50_000);
    assert_eq!(router.balance().get(), before.1.get() + 4_401 + 4_200);
    assert_eq!(merchant.balance().get(), before.2.get() + 100_250 - 50_000 - 4_200);
}

#[tokio::test]
async fn a_payment_never_costs_more_than_the_limit() {
    let line = LightningLine::start(RoutingFee { base_msats: 1_000, millionths: 0 }).await.unwrap();
    let invoice = invoice(line.merchant(), 10_000);
    let limited = |max_fee| PayTerms { amount: None, max_fee: Some(msats(max_fee)) };
    let failed = line.customer().pay(&invoice, limited(999)).await.unwrap();
    assert!(
        matches!(failed.state, OutgoingState::Failed { reason: FailureReason::NoRoute, .. }),
        "{failed:?}"
    );
    let (_, fee) = line.customer().pay(&invoice, limited(1_000)).await.unwrap().succeeded().unwrap();
    assert_eq!(fee, msats(1_000));
}

fn hold_invoice(node: &LightningNode, preimage: Preimage, final_delta: Option<u16>) -> Bolt11 {
    let hash = preimage.payment_hash();
    node.create_hold_invoice(Some(msats(21_001)), "work", HOUR, hash, final_delta).unwrap()
}

#[tokio::test]
async fn a_hold_invoice_is_settled_with_the_preimage_of_its_maker() {
    let pair = LightningPair::start().await.unwrap();
    let preimage = Preimage::from_bytes([7; 32]);
    let hash = preimage.payment_hash();
    let mut events = pair.merchant().events();
    let invoice = hold_invoice(pair.merchant(), preimage, None);
    assert_eq!(invoice.payment_hash(), hash);
    assert_eq!(pair.merchant().settle_hold(preimage).await, Err(HoldError::NotHeld));
    let id = pair.customer().pay_start(&invoice, PayTerms::default()).unwrap();
    pair.merchant().arrived(hash).await.unwrap();
    assert_eq!(events.recv().await.unwrap(), PaymentEvent::Held(hash));
    let hold = pair.merchant().incoming(hash).unwrap().hold.unwrap();
    assert_eq!(hold.state, HoldState::Held);
    assert!(hold.claim_deadline.unwrap() > pair.merchant().block_height() + 30);
    assert_eq!(pair.merchant().balance(), msats(4_000_000_000));
    pair.merchant().settle_hold(preimage).await.unwrap();
    assert_eq!(pair.merchant().settle_hold(preimage).await, Err(HoldError::NotHeld));
    assert_eq!(pair.merchant().cancel_hold(hash), Err(HoldError::NotHeld));
    let (proof, _) = pair.customer().paid(id).await.unwrap().succeeded().unwrap();
    assert_eq!(proof, preimage);
    pair.settle().await.unwrap();
    assert_eq!(pair.merchant().balance(), msats(4_000_021_001));
    assert_eq!(pair.customer().balance(), msats(5_999_978_999));
}

#[tokio::test]
async fn a_cancelled_hold_invoice_cannot_be_paid_again() {
    let pair = LightningPair::start().await.unwrap();
    let preimage = Preimage::from_bytes([7; 32]);
    let hash = preimage.payment_hash();
    let invoice = hold_invoice(pair.merchant(), preimage, None);
    let id = pair.customer().pay_start(&invoice, PayTerms::default()).unwrap();
    pair.merchant().arrived(hash).await.unwrap();
    pair.merchant().cancel_hold(hash).unwrap();
    let first = pair.customer().paid(id).await.unwrap();
    let again = pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    for failed in [first, again] {
        assert!(
            matches!(failed.state, OutgoingState::Failed { reason: FailureReason::Rejected, .. }),
            "{failed:?}"
        );
    }
    assert_eq!(pair.merchant().settle_hold(preimage).await, Err(HoldError::NotHeld));
    pair.settle().await.unwrap();
    assert_eq!(pair.customer().balance(), msats(6_000_000_000));
}

#[tokio::test]
async fn a_held_payment_goes_back_at_its_deadline() {
    let pair = LightningPair::start().await.unwrap();
    let preimage = Preimage::from_bytes([7; 32]);
    let hash = preimage.payment_hash();
    let invoice = hold_invoice(pair.merchant(), preimage, Some(60));
    let id = pair.customer().pay_start(&invoice, PayTerms::default()).unwrap();
    pair.merchant().arrived(hash).await.unwrap();
    let deadline = pair.merchant().incoming(hash).unwrap().hold.unwrap().claim_deadline.unwrap();
    let left = usize::try_from(deadline - pair.merchant().block_height()).unwrap();
    pair.chain().mine(left - 1);
    assert_eq!(pair.customer().outgoing(id).unwrap().state, OutgoingState::InFlight);
    assert_eq!(pair.merchant().incoming(hash).unwrap().hold.unwrap().state, HoldState::Held);
    pair.chain().mine(1);
    let failed = pair.customer().paid(id).await.unwrap();
    assert!(matches!(failed.state, OutgoingState::Failed { .. }), "{failed:?}");
    assert_eq!(pair.merchant().settle_hold(preimage).await, Err(HoldError::NotHeld));
    pair.settle().await.unwrap();
    assert_eq!(pair.customer().balance(), msats(6_000_000_000));
    assert_eq!(pair.merchant().incoming(hash).unwrap().hold.unwrap().state, HoldState::TimedOut);
    assert!(pair.customer().channels().iter().all(|channel| channel.usable), "no channel was closed");
}
