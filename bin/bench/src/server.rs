//! The server under measurement: assembled like `tithe serve`, with the benchmark's own routes.

use crate::fixture::{self, Payer};
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::charging;
use tithe_engine::identities::Credentials;
use tithe_engine::{ClaimTokens, Engine, EngineError, Ports, Settings};
use tithe_http::{AppState, Code, HttpSettings, LimitSettings, Problem};
use tithe_inference::{SimInference, SimSettings};
use tithe_money::{BtcPrice, Msats, Sats};
use tithe_price_feed::FixedPrice;
use tithe_pricing::Catalogue;
use tithe_trust::{Secret, Secrets};
use tithe_wallet_sim::SimWallet;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// The options of the server.
#[derive(Args)]
pub(crate) struct Options {
    /// URL of the database
    #[arg(long)]
    database: String,
    /// Folder of the simulated wallet's journal
    #[arg(long)]
    wallet: PathBuf,
    /// Log filter; the log is written to standard error
    #[arg(long, default_value = "warn")]
    log: String,
    /// Number of threads that run use cases (default: the number of cores)
    #[arg(long)]
    threads: Option<usize>,
    /// Number of threads that serve HTTP requests
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Number of seconds between polls of the wallet (default: the engine's own)
    #[arg(long)]
    poll_seconds: Option<u64>,
}

/// The secret that signs the benchmark's tokens.
pub(crate) const SECRET: &str = "what the benchmark's tokens are made with";

pub(crate) fn secrets() -> Secrets {
    Secrets::new(Secret::new(SECRET).unwrap(), Vec::new())
}

/// The tokens of the benchmark's sessions.
pub(crate) fn tokens() -> ClaimTokens {
    ClaimTokens::of_jobs(&secrets())
}

/// Prints the address and serves until standard input is closed.
pub(crate) fn run(options: &Options) {
    let filter = EnvFilter::try_new(&options.log).unwrap();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = options.threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().unwrap();
    let state = runtime.block_on(assemble(options, &runtime));
    let (running, stopping) = runtime.block_on(async { (state.engine.start(), state.stopping.clone()) });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::System::new().block_on(async {
        let settings = HttpSettings {
            workers: options.workers,
            shutdown_timeout: Duration::from_secs(2),
            ..HttpSettings::default()
        };
        let server = tithe_http::serve_with(listener, state, settings, routes).unwrap();
        let handle = server.handle();
        runtime.spawn(async move {
            let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
            let _ended = ended.await;
            running.stop(Duration::from_secs(2)).await;
            stopping.cancel();
            handle.stop(true).await;
        });
        println!("{address}");
        std::io::stdout().flush().unwrap();
        server.await.unwrap();
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
}

async fn assemble(options: &Options, runtime: &Runtime) -> AppState {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let wallet = SimWallet::open(&options.wallet, clock.clone(), entropy.clone()).await.unwrap();
    let wallet = Arc::new(wallet);
    let ports = Ports {
        store: fixture::open(&options.database).await,
        wallet: wallet.clone(),
        routes: tithe_engine::inference::Routes::default(),
        inference: Arc::new(SimInference::new(SimSettings {
            latency: Duration::ZERO,
            delta_delay: Duration::ZERO,
            ..SimSettings::default()
        })),
        hardware: None,
        prices: Arc::new(FixedPrice::new(BtcPrice::parse("100000").unwrap(), clock.clone())),
        clock,
        entropy,
        catalogue: Arc::new(Catalogue::built_in()),
        addresses: Arc::new(tithe_engine::payouts::NoAddresses),
        webhooks: Arc::new(tithe_engine::sessions::NoWebhooks),
        provisioner: Arc::new(tithe_bootstrap::NoProvisioner),
    };
    let mut settings = Settings {
        rules: fixture::generous(),
        // A session's request is held, done and settled; nobody waits for another.
        session_evaluation: false,
        session_requests: 1_024,
        // All customers are one address, and pay only in the end.
        max_unpaid_invoices: u64::MAX,
        max_unpaid_per_origin: usize::MAX,
        // One deposit pays for all requests of a customer.
        payment_session_deposit: Sats::new(1_000_000).unwrap(),
        ..Settings::default()
    };
    if let Some(seconds) = options.poll_seconds {
        settings.poll_interval = Duration::from_secs(seconds);
    }
    let engine = Arc::new(Engine::new(ports, settings, &secrets()).unwrap());
    // The load comes from one address.
    let limits = LimitSettings {
        requests_per_second: None,
        connections_per_address: usize::MAX,
        streams_per_address: usize::MAX,
        ..LimitSettings::default()
    };
    let mut state = AppState::new(engine, runtime.handle().clone(), limits);
    state.test_payer = Some(wallet);
    state
}

fn routes(config: &mut ServiceConfig) {
    config
        .app_data(Data::new(tokens()))
        .route("/bench/charge", web::post().to(charge))
        .route("/bench/charge-here", web::post().to(charge_here))
        .route("/bench/free", web::post().to(free))
        .route("/bench/halves", web::post().to(halves))
        .route("/bench/trivial", web::post().to(trivial));
}

#[derive(Clone, Copy, Deserialize)]
struct Charge {
    session: u32,
    amount: Msats,
}

#[derive(Serialize)]
struct Charged {
    session: u32,
    charged: Msats,
}

/// Charges a session whose token is presented.
async fn charge(
    request: HttpRequest,
    state: Data<AppState>,
    tokens: Data<ClaimTokens>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let charge = authorized(&request, &tokens, &body)?;
    state.run(charge.commit(Arc::clone(&state.engine))).await?;
    Ok(charge.answer())
}

/// Has the pool pay for work of the identity whose token is presented.
async fn free(request: HttpRequest, state: Data<AppState>, body: Bytes) -> Result<HttpResponse, Problem> {
    grant(Payer::Pool, &request, &state, &body).await
}

/// A grant for work of which a session pays the other half.
async fn halves(request: HttpRequest, state: Data<AppState>, body: Bytes) -> Result<HttpResponse, Problem> {
    grant(Payer::Both, &request, &state, &body).await
}

async fn grant(
    payer: Payer,
    request: &HttpRequest,
    state: &AppState,
    body: &Bytes,
) -> Result<HttpResponse, Problem> {
    let charge = Charge::read(body)?;
    let tokens = bearer(request.headers()).into_iter().map(str::to_owned).collect();
    let identity = state.engine.identities.identify(&Credentials { tokens, signed: None })?;
    let identity = identity.ok_or_else(|| {
        Problem::new(Code::IdentityRequired, "missing token: expected `Authorization: Bearer …`")
    })?;
    let engine = Arc::clone(&state.engine);
    let granting = async move {
        let Ports { clock, entropy, .. } = engine.ports();
        let command =
            fixture::grant(payer, charge.session, identity.pubkey, clock.as_ref(), entropy.as_ref());
        engine.committer().commit(command).await.map_err(EngineError::from)
    };
    match state.run(granting).await? {
        charging::Charged::Now(shares) if shares.absorbed.get() == fixture::POOL_PAYS => Ok(charge.answer()),
        other => Err(Problem::new(Code::Internal, format!("not granted: {other:?}"))),
    }
}

/// A charge without a task on the main runtime, to measure what the task costs.
async fn charge_here(
    request: HttpRequest,
    state: Data<AppState>,
    tokens: Data<ClaimTokens>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let charge = authorized(&request, &tokens, &body)?;
    charge.commit(Arc::clone(&state.engine)).await?;
    Ok(charge.answer())
}

/// Parses a charge and verifies its session's token.
fn authorized(request: &HttpRequest, tokens: &ClaimTokens, body: &[u8]) -> Result<Charge, Problem> {
    let charge = Charge::read(body)?;
    let token = bearer(request.headers()).unwrap_or_default();
    if tokens.verify(fixture::session_id(charge.session), token) {
        Ok(charge)
    } else {
        Err(Problem::new(Code::InvalidIdentity, "invalid token: expected the token of this session"))
    }
}

impl Charge {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(body).map_err(|wrong| Problem::new(Code::InvalidBody, wrong.to_string()))
    }

    async fn commit(self, engine: Arc<Engine>) -> Result<(), EngineError> {
        let Ports { clock, entropy, .. } = engine.ports();
        let command = fixture::debit(self.session, self.amount, clock.as_ref(), entropy.as_ref());
        engine.committer().commit(command).await?;
        Ok(())
    }

    fn answer(self) -> HttpResponse {
        HttpResponse::Ok().json(Charged { session: self.session, charged: self.amount })
    }
}

/// A trivial response.
async fn trivial(_body: Bytes) -> HttpResponse {
    HttpResponse::Ok().json(Charged { session: 0, charged: Msats::ZERO })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
