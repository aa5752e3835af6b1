//! A folder, a clock and what every test asks for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tithe_clock::{ManualClock, SeededEntropy, Timestamp};
use tithe_lightning::{
    Bolt11, InvoiceId, InvoiceRequest, InvoiceStatus, PaymentId, PaymentOrder, ReceivedPayment, TestPayer,
    Wallet,
};
use tithe_money::{Msats, Sats};
use tithe_wallet_sim::{SimError, SimOptions, SimWallet};
use uuid::Uuid;

pub(crate) struct Bench {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    seed: AtomicU64,
}

impl Bench {
    pub fn new() -> Self {
        let start = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(start)),
            seed: AtomicU64::new(0),
        }
    }

    pub async fn try_open(&self) -> Result<SimWallet, SimError> {
        self.try_open_with(SimOptions::default()).await
    }

    pub async fn try_open_with(&self, options: SimOptions) -> Result<SimWallet, SimError> {
        let seed = self.seed.fetch_add(1, Ordering::SeqCst);
        let entropy = Arc::new(SeededEntropy::new(seed));
        SimWallet::open_with(self.folder.path(), options, self.clock.clone(), entropy).await
    }

    pub async fn open(&self) -> SimWallet {
        self.try_open().await.unwrap()
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    pub fn journal_lines(&self) -> usize {
        std::fs::read_to_string(self.journal()).unwrap().lines().count()
    }
}

pub(crate) fn msats(msats: u64) -> Msats {
    Msats::new(msats).unwrap()
}

pub(crate) fn request(id: u128, sats: u64) -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(Uuid::from_u128(id)),
        amount: Sats::new(sats).unwrap(),
        description: "a test".to_owned(),
        expiry: Duration::from_mins(10),
    }
}

pub(crate) fn order(id: u128, request: &Bolt11) -> PaymentOrder {
    PaymentOrder {
        id: PaymentId(Uuid::from_u128(id)),
        request: request.clone(),
        amount: None,
        max_fee: msats(10_000),
    }
}

/// The settlement of a paid invoice.
pub(crate) async fn settlement(wallet: &SimWallet, invoice: &Bolt11) -> ReceivedPayment {
    match wallet.invoice_status(invoice.payment_hash()).await.unwrap() {
        Some(InvoiceStatus::Settled(settlement)) => settlement,
        other => panic!("expected a settled invoice, found {other:?}"),
    }
}

/// Puts money into the wallet.
pub(crate) async fn fund(wallet: &SimWallet, sats: u64) {
    let invoice = wallet.invoice_create(&request(u128::MAX, sats)).await.unwrap();
    wallet.pay(&invoice).await.unwrap();
}

/// An invoice of a wallet in another folder.
pub(crate) async fn foreign_invoice(bench: &Bench, id: u128, sats: u64) -> Bolt11 {
    let elsewhere = Bench::new();
    let entropy = Arc::new(SeededEntropy::new(u64::MAX - u64::try_from(id).unwrap()));
    let wallet = SimWallet::open(elsewhere.folder.path(), bench.clock.clone(), entropy).await.unwrap();
    wallet.invoice_create(&request(id, sats)).await.unwrap()
}
