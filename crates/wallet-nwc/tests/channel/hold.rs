//! Hold invoices over a real channel.

use crate::bench::{Bench, wallet_of, within};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, SystemClock, Timestamp};
use tithe_lightning::{
    Bolt11, InvoiceId, InvoiceRequest, InvoiceStatus, PaymentHash, Preimage, Wallet, WalletError, uuid,
};
use tithe_money::{Msats, Sats};
use tithe_test_lightning::{HoldState, NwcFault, NwcOptions, OutgoingState, PayTerms};
use tithe_wallet_nwc::NwcWallet;
use tithe_wallet_suite::{HoldBench, PayerSees};

struct ChannelBench {
    bench: Bench,
    other: NwcWallet,
}

async fn two_servers() -> ChannelBench {
    let bench = Bench::new().await;
    let other = wallet_of(&bench.service, Duration::from_secs(30));
    ChannelBench { bench, other }
}

#[async_trait]
impl HoldBench for ChannelBench {
    fn wallet(&self) -> Arc<dyn Wallet> {
        Arc::new(self.bench.wallet.clone())
    }

    fn other_server(&self) -> Arc<dyn Wallet> {
        Arc::new(self.other.clone())
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pay(&self, invoice: &Bolt11) {
        self.bench.customer().pay_start(invoice, PayTerms::default()).unwrap();
    }

    async fn payer_sees(&self, invoice: &Bolt11) -> PayerSees {
        payer_sees(&self.bench, invoice)
    }

    fn payer_balance(&self) -> Option<Msats> {
        Some(self.bench.customer().balance())
    }

    async fn let_time_run_out(&self, payment_hash: PaymentHash) {
        let hold = self.bench.merchant().incoming(payment_hash).unwrap().hold.unwrap();
        let left = hold.claim_deadline.unwrap() - self.bench.merchant().block_height();
        self.bench.pair.chain().mine(left.try_into().unwrap());
    }
}

fn payer_sees(bench: &Bench, invoice: &Bolt11) -> PayerSees {
    match bench.customer().payment_status(invoice.payment_hash()).unwrap().state {
        OutgoingState::InFlight => PayerSees::Waiting,
        OutgoingState::Succeeded { preimage, .. } => PayerSees::Paid(preimage),
        OutgoingState::Failed { .. } => PayerSees::Returned,
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

fn request(expiry: Duration) -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(uuid::Uuid::from_u128(1)),
        amount: Sats::new(21).unwrap(),
        description: "work".to_owned(),
        expiry,
    }
}

async fn held(bench: &Bench) -> Bolt11 {
    let request = request(Duration::from_mins(10));
    let invoice = within(bench.wallet.hold_invoice_create(&request, hash())).await.unwrap();
    bench.customer().pay_start(&invoice, PayTerms::default()).unwrap();
    within(bench.merchant().arrived(hash())).await.unwrap();
    invoice
}

async fn settle(bench: &Bench) -> Result<(), WalletError> {
    within(bench.wallet.hold_invoice_settle(preimage())).await
}

async fn cancel(bench: &Bench) -> Result<(), WalletError> {
    within(bench.wallet.hold_invoice_cancel(hash())).await
}

/// Waits for the end of the customer's payment.
async fn outcome(bench: &Bench, invoice: &Bolt11) -> PayerSees {
    let payment = bench.customer().payment_status(invoice.payment_hash()).unwrap();
    within(bench.customer().paid(payment.id)).await.unwrap();
    payer_sees(bench, invoice)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_the_work_was_done_is_not_believed() {
    for code in ["INTERNAL", "NOT_FOUND", "OTHER", "RATE_LIMITED", "RESTRICTED"] {
        let bench = Bench::new().await;
        let invoice = held(&bench).await;
        bench.service.faults().set_once("settle_hold_invoice", NwcFault::ErrorAfterwards(code));
        settle(&bench).await.unwrap();
        assert_eq!(outcome(&bench, &invoice).await, PayerSees::Paid(preimage()), "{code}");

        let bench = Bench::new().await;
        let invoice = held(&bench).await;
        bench.service.faults().set_once("cancel_hold_invoice", NwcFault::ErrorAfterwards(code));
        cancel(&bench).await.unwrap();
        assert_eq!(outcome(&bench, &invoice).await, PayerSees::Returned, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_the_work_is_done_is_no_refusal_unless_it_says_so() {
    let bench = Bench::new().await;
    let invoice = held(&bench).await;
    let faults = bench.service.faults();
    for (code, expected) in [
        ("INTERNAL", "unknown"),
        ("NOT_FOUND", "unknown"),
        ("RATE_LIMITED", "unavailable"),
        ("NOT_IMPLEMENTED", "refused"),
        ("RESTRICTED", "refused"),
    ] {
        faults.set_once("settle_hold_invoice", NwcFault::Error(code));
        faults.set_once("cancel_hold_invoice", NwcFault::Error(code));
        for result in [settle(&bench).await, cancel(&bench).await] {
            let found = match &result {
                Err(WalletError::Refused(_)) => "refused",
                Err(WalletError::Unavailable(_)) => "unavailable",
                Err(WalletError::OutcomeUnknown(_)) => "unknown",
                other => panic!("{code}: {other:?}"),
            };
            assert_eq!(found, expected, "{code}");
        }
    }
    assert_eq!(payer_sees(&bench, &invoice), PayerSees::Waiting);
    settle(&bench).await.unwrap();
    assert_eq!(outcome(&bench, &invoice).await, PayerSees::Paid(preimage()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_is_looked_up() {
    let bench = Bench::patient_for(Duration::from_secs(3)).await;
    let invoice = held(&bench).await;
    bench.service.faults().set_once("settle_hold_invoice", NwcFault::ResponseSwallowed);
    settle(&bench).await.unwrap();
    assert_eq!(outcome(&bench, &invoice).await, PayerSees::Paid(preimage()));

    let bench = Bench::patient_for(Duration::from_secs(3)).await;
    let invoice = held(&bench).await;
    for fault in [NwcFault::RequestIgnored, NwcFault::Error("INTERNAL")] {
        bench.service.faults().set_once("settle_hold_invoice", fault);
        let settled = settle(&bench).await;
        assert!(matches!(settled, Err(WalletError::OutcomeUnknown(_))), "{settled:?}");
    }
    bench.service.faults().set_once("cancel_hold_invoice", NwcFault::Undecryptable);
    cancel(&bench).await.unwrap();
    assert_eq!(outcome(&bench, &invoice).await, PayerSees::Returned);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_whose_response_was_lost_is_found_when_it_is_asked_for_again() {
    let bench = Bench::patient_for(Duration::from_secs(3)).await;
    let request = request(Duration::from_mins(10));
    bench.service.faults().set_once("make_hold_invoice", NwcFault::ResponseSwallowed);
    let lost = within(bench.wallet.hold_invoice_create(&request, hash())).await;
    assert!(matches!(lost, Err(WalletError::OutcomeUnknown(_))), "{lost:?}");
    let made = bench.merchant().incoming(hash()).unwrap().invoice;
    let found = within(bench.wallet.hold_invoice_create(&request, hash())).await.unwrap();
    assert_eq!(found, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_cannot_be_reached_has_done_nothing() {
    let bench = Bench::patient_for(Duration::from_secs(3)).await;
    let invoice = held(&bench).await;
    bench.relay().stop().await.unwrap();
    for result in [settle(&bench).await, cancel(&bench).await] {
        assert!(matches!(result, Err(WalletError::Unavailable(_))), "{result:?}");
    }
    bench.relay().start_again().await.unwrap();
    bench.service.connected(1).await.unwrap();
    assert_eq!(payer_sees(&bench, &invoice), PayerSees::Waiting);
    settle(&bench).await.unwrap();
    assert_eq!(outcome(&bench, &invoice).await, PayerSees::Paid(preimage()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_without_hold_invoices_says_so() {
    let options = NwcOptions { without_hold_invoices: true, ..NwcOptions::default() };
    let bench = Bench::with(1, options, Duration::from_secs(30)).await;
    within(bench.wallet.balance()).await.unwrap();
    assert!(!bench.wallet.capabilities().hold_invoices);
    let made = within(bench.wallet.hold_invoice_create(&request(Duration::from_mins(10)), hash())).await;
    assert!(matches!(made, Err(WalletError::Refused(_))), "{made:?}");

    let bench = Bench::new().await;
    assert!(!bench.wallet.capabilities().hold_invoices, "nothing is known yet");
    within(bench.wallet.balance()).await.unwrap();
    assert!(bench.wallet.capabilities().hold_invoices);
}

/// Alby Hub calls everything expired that is not settled by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_held_beyond_the_expiry_of_its_invoice_is_not_lost() {
    let bench = Bench::new().await;
    // Rounded to whole seconds, in which it can be paid.
    let request = request(Duration::from_secs(3));
    let invoice = within(bench.wallet.hold_invoice_create(&request, hash())).await.unwrap();
    bench.customer().pay_start(&invoice, PayTerms::default()).unwrap();
    within(bench.merchant().arrived(hash())).await.unwrap();
    let expired = async {
        loop {
            match bench.wallet.invoice_status(hash()).await.unwrap().unwrap() {
                InvoiceStatus::Held(_) => {}
                status => return status,
            }
        }
    };
    assert_eq!(within(expired).await, InvoiceStatus::Pending, "it may be held, and it is");
    assert!(SystemClock.now() >= invoice.expires_at());
    settle(&bench).await.unwrap();
    assert_eq!(outcome(&bench, &invoice).await, PayerSees::Paid(preimage()));
    let status = within(bench.wallet.invoice_status(hash())).await.unwrap();
    assert!(matches!(status, Some(InvoiceStatus::Settled(_))), "{status:?}");
    let hold = bench.merchant().incoming(hash()).unwrap().hold.unwrap();
    assert_eq!(hold.state, HoldState::Settling);
}
