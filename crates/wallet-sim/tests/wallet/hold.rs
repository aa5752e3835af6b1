//! Hold invoices.

use crate::bench::{Bench, fund, msats, order, request};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Timestamp};
use tithe_lightning::{
    Bolt11, InvoiceStatus, Payment, PaymentHash, Preimage, TestPayer, TestPaymentError, Wallet, WalletError,
};
use tithe_money::Msats;
use tithe_wallet_sim::{Fault, Operation, SimWallet};
use tithe_wallet_suite::{HoldBench, PayerSees};

/// More than a payment is held.
const HOLD_TIME: Duration = Duration::from_hours(2);

struct SimBench {
    bench: Bench,
    servers: [Arc<SimWallet>; 2],
}

async fn two_servers() -> SimBench {
    let bench = Bench::new();
    let servers = [Arc::new(bench.open().await), Arc::new(bench.open().await)];
    SimBench { bench, servers }
}

#[async_trait]
impl HoldBench for SimBench {
    fn wallet(&self) -> Arc<dyn Wallet> {
        self.servers[0].clone()
    }

    fn other_server(&self) -> Arc<dyn Wallet> {
        self.servers[1].clone()
    }

    fn now(&self) -> Timestamp {
        self.bench.clock.now()
    }

    async fn pay(&self, invoice: &Bolt11) {
        self.servers[1].pay(invoice).await.unwrap_err();
    }

    async fn payer_sees(&self, invoice: &Bolt11) -> PayerSees {
        match self.servers[0].pay(invoice).await {
            Ok(preimage) => PayerSees::Paid(preimage),
            Err(TestPaymentError::Held(_)) => PayerSees::Waiting,
            Err(TestPaymentError::Returned(_) | TestPaymentError::Expired(_)) => PayerSees::Returned,
            Err(other) => panic!("{other}"),
        }
    }

    fn payer_balance(&self) -> Option<Msats> {
        None
    }

    async fn let_time_run_out(&self, _: PaymentHash) {
        self.bench.clock.advance(HOLD_TIME);
    }
}

mod conformance {
    tithe_wallet_suite::hold_suite!(super::two_servers);
}

fn preimage() -> Preimage {
    Preimage::from_bytes([9; 32])
}

fn hash() -> PaymentHash {
    preimage().payment_hash()
}

async fn held(wallet: &SimWallet) -> Bolt11 {
    let invoice = wallet.hold_invoice_create(&request(1, 21), hash()).await.unwrap();
    assert!(matches!(wallet.pay(&invoice).await, Err(TestPaymentError::Held(_))));
    invoice
}

#[tokio::test]
async fn a_restart_forgets_no_held_payment() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let invoice = held(&wallet).await;
    let before = wallet.invoice_status(hash()).await.unwrap();
    drop(wallet);
    let wallet = bench.open().await;
    assert_eq!(wallet.invoice_status(hash()).await.unwrap(), before);
    wallet.hold_invoice_settle(preimage()).await.unwrap();
    drop(wallet);
    let wallet = bench.open().await;
    assert_eq!(wallet.pay(&invoice).await.unwrap(), preimage());
    assert_eq!(wallet.balance().await.unwrap(), msats(21_000));
    assert!(matches!(wallet.hold_invoice_cancel(hash()).await, Err(WalletError::Refused(_))));
}

#[tokio::test]
async fn a_settlement_whose_answer_is_lost_is_found_by_looking() {
    let wallet = Bench::new().open().await;
    let _ = held(&wallet).await;
    wallet.faults().queue(Operation::HoldInvoiceSettle, Fault::LoseAnswer);
    let settled = wallet.hold_invoice_settle(preimage()).await;
    assert!(matches!(settled, Err(WalletError::OutcomeUnknown(_))));
    let status = wallet.invoice_status(hash()).await.unwrap();
    assert!(matches!(status, Some(InvoiceStatus::Settled(_))), "{status:?}");
    wallet.hold_invoice_settle(preimage()).await.unwrap();
}

#[tokio::test]
async fn a_cancellation_that_fails_leaves_the_payment_held() {
    let wallet = Bench::new().open().await;
    let _ = held(&wallet).await;
    wallet.faults().queue(Operation::HoldInvoiceCancel, Fault::Fail);
    let cancelled = wallet.hold_invoice_cancel(hash()).await;
    assert!(matches!(cancelled, Err(WalletError::Unavailable(_))));
    assert!(matches!(wallet.invoice_status(hash()).await.unwrap(), Some(InvoiceStatus::Held(_))));
}

#[tokio::test]
async fn nobody_can_guess_the_preimage_of_a_hold_invoice() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let invoice = wallet.hold_invoice_create(&request(1, 21), hash()).await.unwrap();
    let elsewhere = Bench::new().open().await;
    for wallet in [&elsewhere, &wallet] {
        fund(wallet, 100).await;
        let payment = wallet.payment_send(&order(1, &invoice)).await.unwrap();
        assert!(matches!(payment, Payment::Failed { .. }), "{payment:?}");
    }
    let journal = std::fs::read_to_string(bench.journal()).unwrap();
    assert!(!journal.contains(&preimage().reveal()));
}

#[tokio::test]
async fn the_two_kinds_of_invoices_do_not_mix() {
    let wallet = Bench::new().open().await;
    let ordinary = wallet.invoice_create(&request(1, 21)).await.unwrap();
    let proof = wallet.pay(&ordinary).await.unwrap();
    // The same id, and the same request.
    let hold = wallet.hold_invoice_create(&request(1, 21), hash()).await.unwrap();
    assert_eq!(wallet.invoice_create(&request(1, 21)).await.unwrap(), ordinary);
    assert_ne!(hold.payment_hash(), ordinary.payment_hash());
    for refused in [
        wallet.hold_invoice_create(&request(1, 21), ordinary.payment_hash()).await.map(drop),
        wallet.hold_invoice_settle(proof).await,
        wallet.hold_invoice_cancel(ordinary.payment_hash()).await,
    ] {
        assert!(matches!(refused, Err(WalletError::Refused(_))), "{refused:?}");
    }
    let _ = wallet.pay(&hold).await;
    assert!(matches!(wallet.expire(hash()).await, Err(WalletError::Refused(_))));
}

#[tokio::test]
async fn a_hash_that_was_used_is_not_used_again() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let _ = held(&wallet).await;
    wallet.hold_invoice_cancel(hash()).await.unwrap();
    let again = wallet.hold_invoice_create(&request(1, 21), hash()).await;
    assert!(matches!(again, Err(WalletError::Refused(_))), "{again:?}");
}
