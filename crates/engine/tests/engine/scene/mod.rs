//! A scene: what servers share (a store, a wallet, a backend, a price, the time), and the customer who pays.

mod addresses;
mod backend;
mod calls;
mod power;
mod prices;
mod provisioner;
mod server;
mod store;
mod time;
mod upstream;

pub use addresses::Addresses;
pub use backend::{Answer, Backend, Ends, Gate, Point};
pub use calls::{Call, CallFault, Port};
pub use power::{Op, When};
pub use prices::Prices;
pub use server::{BoughtNode, KEY_LEASE, Server, job_of, keyed};
pub use store::{AnyStore, StoreFaults};
pub use time::SceneClock;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tithe_clock::{Clock, ManualClock, SeededEntropy};
use tithe_engine::bootstraps::BootstrapPlan;
use tithe_engine::identities::RequestSignature;
use tithe_engine::inference::Route;
use tithe_engine::jobs::NewJobRequest;
use tithe_engine::store::{AuditRow, BatchStore, Store};
use tithe_engine::{Engine, Settings, audit};
use tithe_jobs::{Job, JobId, JobRepository, JobState, StateName, WorkPayment};
use tithe_ledger::{AccountId, Transfer, TransferKind};
use tithe_lightning::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tithe_lightning::{Bolt11, Invoice, InvoiceRepository, PaymentHash, PaymentOrder, Preimage, TestPayer};
use tithe_money::Sats;
use tithe_provisioner::{SimOptions as SimProvisionerOptions, SimProvisioner};
use tithe_store_suite::MemoryStore;
use tithe_store_suite::layered::Layered;
use tithe_trust::{NostrPubkey, SecretKey as IdentityKey};
use tithe_wallet_sim::{SimOptions, SimWallet};

/// How long a condition is waited for, in the time of the test's runtime.
const PATIENCE: Duration = Duration::from_mins(30);

/// The price of a node.
pub const NODE_SATS: u64 = 50_000;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The store of a scene.
pub type SceneStore = Layered<AnyStore>;

/// What servers share.
pub struct Scene {
    pub store: Arc<SceneStore>,
    /// The store of a scene on memory.
    pub memory: Arc<MemoryStore>,
    pub store_faults: Arc<StoreFaults>,
    pub wallet: Arc<SimWallet>,
    pub addresses: Arc<Addresses>,
    pub backend: Arc<Backend>,
    /// The operator's own machine, if there is one.
    pub hardware: Option<Arc<Backend>>,
    /// More backends, by name, and the routes over them.
    pub others: BTreeMap<String, Arc<Backend>>,
    pub routes: Vec<Route>,
    pub prices: Arc<Prices>,
    pub provisioner: Arc<SimProvisioner>,
    /// How often the service behind a mounted route has done what it was called for.
    pub service: Arc<AtomicU32>,
    pub clock: Arc<SceneClock>,
    pub settings: Settings,
    entropy: Arc<SeededEntropy>,
    folder: TempDir,
    finished: AtomicBool,
}

/// What moved for a job, in msats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    pub paid: u64,
    pub charged: u64,
    pub absorbed: u64,
    pub owed: u64,
    pub rounding: u64,
}

impl Scene {
    pub async fn open() -> Self {
        Self::open_rough("").await
    }

    /// A scene whose wallet goes wrong by itself at these rates.
    pub async fn open_rough(rates: &str) -> Self {
        Self::open_with(rates, SimOptions::default()).await
    }

    /// A scene whose wallet pays this routing fee for every payment.
    pub async fn open_with_routing_fee(sats: u64) -> Self {
        let options = SimOptions { routing_fee: Sats::new(sats).unwrap(), ..SimOptions::default() };
        Self::open_with("", options).await
    }

    /// A scene whose wallet keeps this of every payment that it receives.
    pub async fn open_with_liquidity_fee(sats: u64) -> Self {
        let options = SimOptions { liquidity_fee: Sats::new(sats).unwrap(), ..SimOptions::default() };
        Self::open_with("", options).await
    }

    /// From now on, new servers use this store.
    pub fn set_store(&mut self, store: Arc<dyn Store>) {
        self.store = Arc::new(Layered(AnyStore(store)));
    }

    async fn open_with(rates: &str, options: SimOptions) -> Self {
        let clock = Arc::new(SceneClock::start());
        let entropy = Arc::new(SeededEntropy::new(7));
        let folder = tempfile::tempdir().unwrap();
        let options = SimOptions { fault_rates: rates.parse().unwrap(), ..options };
        let wallet = SimWallet::open_with(folder.path(), options, clock.clone(), entropy.clone());
        let wallet = Arc::new(wallet.await.unwrap());
        let nodes = folder.path().join("nodes");
        let provisioner = SimProvisioner::open(nodes, SimProvisionerOptions::default()).unwrap();
        let price = Sats::new(NODE_SATS).unwrap();
        let plans = vec![BootstrapPlan { name: "small".to_owned(), price }];
        let memory = Arc::new(MemoryStore::new());
        Self {
            store: Arc::new(Layered(AnyStore(memory.clone()))),
            memory,
            store_faults: Arc::default(),
            addresses: Arc::new(Addresses::new(wallet.clone())),
            wallet,
            backend: Arc::default(),
            hardware: None,
            others: BTreeMap::new(),
            routes: Vec::new(),
            prices: Arc::new(Prices::new(clock.clone())),
            provisioner: Arc::new(provisioner),
            service: Arc::default(),
            settings: Settings { bootstrap_plans: plans, ..Settings::default() },
            finished: AtomicBool::new(false),
            clock,
            entropy,
            folder,
        }
    }

    /// A server on what is shared. Its background tasks are not started.
    pub fn server(&self) -> Server {
        Server::new(self, self.wallet.clone())
    }

    /// A server with a wallet client of its own, as in another process.
    pub async fn server_elsewhere(&self) -> Server {
        let wallet = SimWallet::open(self.folder.path(), self.clock.clone(), self.entropy.clone());
        Server::new(self, Arc::new(wallet.await.unwrap()))
    }

    /// As [`Scene::server_elsewhere`], with a wallet client that goes wrong by itself at these rates.
    pub async fn server_elsewhere_rough(&self, rates: &str) -> Server {
        let options = SimOptions { fault_rates: rates.parse().unwrap(), ..SimOptions::default() };
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let wallet = SimWallet::open_with(self.folder.path(), options, clock, entropy);
        Server::new(self, Arc::new(wallet.await.unwrap()))
    }

    /// An invoice of a node that the simulated wallet cannot reach.
    pub fn unreachable_invoice(&self, amount: Sats) -> Bolt11 {
        let secp = Secp256k1::new();
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        let created_at = Duration::from_micros(self.clock.now().unix_micros().try_into().unwrap());
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description("out of reach".to_owned())
            .payment_hash(sha256::Hash::hash(b"nobody knows the preimage"))
            .payment_secret(PaymentSecret([9; 32]))
            .duration_since_epoch(Duration::from_secs(created_at.as_secs()))
            .min_final_cltv_expiry_delta(80)
            .expiry_time(Duration::from_hours(1))
            .amount_milli_satoshis(amount.to_msats().get())
            .build_signed(|message| secp.sign_ecdsa_recoverable(message, &key))
            .unwrap();
        Bolt11::try_from(&invoice).unwrap()
    }

    /// A client of the same wallet for which it stays as early as it is now: it pays what has expired since.
    pub async fn wallet_whose_clock_stands(&self) -> SimWallet {
        let clock = Arc::new(ManualClock::at(self.clock.now()));
        SimWallet::open(self.folder.path(), clock, self.entropy.clone()).await.unwrap()
    }

    /// A server at work.
    pub fn started(&self) -> Server {
        let mut server = self.server();
        server.start();
        server
    }

    pub fn entropy(&self) -> Arc<SeededEntropy> {
        self.entropy.clone()
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().unwrap()
    }

    pub async fn state(&self, id: JobId) -> StateName {
        self.job(id).await.state.name()
    }

    pub async fn invoice(&self, hash: PaymentHash) -> Invoice {
        self.store.invoice(hash).await.unwrap().unwrap()
    }

    /// Waits until the job is as wanted.
    pub async fn until(&self, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        eventually("the job is as wanted", async || Some(self.job(id).await).filter(&wanted)).await
    }

    /// Waits until the job is in this state.
    pub async fn until_state(&self, id: JobId, name: StateName) -> Job {
        let job = self.until(id, |job| job.state.name() == name || job.state.name().is_terminal()).await;
        assert_eq!(job.state.name(), name, "{:?}", job.state);
        job
    }

    /// The customer pays an invoice, with their own wallet.
    pub async fn pay(&self, hash: PaymentHash) -> Preimage {
        let invoice = self.invoice(hash).await;
        self.wallet.pay(&invoice.payment_request.parse().unwrap()).await.unwrap()
    }

    pub async fn pay_evaluation(&self, id: JobId) {
        let job = self.until(id, |job| job.evaluation_invoice().is_some()).await;
        self.pay(job.evaluation_invoice().unwrap()).await;
    }

    pub async fn pay_work(&self, id: JobId) -> Job {
        let job = self.until_state(id, StateName::AwaitingWorkPayment).await;
        self.pay(job.state.work_invoice().unwrap()).await;
        job
    }

    /// The customer pays whatever is asked for until the job has ended.
    pub async fn pay_through(&self, id: JobId) -> Job {
        self.pay_evaluation(id).await;
        self.pay_through_work(id).await
    }

    /// The customer, who has paid the evaluation, pays for the work if asked to, and waits for the end.
    pub async fn pay_through_work(&self, id: JobId) -> Job {
        let asks = |job: &Job| job.state.name() == StateName::AwaitingWorkPayment;
        let job = self.until(id, |job| asks(job) || job.state.name().is_terminal()).await;
        if asks(&job) {
            self.pay(job.state.work_invoice().unwrap()).await;
        }
        self.until(id, |job| job.state.name().is_terminal()).await
    }

    pub async fn transfers(&self) -> Vec<Transfer> {
        let rows: Vec<_> = self.store.audit_rows().await.unwrap().collect().await;
        let transfer = |row| match row {
            Ok(AuditRow::Transfer(transfer)) => Some(transfer),
            _ => None,
        };
        rows.into_iter().filter_map(transfer).collect()
    }

    /// What moved for a job.
    pub async fn moved(&self, id: JobId) -> Moved {
        let mut moved = Moved::default();
        for transfer in self.transfers().await.iter().filter(|transfer| transfer.reference == id.0) {
            let amount = transfer.amount.get();
            match transfer.kind {
                TransferKind::JobPayment => moved.paid += amount,
                TransferKind::Charge | TransferKind::Tithe => moved.charged += amount,
                TransferKind::Grant => moved.absorbed += amount,
                TransferKind::RefundAccrued => moved.owed += amount,
                TransferKind::Rounding => moved.rounding += amount,
                // The operator's loss: the customer pays nothing of it.
                TransferKind::Uncollected | TransferKind::InstallCredit => {}
                // What becomes of a refund after it is owed, and what the wallet keeps.
                TransferKind::RefundPaid
                | TransferKind::FeeReserve
                | TransferKind::RoutingFee
                | TransferKind::LiquidityFee
                | TransferKind::RefundOverpaid
                | TransferKind::RefundCredited
                | TransferKind::RefundSettled
                | TransferKind::RefundForfeited => {}
                other => panic!("{other:?}"),
            }
        }
        moved
    }

    /// The end of every test: what the wallet received is all in the ledger, and the audit finds nothing.
    pub async fn finish(self) {
        self.finish_with_foreign_payments(&[]).await;
    }

    /// The end of a test in which the operator has sent payments by hand, with the same wallet.
    pub async fn finish_with_foreign_payments(self, foreign: &[&PaymentOrder]) {
        self.finished.store(true, Ordering::Relaxed);
        self.store_faults.mend();
        // A client without the faults of the scene's.
        let last = self.server_elsewhere().await;
        poll_all(&last.engine).await;
        let report = audit::audit(self.store.as_ref()).await.unwrap();
        assert_eq!(report.findings, []);
        let booked =
            report.balances.iter().find(|(id, _)| *id == AccountId::Wallet).map_or(0, |(_, sum)| -sum);
        let fee = SimOptions::default().routing_fee.to_msats().get();
        let spent: u64 = foreign.iter().map(|order| order.request.amount().unwrap().get() + fee).sum();
        let held = last.wallet_balance().await.get() + spent;
        assert_eq!(booked, i128::from(held), "the wallet and the ledger");
        let rows: Vec<_> = self.store.audit_rows().await.unwrap().collect().await;
        for row in rows {
            if let AuditRow::Job(job) = row.unwrap() {
                let moved = self.moved(job.id).await;
                assert!(moved.rounding < 1_000 * 3, "{moved:?}");
                let split = moved.charged + moved.owed + moved.rounding;
                assert!(!job.state.name().is_terminal() || moved.paid == split, "{moved:?} of {job:?}");
                if let JobState::Complete { work, completion, .. } = &job.state {
                    // I8: what the work costs is charged or absorbed, to the msat.
                    let due = completion.settlement.price.msats.min(work.full_amount.to_msats()).get();
                    let fee = job.evaluation_fee().to_msats().get();
                    assert_eq!(moved.charged + moved.absorbed, fee + due, "{moved:?} of {job:?}");
                }
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let finished = self.finished.load(Ordering::Relaxed);
        assert!(
            finished || std::thread::panicking(),
            "a test must finish its scene: that is where it is audited"
        );
    }
}

/// Somebody, by number.
pub fn somebody(n: u8) -> NostrPubkey {
    IdentityKey::from_bytes([n; 32]).unwrap().pubkey()
}

/// A request for a job.
pub fn asking(request: &str) -> NewJobRequest {
    NewJobRequest {
        request: request.to_owned(),
        model: None,
        max_output_tokens: None,
        payment: WorkPayment::Prepaid,
        identity: None,
        signature: RequestSignature(None),
        origin: None,
    }
}

/// Looks up all pending invoices, and those that expired recently.
pub async fn poll_all(engine: &Engine) {
    engine.payments.poll().await.unwrap();
    engine.payments.poll_late().await.unwrap();
}

/// Waits until there is something.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
