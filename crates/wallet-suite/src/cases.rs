//! The cases.

use crate::{HoldBench, PayerSees};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::uuid::Uuid;
use tithe_lightning::{
    Bolt11, Direction, HeldPayment, InvoiceId, InvoiceRequest, InvoiceStatus, PaymentHash, Preimage,
    ReceivedPayment, Wallet, WalletError,
};
use tithe_money::{Msats, Sats};

/// The limit of everything that a case waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a payment must be held at least: a server needs some minutes.
const HOLD_MIN: Duration = Duration::from_mins(10);

const PREIMAGE: Preimage = Preimage::from_bytes([7; 32]);

fn hash() -> PaymentHash {
    PREIMAGE.payment_hash()
}

fn request() -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(Uuid::from_u128(21)),
        amount: Sats::new(21_000).unwrap(),
        description: "work that is paid for when it is done".to_owned(),
        expiry: Duration::from_mins(10),
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("did not happen in time: {what}"))
}

async fn status(wallet: &dyn Wallet) -> InvoiceStatus {
    let found = within("a look-up", wallet.invoice_status(hash())).await.unwrap();
    found.unwrap_or_else(|| panic!("the wallet does not know its invoice"))
}

async fn balance(wallet: &dyn Wallet) -> Msats {
    within("a look at the balance", wallet.balance()).await.unwrap()
}

async fn invoice(bench: &impl HoldBench) -> Bolt11 {
    within("an invoice", bench.wallet().hold_invoice_create(&request(), hash())).await.unwrap()
}

/// An invoice, and its payment, which is held.
async fn held(bench: &impl HoldBench) -> (Bolt11, HeldPayment) {
    let invoice = invoice(bench).await;
    bench.pay(&invoice).await;
    let held = within("the payment is held", async {
        loop {
            if let InvoiceStatus::Held(held) = status(&*bench.wallet()).await {
                return held;
            }
            tokio::task::yield_now().await;
        }
    });
    (invoice, held.await)
}

/// What the payer knows at the end.
async fn outcome(bench: &impl HoldBench, invoice: &Bolt11) -> PayerSees {
    within("the payment ends", async {
        loop {
            match bench.payer_sees(invoice).await {
                PayerSees::Waiting => tokio::task::yield_now().await,
                end => return end,
            }
        }
    })
    .await
}

async fn settle(wallet: &dyn Wallet) -> Result<(), WalletError> {
    within("the settlement", wallet.hold_invoice_settle(PREIMAGE)).await
}

async fn cancel(wallet: &dyn Wallet) -> Result<(), WalletError> {
    within("the cancellation", wallet.hold_invoice_cancel(hash())).await
}

fn is_refused<T>(result: &Result<T, WalletError>) -> bool {
    matches!(result, Err(WalletError::Refused(_)))
}

fn received(status: InvoiceStatus) -> ReceivedPayment {
    match status {
        InvoiceStatus::Settled(received) => received,
        other => panic!("expected a settled invoice, got {other:?}"),
    }
}

/// The wallet received nothing, and the payer has what they had.
async fn nothing_was_paid(bench: &impl HoldBench, before: Msats, payer_before: Option<Msats>) {
    let wallet = bench.wallet();
    assert!(!matches!(status(&*wallet).await, InvoiceStatus::Settled(_) | InvoiceStatus::Held(_)));
    assert_eq!(balance(&*wallet).await, before);
    within("the payer has the money back", async {
        while bench.payer_balance() != payer_before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let settled = within("a list", wallet.payments_settled(Timestamp::UNIX_EPOCH)).await.unwrap();
    assert!(settled.iter().all(|payment| payment.payment_hash != hash()));
}

/// The wallet received the amount, once.
async fn paid_once(bench: &impl HoldBench, before: Msats) {
    let wallet = bench.wallet();
    let amount = request().amount.to_msats();
    let payment = received(status(&*wallet).await);
    assert_eq!((payment.payment_hash, payment.amount), (hash(), amount));
    assert_eq!(payment.preimage, Some(PREIMAGE));
    assert_eq!(balance(&*wallet).await, before.checked_add(amount).unwrap());
    let settled = within("a list", wallet.payments_settled(Timestamp::UNIX_EPOCH)).await.unwrap();
    let incoming =
        settled.iter().filter(|it| it.direction == Direction::Incoming && it.payment_hash == hash());
    assert_eq!(incoming.map(|it| it.amount).collect::<Vec<_>>(), [amount]);
}

pub async fn the_invoice_is_the_one_that_was_asked_for(bench: &impl HoldBench) {
    let (wallet, request) = (bench.wallet(), request());
    let invoice = invoice(bench).await;
    assert!(wallet.capabilities().hold_invoices);
    assert_eq!(invoice.payment_hash(), hash());
    assert_eq!(invoice.amount(), Some(request.amount.to_msats()));
    assert!(invoice.expires_at() + Duration::from_secs(1) >= bench.now() + request.expiry / 2);
    assert_eq!(status(&*wallet).await, InvoiceStatus::Pending);
    let again = within("the same invoice", bench.other_server().hold_invoice_create(&request, hash())).await;
    assert_eq!(again.unwrap(), invoice);
    let another = InvoiceRequest { amount: Sats::new(22_000).unwrap(), ..request };
    let another = within("a refusal", wallet.hold_invoice_create(&another, hash())).await;
    assert!(is_refused(&another), "{another:?}");
}

pub async fn a_payment_is_held_and_told_to_whoever_listens(bench: &impl HoldBench) {
    let (wallet, other) = (bench.wallet(), bench.other_server());
    let mut here = within("a subscription", wallet.payments_held()).await.unwrap();
    let mut there = within("a subscription", other.payments_held()).await.unwrap();
    let (before, payer_before) = (balance(&*wallet).await, bench.payer_balance());
    let (invoice, held) = held(bench).await;
    assert_eq!((held.payment_hash, held.amount), (hash(), request().amount.to_msats()));
    assert!(held.held_until.unwrap() >= bench.now() + HOLD_MIN, "{held:?}");
    for stream in [&mut here, &mut there] {
        let told = within("the payment is told", stream.next()).await.unwrap();
        assert_eq!((told.payment_hash, told.amount), (held.payment_hash, held.amount));
    }
    // Nobody has the money, and nothing is lost.
    assert_eq!(balance(&*wallet).await, before);
    assert_eq!(bench.payer_balance(), payer_before);
    assert_eq!(bench.payer_sees(&invoice).await, PayerSees::Waiting);
    assert!(matches!(status(&*other).await, InvoiceStatus::Held(_)));
}

pub async fn a_settled_payment_gives_the_payer_the_preimage(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let before = balance(&*wallet).await;
    let mut told = within("a subscription", wallet.payments_received()).await.unwrap();
    let (invoice, _) = held(bench).await;
    settle(&*wallet).await.unwrap();
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Paid(PREIMAGE));
    let told = within("the payment is told", told.next()).await.unwrap();
    assert_eq!((told.payment_hash, told.preimage), (hash(), Some(PREIMAGE)));
    paid_once(bench, before).await;
}

pub async fn a_cancelled_payment_goes_back(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let (before, payer_before) = (balance(&*wallet).await, bench.payer_balance());
    let (invoice, _) = held(bench).await;
    cancel(&*wallet).await.unwrap();
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Returned);
    assert_eq!(status(&*wallet).await, InvoiceStatus::Expired);
    nothing_was_paid(bench, before, payer_before).await;
}

pub async fn settling_again_takes_nothing_more(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let before = balance(&*wallet).await;
    let _ = held(bench).await;
    for server in [bench.wallet(), bench.wallet(), bench.other_server()] {
        settle(&*server).await.unwrap();
    }
    paid_once(bench, before).await;
}

pub async fn cancelling_again_changes_nothing(bench: &impl HoldBench) {
    let (before, payer_before) = (balance(&*bench.wallet()).await, bench.payer_balance());
    let (invoice, _) = held(bench).await;
    for server in [bench.wallet(), bench.wallet(), bench.other_server()] {
        cancel(&*server).await.unwrap();
    }
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Returned);
    nothing_was_paid(bench, before, payer_before).await;
}

pub async fn a_settled_payment_cannot_be_cancelled(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let before = balance(&*wallet).await;
    let (invoice, _) = held(bench).await;
    settle(&*wallet).await.unwrap();
    for server in [wallet, bench.other_server()] {
        let cancelled = cancel(&*server).await;
        assert!(is_refused(&cancelled), "{cancelled:?}");
    }
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Paid(PREIMAGE));
    paid_once(bench, before).await;
}

pub async fn a_cancelled_payment_cannot_be_settled(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let (before, payer_before) = (balance(&*wallet).await, bench.payer_balance());
    let (invoice, _) = held(bench).await;
    cancel(&*wallet).await.unwrap();
    for server in [wallet, bench.other_server()] {
        let settled = settle(&*server).await;
        assert!(is_refused(&settled), "{settled:?}");
    }
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Returned);
    nothing_was_paid(bench, before, payer_before).await;
}

pub async fn what_is_not_held_cannot_be_settled(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let before = balance(&*wallet).await;
    let (settled, cancelled) = (settle(&*wallet).await, cancel(&*wallet).await);
    assert!(is_refused(&settled), "of an unknown invoice: {settled:?}");
    assert!(is_refused(&cancelled), "of an unknown invoice: {cancelled:?}");
    let _ = invoice(bench).await;
    let settled = settle(&*wallet).await;
    assert!(is_refused(&settled), "of an unpaid invoice: {settled:?}");
    // The refusal was of no consequence.
    let _ = held(bench).await;
    settle(&*wallet).await.unwrap();
    paid_once(bench, before).await;
}

pub async fn an_invoice_that_nobody_paid_is_cancelled_or_stays_payable(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let (before, payer_before) = (balance(&*wallet).await, bench.payer_balance());
    let invoice = invoice(bench).await;
    match cancel(&*wallet).await {
        Ok(()) => {
            bench.pay(&invoice).await;
            assert_eq!(outcome(bench, &invoice).await, PayerSees::Returned);
        }
        Err(WalletError::Unavailable(_)) => {
            assert_eq!(status(&*wallet).await, InvoiceStatus::Pending);
            let _ = held(bench).await;
            cancel(&*wallet).await.unwrap();
        }
        Err(other) => panic!("{other:?}"),
    }
    nothing_was_paid(bench, before, payer_before).await;
}

pub async fn a_payment_that_nobody_settles_goes_back_and_cannot_be_settled(bench: &impl HoldBench) {
    let wallet = bench.wallet();
    let (before, payer_before) = (balance(&*wallet).await, bench.payer_balance());
    let (invoice, _) = held(bench).await;
    bench.let_time_run_out(hash()).await;
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Returned);
    let settled = settle(&*wallet).await;
    assert!(is_refused(&settled), "{settled:?}");
    nothing_was_paid(bench, before, payer_before).await;
    cancel(&*wallet).await.unwrap();
    nothing_was_paid(bench, before, payer_before).await;
}

pub async fn two_servers_that_settle_at_once_take_one_payment(bench: &impl HoldBench) {
    let before = balance(&*bench.wallet()).await;
    let (invoice, _) = held(bench).await;
    let servers = (0..8).map(|n| if n % 2 == 0 { bench.wallet() } else { bench.other_server() });
    let settling = servers.map(|server| async move { settle(&*server).await });
    for settled in futures_util::future::join_all(settling).await {
        settled.unwrap();
    }
    assert_eq!(outcome(bench, &invoice).await, PayerSees::Paid(PREIMAGE));
    paid_once(bench, before).await;
}

pub async fn of_a_settlement_and_a_cancellation_at_once_one_wins(bench: &impl HoldBench) {
    let (wallet, other): (Arc<dyn Wallet>, _) = (bench.wallet(), bench.other_server());
    let (before, payer_before) = (balance(&*wallet).await, bench.payer_balance());
    let (invoice, _) = held(bench).await;
    let (settled, cancelled) = tokio::join!(settle(&*wallet), cancel(&*other));
    assert!(settled.is_err() || cancelled.is_err(), "both say that they were first");
    if outcome(bench, &invoice).await == PayerSees::Paid(PREIMAGE) {
        assert!(cancelled.is_err(), "{settled:?}");
        // Whoever lost learns it by asking again.
        settle(&*wallet).await.unwrap();
        assert!(is_refused(&cancel(&*other).await));
        paid_once(bench, before).await;
    } else {
        assert!(settled.is_err(), "{cancelled:?}");
        cancel(&*other).await.unwrap();
        assert!(is_refused(&settle(&*wallet).await));
        nothing_was_paid(bench, before, payer_before).await;
    }
}
