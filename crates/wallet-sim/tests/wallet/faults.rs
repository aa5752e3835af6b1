use crate::bench::{Bench, foreign_invoice, fund, msats, order, request, settlement};
use std::time::Duration;
use tithe_lightning::{
    InvoiceStatus, Payment, PaymentHash, TestPayer, TestPaymentError, Wallet, WalletError,
};
use tithe_wallet_sim::{Fault, FaultRates, Operation, SimOptions};

#[tokio::test]
async fn a_failing_wallet_does_nothing() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();
    let before = bench.journal_lines();
    for operation in [Operation::InvoiceCreate, Operation::PaymentSend, Operation::TestPay] {
        wallet.faults().queue(operation, Fault::Fail);
    }
    assert!(matches!(wallet.invoice_create(&request(2, 1)).await, Err(WalletError::Unavailable(_))));
    assert!(matches!(wallet.payment_send(&order(1, &invoice)).await, Err(WalletError::Unavailable(_))));
    let paid = wallet.pay(&invoice).await;
    assert!(matches!(paid, Err(TestPaymentError::Wallet(WalletError::Unavailable(_)))));
    assert_eq!(bench.journal_lines(), before);
    // Each fault is used up.
    wallet.invoice_create(&request(2, 1)).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_belongs_to_work_that_was_done() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let faults = wallet.faults();

    faults.queue(Operation::InvoiceCreate, Fault::LoseAnswer);
    let lost = wallet.invoice_create(&request(1, 21)).await;
    assert!(matches!(lost, Err(WalletError::OutcomeUnknown(_))));
    let lines = bench.journal_lines();
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();
    assert_eq!(bench.journal_lines(), lines, "the invoice was made a second time");

    faults.queue(Operation::TestPay, Fault::LoseAnswer);
    let lost = wallet.pay(&invoice).await;
    assert!(matches!(lost, Err(TestPaymentError::Wallet(WalletError::OutcomeUnknown(_)))));
    settlement(&wallet, &invoice).await;

    faults.queue(Operation::PaymentSend, Fault::LoseAnswer);
    let order = order(1, &foreign_invoice(&bench, 1, 20).await);
    assert!(matches!(wallet.payment_send(&order).await, Err(WalletError::OutcomeUnknown(_))));
    let found = wallet.payment_status(order.id, order.request.payment_hash()).await.unwrap();
    assert!(matches!(found, Some(Payment::Succeeded { .. })));
    assert_eq!(wallet.balance().await.unwrap(), msats(100_000));
}

#[tokio::test(start_paused = true)]
async fn a_delay_delays_and_nothing_else() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    wallet.faults().queue(Operation::Balance, Fault::Delay(Duration::from_hours(1)));
    let start = tokio::time::Instant::now();
    assert_eq!(wallet.balance().await.unwrap(), msats(0));
    assert!(start.elapsed() >= Duration::from_hours(1));
}

#[tokio::test]
async fn every_question_can_fail_and_lose_its_answer() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let hash = PaymentHash::from_bytes([1; 32]);
    let id = order(1, &foreign_invoice(&bench, 1, 20).await).id;
    let all =
        [Operation::InvoiceStatus, Operation::Settlements, Operation::PaymentStatus, Operation::Balance];
    let ask = async || {
        [
            wallet.invoice_status(hash).await.map(drop),
            wallet.payments_received().await.map(drop),
            wallet.payment_status(id, hash).await.map(drop),
            wallet.balance().await.map(drop),
        ]
    };
    for operation in all {
        wallet.faults().queue(operation, Fault::Fail);
        wallet.faults().queue(operation, Fault::LoseAnswer);
    }
    assert!(ask().await.iter().all(|answer| matches!(answer, Err(WalletError::Unavailable(_)))));
    assert!(ask().await.iter().all(|answer| matches!(answer, Err(WalletError::OutcomeUnknown(_)))));
    assert!(ask().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn random_faults_never_lose_what_was_done() {
    let bench = Bench::new();
    let fault_rates: FaultRates = "lose=300,fail=300".parse().unwrap();
    let wallet = bench.try_open_with(SimOptions { fault_rates, ..SimOptions::default() }).await.unwrap();
    let (mut failed, mut lost) = (0, 0);
    for id in 1..=50 {
        let invoice = loop {
            match wallet.invoice_create(&request(id, 1)).await {
                Ok(invoice) => break invoice,
                Err(WalletError::Unavailable(_)) => failed += 1,
                Err(WalletError::OutcomeUnknown(_)) => lost += 1,
                Err(other) => panic!("{other}"),
            }
        };
        wallet.pay(&invoice).await.unwrap();
    }
    assert!(failed > 10 && lost > 10, "{failed} failed, {lost} lost");
    // One invoice and one payment each, however often it had to be asked for.
    assert_eq!(bench.journal_lines(), 100);
    assert_eq!(bench.open().await.balance().await.unwrap(), msats(50_000));
}

#[tokio::test]
async fn an_abandoned_call_is_still_carried_out_whole() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();
    for _ in 0..20 {
        // Dropped after one poll: the file work has begun, and nobody waits for it.
        let _ = futures_util::FutureExt::now_or_never(wallet.pay(&invoice));
    }
    // Comes after the abandoned ones, or is itself the one that pays.
    match wallet.pay(&invoice).await {
        Ok(_) | Err(TestPaymentError::AlreadyPaid(_)) => {}
        Err(other) => panic!("{other}"),
    }
    assert_eq!(bench.journal_lines(), 2);
    let status = bench.open().await.invoice_status(invoice.payment_hash()).await.unwrap();
    assert!(matches!(status, Some(InvoiceStatus::Settled(_))));
}
