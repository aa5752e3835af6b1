//! One server of a scene: an engine whose every step into the world can be stopped.

use super::addresses::Addresses;
use super::backend::Shared;
use super::calls::{Call, Port};
use super::power::{Op, Power};
use super::provisioner::PoweredProvisioner;
use super::store::{ServerLayer, key};
use super::upstream::PoweredUpstream;
use super::{Scene, asking};
use async_trait::async_trait;
use futures_util::StreamExt;
use std::convert::identity;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tithe_bootstrap::BootstrapId;
use tithe_clock::Timestamp;
use tithe_engine::bootstraps::{CreatedBootstrap, NewBootstrapRequest};
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::identities::RequestSignature;
use tithe_engine::inference::{
    ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError, Routes,
};
use tithe_engine::jobs::{CreatedJob, NewJobRequest};
use tithe_engine::mounts::Mount;
use tithe_engine::records::{IdempotencyRequest, KeyOrigin, StoredResponse};
use tithe_engine::sessions::{CreatedSession, NewSessionRequest};
use tithe_engine::store::Store;
use tithe_engine::{Engine, EngineError, Hardware, Ports, Running};
use tithe_jobs::JobId;
use tithe_lightning::{
    Bolt11, Direction, HeldPayments, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId,
    PaymentOrder, Preimage, ReceivedPayments, Wallet, WalletCapabilities, WalletError, WalletPayment,
};
use tithe_money::{Msats, Sats};
use tithe_payouts::{AddressError, AddressResolver, LightningAddress};
use tithe_pricing::Catalogue;
use tithe_sessions::SessionId;
use tithe_store_suite::layered::Layered;
use tithe_trust::{NostrPubkey, Secret, Secrets};
use tithe_wallet_sim::{Faults, SimWallet};

/// How long a keyed request may run.
pub const KEY_LEASE: Duration = Duration::from_secs(30);

pub struct Server {
    pub engine: Arc<Engine>,
    pub power: Arc<Power>,
    wallet: Arc<SimWallet>,
    lookups: Arc<AtomicU32>,
    by_hash: Arc<AtomicBool>,
    lies: Arc<AtomicBool>,
    /// A mounted route.
    pub mount: Arc<Mount>,
    running: Option<Running>,
}

impl Server {
    pub fn new(scene: &Scene, wallet: Arc<SimWallet>) -> Self {
        let power = Arc::new(Power::default());
        let lookups = Arc::<AtomicU32>::default();
        let by_hash = Arc::<AtomicBool>::default();
        let lies = Arc::<AtomicBool>::default();
        let layer = ServerLayer {
            inner: scene.store.clone(),
            faults: scene.store_faults.clone(),
            power: power.clone(),
        };
        let inference: Arc<dyn Inference> =
            Arc::new(PoweredInference { inner: Shared(scene.backend.clone()), power: power.clone() });
        let others = scene.others.iter().map(|(name, backend)| {
            let inner = Shared(backend.clone());
            let backend: Arc<dyn Inference> = Arc::new(PoweredInference { inner, power: power.clone() });
            (name.clone(), backend)
        });
        let catalogue = Catalogue::built_in();
        let routes = Routes::new(&inference, &others.collect(), &scene.routes, &catalogue).unwrap();
        let ports = Ports {
            store: Arc::new(Layered(layer)),
            wallet: Arc::new(PoweredWallet {
                inner: wallet.clone(),
                power: power.clone(),
                payouts: scene.store.clone(),
                lookups: lookups.clone(),
                by_hash: by_hash.clone(),
                lies: lies.clone(),
            }),
            inference,
            routes,
            hardware: scene.hardware.clone().map(|backend| Hardware {
                inference: Arc::new(PoweredInference { inner: Shared(backend), power: power.clone() }),
                model: "sim-hardware".to_owned(),
            }),
            prices: scene.prices.clone(),
            clock: scene.clock.clone(),
            entropy: scene.entropy(),
            catalogue: Arc::new(catalogue),
            addresses: Arc::new(PoweredAddresses { inner: scene.addresses.clone(), power: power.clone() }),
            webhooks: Arc::new(tithe_engine::sessions::NoWebhooks),
            provisioner: Arc::new(PoweredProvisioner {
                inner: scene.provisioner.clone(),
                power: power.clone(),
            }),
        };
        let secrets = Secrets::new(Secret::new("a secret of the test's").unwrap(), vec![]);
        let engine = Arc::new(Engine::new(ports, scene.settings.clone(), &secrets).unwrap());
        let mount = Arc::new(PoweredUpstream::mount(power.clone(), scene.service.clone()));
        Self { engine, power, wallet, lookups, by_hash, lies, mount, running: None }
    }

    pub fn start(&mut self) {
        assert!(self.running.is_none());
        self.running = Some(self.engine.start());
    }

    pub async fn stop(&mut self, patience: Duration) {
        self.running.take().unwrap().stop(patience).await;
    }

    /// How often this server has looked an invoice up at the wallet.
    pub fn lookups(&self) -> u32 {
        self.lookups.load(Ordering::SeqCst)
    }

    pub fn wallet_faults(&self) -> &Faults {
        self.wallet.faults()
    }

    pub async fn wallet_balance(&self) -> Msats {
        self.wallet.balance().await.unwrap()
    }

    /// A job, and the id that its answer says.
    pub async fn create(&self, request: &str) -> JobId {
        job_of(&self.engine.jobs.create(asking(request), None, &render).await.unwrap())
    }

    /// A job, and its claim token.
    pub async fn create_claimable(&self, request: &str) -> (JobId, String) {
        let created = self.engine.jobs.create(asking(request), None, &render).await.unwrap();
        let token = created.response.body.split(' ').nth(2).unwrap().to_owned();
        (job_of(&created), token)
    }

    /// A session that is to be refunded to a Lightning address.
    pub async fn session_with_return(&self, address: &str, sats: u64) -> OpenedSession {
        let new = NewSessionRequest {
            deposit: Sats::new(sats).unwrap(),
            identity: None,
            webhook: None,
            return_to: Some(address.parse().unwrap()),
            signature: RequestSignature(None),
            origin: None,
        };
        let created = self.engine.sessions.create(new, None, &render_session).await.unwrap();
        let mut words = created.response.body.split(' ');
        let mut word = || words.next().unwrap();
        OpenedSession { id: word().parse().unwrap(), invoice: word().parse().unwrap() }
    }

    /// Waits until a session is active.
    pub async fn session_active(&self, id: SessionId) {
        let active = || async {
            let view = self.engine.sessions.view(id).await.unwrap();
            (view.state == tithe_sessions::StateName::Active).then_some(())
        };
        super::eventually("the session is active", active).await;
    }

    /// From now on the wallet knows payments by their hash alone, as real wallets do.
    pub fn any_payment_is_known_by_its_hash(&self) {
        self.by_hash.store(true, Ordering::SeqCst);
    }

    /// The wallet makes the next payment and says that it has failed.
    pub fn next_payment_is_called_failed(&self) {
        self.lies.store(true, Ordering::SeqCst);
    }

    /// A job of an identity.
    pub async fn create_as(&self, who: NostrPubkey, request: &str) -> JobId {
        let new = NewJobRequest { identity: Some(who), ..asking(request) };
        job_of(&self.engine.jobs.create(new, None, &render).await.unwrap())
    }

    /// Buys a node under a key.
    pub async fn buy_node(&self, name: &str) -> Result<BoughtNode, EngineError> {
        let new = NewBootstrapRequest {
            plan: None,
            ssh_public_key: None,
            identity: None,
            signature: RequestSignature(None),
            origin: None,
        };
        let bought = self.engine.bootstraps.create(new, Some(keyed("node", name)), &render_node).await?;
        let mut words = bought.response.body.split(' ');
        let mut word = || words.next().unwrap();
        Ok(BoughtNode {
            id: word().parse().unwrap(),
            invoice: word().parse().unwrap(),
            claim_token: word().to_owned(),
        })
    }

    /// Asks for a job under a key.
    pub async fn create_keyed(&self, request: &str, name: &str) -> Result<KeyedResponse, EngineError> {
        self.create_with(asking(request), Some(keyed(request, name))).await
    }

    pub async fn create_with(
        &self,
        new: NewJobRequest,
        idempotency: Option<IdempotencyRequest>,
    ) -> Result<KeyedResponse, EngineError> {
        self.engine.jobs.create(new, idempotency, &render).await
    }
}

/// A session that was created.
pub struct OpenedSession {
    pub id: SessionId,
    pub invoice: PaymentHash,
}

fn render_session(created: &CreatedSession) -> StoredResponse {
    StoredResponse { status: 201, body: format!("{} {}", created.session.id, created.invoice.payment_hash) }
}

/// A node that was bought.
pub struct BoughtNode {
    pub id: BootstrapId,
    pub invoice: PaymentHash,
    pub claim_token: String,
}

fn render_node(created: &CreatedBootstrap) -> StoredResponse {
    let CreatedBootstrap { bootstrap, invoice, claim_token, .. } = created;
    StoredResponse { status: 201, body: format!("{} {} {claim_token}", bootstrap.id, invoice.payment_hash) }
}

/// A request's key, with a fingerprint of what it asks.
pub fn keyed(request: &str, name: &str) -> IdempotencyRequest {
    let mut fingerprint = [0; 32];
    fingerprint.iter_mut().zip(request.bytes()).for_each(|(to, from)| *to = from);
    IdempotencyRequest {
        id: key(name),
        fingerprint,
        keep: Duration::from_hours(24),
        lease: KEY_LEASE,
        origin: KeyOrigin::Client,
    }
}

pub fn job_of(answered: &KeyedResponse) -> JobId {
    answered.response.body.split(' ').next().unwrap().parse().unwrap()
}

fn render(created: &CreatedJob) -> StoredResponse {
    let body = format!("{} {} {}", created.job.id, created.invoice.payment_hash, created.claim_token);
    StoredResponse { status: 201, body }
}

/// A call of the wallet.
const fn wallet(name: &'static str) -> Call {
    Call { port: Port::Wallet, name }
}

/// A call of a backend.
const fn backend(name: &'static str) -> Call {
    Call { port: Port::Backend, name }
}

struct PoweredInference {
    inner: Shared,
    power: Arc<Power>,
}

#[async_trait]
impl Inference for PoweredInference {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.power.call(Op::Evaluate, backend("complete"), identity, self.inner.complete(request)).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let work = self.inner.stream(request);
        let stream = self.power.call(Op::Work, backend("stream"), identity, work).await?;
        let power = self.power.clone();
        Ok(futures_util::stream::unfold(stream, move |mut stream| {
            let power = power.clone();
            async move {
                let next = async { stream.next().await.transpose() };
                // A lie is that the answer has ended.
                let event = power.call(Op::Delta, backend("event"), |_| Ok(None), next).await;
                Some((event.transpose()?, stream))
            }
        })
        .boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        self.power.call(Op::Work, backend("embed"), identity, self.inner.embed(request)).await
    }
}

struct PoweredAddresses {
    inner: Arc<Addresses>,
    power: Arc<Power>,
}

#[async_trait]
impl AddressResolver for PoweredAddresses {
    fn check(&self, address: &LightningAddress) -> Result<(), AddressError> {
        self.inner.check(address)
    }

    async fn invoice(&self, address: &LightningAddress, amount: Sats) -> Result<Bolt11, AddressError> {
        let call = Call { port: Port::Address, name: "invoice" };
        self.power.call(Op::Resolve, call, identity, self.inner.invoice(address, amount)).await
    }
}

struct PoweredWallet {
    payouts: Arc<dyn Store>,
    lookups: Arc<AtomicU32>,
    by_hash: Arc<AtomicBool>,
    lies: Arc<AtomicBool>,
    inner: Arc<SimWallet>,
    power: Arc<Power>,
}

#[async_trait]
impl Wallet for PoweredWallet {
    fn network(&self) -> Network {
        self.inner.network()
    }

    fn capabilities(&self) -> WalletCapabilities {
        self.inner.capabilities()
    }

    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError> {
        let call = wallet("invoice_create");
        self.power.call(Op::Mint, call, identity, self.inner.invoice_create(request)).await
    }

    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let call = wallet("invoice_status");
        let unpaid = |_| Ok(Some(InvoiceStatus::Pending));
        self.power.call(Op::Other, call, unpaid, self.inner.invoice_status(payment_hash)).await
    }

    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError> {
        let call = wallet("payments_received");
        self.power.call(Op::Other, call, identity, self.inner.payments_received()).await
    }

    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        let failed = |_| Ok(Payment::Failed { reason: "says the wallet".to_owned() });
        let call = wallet("payment_send");
        let sent = self.power.call(Op::Send, call, failed, self.inner.payment_send(order)).await?;
        if self.lies.swap(false, Ordering::SeqCst) {
            return Ok(Payment::Failed { reason: "says the wallet".to_owned() });
        }
        Ok(sent)
    }

    async fn payment_status(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        let call = wallet("payment_status");
        let work = self.inner.payment_status(id, payment_hash);
        let known = self.power.call(Op::PaymentLook, call, |_| Ok(None), work).await?;
        if known.is_some() || !self.by_hash.load(Ordering::SeqCst) {
            return Ok(known);
        }
        let listed = self.inner.payments_settled(Timestamp::UNIX_EPOCH).await?;
        let sent =
            |it: &&WalletPayment| it.direction == Direction::Outgoing && it.payment_hash == payment_hash;
        let Some(sent) = listed.iter().find(sent) else { return Ok(None) };
        // It is one of a payment with another id, or of one by hand.
        let payout = self.payouts.payout(payment_hash).await.unwrap();
        let id = payout.map_or(PaymentId(uuid::Uuid::from_u128(77)), |payout| payout.id);
        let known = self.inner.payment_status(id, payment_hash).await?;
        let preimage = match known {
            Some(Payment::Succeeded { preimage, .. }) => preimage,
            _ => Preimage::from_bytes([0; 32]),
        };
        Ok(Some(Payment::Succeeded { preimage, fee: sent.fee }))
    }

    async fn balance(&self) -> Result<Msats, WalletError> {
        self.power.call(Op::Other, wallet("balance"), identity, self.inner.balance()).await
    }

    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
        self.power.through(Op::Other, self.inner.payments_settled(since)).await
    }

    async fn hold_invoice_create(
        &self,
        request: &InvoiceRequest,
        payment_hash: PaymentHash,
    ) -> Result<Bolt11, WalletError> {
        let call = wallet("hold_invoice_create");
        let work = self.inner.hold_invoice_create(request, payment_hash);
        self.power.call(Op::Mint, call, identity, work).await
    }

    async fn hold_invoice_settle(&self, preimage: Preimage) -> Result<(), WalletError> {
        let call = wallet("hold_invoice_settle");
        self.power.call(Op::HoldSettle, call, identity, self.inner.hold_invoice_settle(preimage)).await
    }

    async fn hold_invoice_cancel(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        let call = wallet("hold_invoice_cancel");
        self.power.call(Op::HoldCancel, call, identity, self.inner.hold_invoice_cancel(payment_hash)).await
    }

    async fn payments_held(&self) -> Result<HeldPayments, WalletError> {
        self.power.call(Op::Other, wallet("payments_held"), identity, self.inner.payments_held()).await
    }
}
