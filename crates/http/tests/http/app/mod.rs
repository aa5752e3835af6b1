//! A running server, one for each test.

mod ai;
mod ai_reading;
mod answer;
mod deposits;
mod events;
mod identities;
mod installs;
mod jobs;
mod long_answers;
mod mcp;
mod paid;
mod prices;
mod raw;
mod scripted;
mod upstream;

pub(crate) use ai::{AiSession, Moved, TOOL, Wire};
pub(crate) use ai_reading::{Read, frames};
pub(crate) use answer::Answer;
pub(crate) use deposits::{Deposit, PaymentSession, return_invoice};
pub(crate) use events::{Event, Events, ids, text_of};
pub(crate) use identities::{event, key, signature_of};
pub(crate) use installs::{install, licence, licence_key};
pub(crate) use long_answers::LONG;
pub(crate) use mcp::{
    CREDENTIAL, PaidCall, call_failed, called, challenged, hash_of, tool_call, with_credential,
};
pub(crate) use paid::{Metered, Offer, Paid, receipt};
pub(crate) use prices::SwitchedPrice;
pub(crate) use scripted::{Ends, Gate, Script, Scripted};
pub(crate) use upstream::{Says, TestUpstream, chunk, mount, stream_head};

use crate::store;
use actix_web::dev::ServerHandle;
use long_answers::LongAnswers;
use reqwest::{Client, Method, RequestBuilder};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tithe_clock::{Clock, Entropy, ManualClock, SystemClock, SystemEntropy, Timestamp};
use tithe_engine::bootstraps::BootstrapPlan;
use tithe_engine::inference::Inference;
use tithe_engine::mounts::Mount;
use tithe_engine::{Engine, Hardware, Ports, Running, Settings};
use tithe_http::{AdminToken, AppState, HttpSettings, LimitSettings, MetricsPage, PublicUrl};
use tithe_lightning::{Network, TestPayer};
use tithe_lnurl::{LnurlResolver, LnurlSettings};
use tithe_money::Sats;
use tithe_pricing::Catalogue;
use tithe_provisioner::{SimOptions, SimProvisioner};
use tithe_trust::{Secret, Secrets};
use tithe_wallet_sim::SimWallet;
use tithe_webhook::{Destinations, WebhookSender};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The recorded response bodies, and the preimages that none of them may contain.
#[derive(Default)]
pub(crate) struct Seen {
    bodies: Vec<String>,
    preimages: Vec<String>,
}

/// The options of a test server.
pub(crate) struct Options {
    /// The engine's settings.
    pub(crate) settings: Settings,
    /// Whether the engine's background tasks run. Without them, job states do not advance.
    pub(crate) started: bool,
    /// Whether the clock only advances manually.
    pub(crate) manual_clock: bool,
    /// Whether the dev routes exist.
    pub(crate) dev: bool,
    /// The origins that browsers may call from.
    pub(crate) cors_origins: Vec<String>,
    /// The public URLs of the server.
    pub(crate) public_urls: Vec<PublicUrl>,
    /// The retired token secrets that the server still accepts.
    pub(crate) retired: Vec<Secret>,
    /// The limits of clients.
    pub(crate) limits: LimitSettings,
    /// Where warnings may be sent.
    pub(crate) webhooks: Destinations,
    /// The backend; `None` means the simulation.
    pub(crate) inference: Option<Arc<dyn Inference>>,
    /// Where the work on other models is done, over the backend; `None` means nowhere else.
    pub(crate) routes: Option<tithe_engine::inference::Routes>,
    /// The operator's own machine, if there is one.
    pub(crate) hardware: Option<Hardware>,
    /// The token of the admin API and of the metrics; without one there are none.
    pub(crate) admin_token: Option<&'static str>,
    /// The mounted routes.
    pub(crate) mounts: Vec<Mount>,
}

/// No limit on the rate of requests: tests send many from one address.
pub(crate) fn unlimited() -> LimitSettings {
    LimitSettings { requests_per_second: None, ..LimitSettings::default() }
}

/// Readiness is found out anew for each request.
pub(crate) fn settings() -> Settings {
    Settings {
        readiness_interval: Duration::ZERO,
        max_unpaid_per_origin: 100_000,
        bootstrap_plans: plans(),
        nostr_key: Some(key(0x4e)),
        ..Settings::default()
    }
}

/// The nodes that are sold.
fn plans() -> Vec<BootstrapPlan> {
    [("small", 50_000), ("large", 200_000)]
        .map(|(name, sats)| BootstrapPlan { name: name.to_owned(), price: Sats::new(sats).unwrap() })
        .to_vec()
}

/// The admin token of test servers.
pub(crate) const ADMIN_TOKEN: &str = "operators-only-0123";

/// The token secret of test servers.
pub(crate) fn secret() -> Secret {
    Secret::new([7; 32]).unwrap()
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: settings(),
            started: true,
            manual_clock: false,
            dev: true,
            cors_origins: Vec::new(),
            public_urls: Vec::new(),
            retired: Vec::new(),
            limits: unlimited(),
            webhooks: Destinations::Any,
            inference: None,
            routes: None,
            hardware: None,
            admin_token: Some(ADMIN_TOKEN),
            mounts: Vec::new(),
        }
    }
}

/// A running server. Dropping it stops the server, audits the books, and searches the response bodies for preimages.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) engine: Arc<Engine>,
    pub(crate) wallet: Arc<SimWallet>,
    pub(crate) prices: Arc<SwitchedPrice>,
    pub(crate) provisioner: Arc<SimProvisioner>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) draining: CancellationToken,
    seen: Arc<Mutex<Seen>>,
    parts: Option<Parts>,
}

struct Parts {
    server: ServerHandle,
    thread: JoinHandle<std::io::Result<()>>,
    stopping: CancellationToken,
    running: Option<Running>,
    engine: Arc<Engine>,
    runtime: Runtime,
    kept: store::Kept,
    folder: TempDir,
}

impl TestApp {
    /// Starts a server with the default options.
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    /// Starts a server without background tasks and with a manual clock.
    pub(crate) fn standing() -> Self {
        Self::with(Options { started: false, manual_clock: true, ..Options::default() })
    }

    /// Starts a server with these options.
    pub(crate) fn with(options: Options) -> Self {
        // A runtime cannot block on a thread of another runtime.
        std::thread::spawn(move || Self::build(options)).join().unwrap()
    }

    fn build(options: Options) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let manual = Arc::new(ManualClock::at(Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap()));
        let clock: Arc<dyn Clock> = if options.manual_clock { manual.clone() } else { Arc::new(SystemClock) };
        let prices = Arc::new(SwitchedPrice::at("100000", clock.clone()));
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let nodes = SimProvisioner::open(folder.path().join("nodes"), SimOptions::default()).unwrap();
        let provisioner = Arc::new(nodes);
        let (engine, wallet, kept) = runtime.block_on(async {
            let (store, kept) = store::open(folder.path()).await;
            let wallet =
                SimWallet::open(folder.path().join("wallet"), clock.clone(), entropy.clone()).await.unwrap();
            let wallet = Arc::new(wallet);
            let lnurl =
                LnurlSettings { destinations: options.webhooks, ..LnurlSettings::new(Network::Regtest) };
            let ports = Ports {
                store,
                wallet: wallet.clone(),
                inference: options.inference.unwrap_or_else(|| Arc::new(LongAnswers::default())),
                routes: options.routes.unwrap_or_default(),
                hardware: options.hardware,
                prices: prices.clone(),
                clock,
                entropy,
                catalogue: Arc::new(Catalogue::built_in()),
                addresses: Arc::new(LnurlResolver::new(lnurl).unwrap()),
                webhooks: Arc::new(WebhookSender::new(options.webhooks).unwrap()),
                provisioner: provisioner.clone(),
            };
            let secrets = Secrets::new(secret(), options.retired);
            let engine = Engine::new(ports, options.settings, &secrets).unwrap();
            engine.pool.open().await.unwrap();
            (Arc::new(engine), wallet, kept)
        });
        let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
        let mut state = AppState::new(engine.clone(), runtime.handle().clone(), options.limits);
        state.draining = draining.clone();
        state.public_urls = options.public_urls;
        state.admin_token = options.admin_token.map(AdminToken::new);
        state.metrics = options
            .admin_token
            .map(|token| (AdminToken::new(token), MetricsPage::new(|| "tithe_something 1\n".to_owned())));
        state.test_payer = options.dev.then(|| -> Arc<dyn TestPayer> { wallet.clone() });
        state.stopping = stopping.clone();
        state.mounts = options.mounts.into_iter().map(Arc::new).collect();
        let running = options.started.then(|| runtime.block_on(async { engine.start() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let http = HttpSettings { cors_origins: options.cors_origins, ..HttpSettings::default() };
        let (started, server) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let server = tithe_http::serve(listener, state, http)?;
                started.send(server.handle()).unwrap();
                server.await
            })
        });
        let server = server.recv().unwrap();
        let parts =
            Parts { server, thread, stopping, running, engine: engine.clone(), runtime, kept, folder };
        Self {
            address,
            client: Client::builder().no_proxy().build().unwrap(),
            engine,
            wallet,
            prices,
            provisioner,
            draining,
            clock: manual,
            seen: Arc::default(),
            parts: Some(parts),
        }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request, to be sent with [`TestApp::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).timeout(Duration::from_secs(30))
    }

    /// Sends a request and checks the invariants of every response.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = Answer::read(request.send().await.unwrap()).await;
        answer.check();
        self.saw(&answer.text);
        answer
    }

    /// Records a body, which must not contain a preimage.
    pub(crate) fn saw(&self, body: &str) {
        self.seen.lock().unwrap().bodies.push(body.to_owned());
    }

    /// Reads a path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts a body unchanged.
    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).body(body)).await
    }

    /// Runs a future on the server's runtime.
    pub(crate) async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.parts.as_ref().unwrap().runtime.spawn(work).await.unwrap()
    }

    /// Ends the event streams, as a stopping server does first.
    pub(crate) fn stop_streams(&self) {
        self.parts.as_ref().unwrap().stopping.cancel();
    }

    /// Every row of every table.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Vec<String>> {
        let parts = self.parts.as_ref().unwrap();
        store::rows(&parts.kept, parts.folder.path()).await
    }

    /// The number of jobs in the store.
    pub(crate) async fn jobs_count(&self) -> u64 {
        let engine = self.engine.clone();
        self.on_runtime(async move { engine.audit().await.unwrap().jobs }).await
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let findings = std::thread::spawn(move || parts.stop()).join();
        if std::thread::panicking() {
            return;
        }
        assert_eq!(findings.unwrap(), Vec::<String>::new(), "the audit found something");
        let seen = self.seen.lock().unwrap();
        for preimage in &seen.preimages {
            assert!(!seen.bodies.iter().any(|body| body.contains(preimage)), "a body showed a preimage");
        }
    }
}

impl Parts {
    fn stop(self) -> Vec<String> {
        self.stopping.cancel();
        let findings = self.runtime.block_on(async {
            self.server.stop(false).await;
            if let Some(running) = self.running {
                running.stop(Duration::from_millis(200)).await;
            }
            let store = self.engine.ports().store.as_ref();
            let report = tithe_engine::audit::audit(store).await.unwrap();
            report.findings.iter().map(ToString::to_string).collect()
        });
        self.thread.join().unwrap().unwrap();
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        drop((self.kept, self.folder));
        findings
    }
}
