//! `tithe serve`.

use crate::config::{Backend, Config, LogFormat, PriceSource};
use crate::database::{self, Database};
use crate::{private, secret};
use std::io::IsTerminal;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::inference::Inference;
use tithe_engine::{Engine, PoolStatus, Ports};
use tithe_free_tier::Budgets;
use tithe_http::{AppState, HttpSettings};
use tithe_inference::{
    Anthropic, AnthropicSettings, ApiKey, GuardSettings, Guarded, OpenAiCompatible, OpenAiSettings,
    SimInference, SimSettings,
};
use tithe_lightning::{Network, TestPayer, Wallet};
use tithe_price_feed::{FixedPrice, LivePriceFeed, PriceSettings};
use tithe_pricing::{Catalogue, PriceFeed};
use tithe_wallet_sim::{SimOptions, SimWallet};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error>;

/// Where customers look when they are not told.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8402";

/// A failure with what was being done.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct While {
    what: String,
    source: Failure,
}

fn doing<E: Into<Failure>>(what: impl Into<String>) -> impl FnOnce(E) -> While {
    let what = what.into();
    move |source| While { what, source: source.into() }
}

/// Runs the server until it is told to stop.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Failure> {
    start_log(config)?;
    let runtime = Runtime::new()?;
    private::make_folder(&config.data_dir)
        .map_err(doing(format!("the data directory {} cannot be made", config.data_dir.display())))?;
    let listener = TcpListener::bind(config.listen)
        .map_err(doing(format!("nothing can be served on {} (TITHE_LISTEN)", config.listen)))?;
    let address = listener.local_addr()?;
    let (state, wallet) = runtime.block_on(assemble(config, &runtime))?;
    let engine = Arc::clone(&state.engine);
    let pool = runtime.block_on(open_pool(&engine))?;
    // Whoever reads that it serves may ask it to stop.
    let told_to_stop = {
        let _inside = runtime.enter();
        told_to_stop()
    };
    print!("{}", banner(config, &address.to_string(), wallet.as_ref(), &pool));

    let (draining, stopping) = (state.draining.clone(), state.stopping.clone());
    let running = runtime.block_on(async { engine.start() });
    let http = HttpSettings {
        workers: config.http_workers,
        cors_origins: config.cors_origins.clone(),
        shutdown_timeout: config.shutdown.min(Duration::from_secs(10)),
    };
    actix_web::rt::System::new().block_on(async {
        let server = tithe_http::serve(listener, state, http)?;
        let handle = server.handle();
        let patience = config.shutdown;
        runtime.spawn(async move {
            told_to_stop.await;
            info!("stopping: no new jobs; what runs may finish, and can be followed meanwhile");
            draining.cancel();
            running.stop(patience).await;
            stopping.cancel();
            handle.stop(true).await;
        });
        server.await
    })?;
    info!("stopped");
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(ExitCode::SUCCESS)
}

/// Builds every adapter, and the engine on them.
async fn assemble(config: &Config, runtime: &Runtime) -> Result<(AppState, Arc<SimWallet>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let stopping = CancellationToken::new();
    let store = Database::of(config)?.open().await?;
    let options = SimOptions { fault_rates: config.wallet_sim_faults, ..SimOptions::default() };
    let folder = config.data_dir.join("wallet-sim");
    let wallet = SimWallet::open_with(&folder, options, clock.clone(), entropy.clone())
        .await
        .map_err(doing("the simulated wallet cannot be opened"))?;
    let wallet = Arc::new(wallet);
    if config.dev && wallet.network() == Network::Mainnet {
        return Err("TITHE_DEV=1 does not run with a wallet on mainnet".into());
    }
    let ports = Ports {
        store,
        wallet: wallet.clone(),
        inference: inference(config, &clock, &entropy)?,
        prices: prices(config, &clock, &stopping)?,
        catalogue: Arc::new(catalogue(config.models.as_deref())?),
        clock,
        entropy: entropy.clone(),
    };
    let secrets = secret::secrets(config.token_secret.as_deref(), &config.data_dir, entropy.as_ref())
        .map_err(doing("the secret for tokens cannot be read or made"))?;
    let engine = Arc::new(Engine::new(ports, config.engine.clone(), &secrets)?);
    let test_payer = config.dev.then(|| -> Arc<dyn TestPayer> { wallet.clone() });
    let state = AppState {
        engine,
        test_payer,
        public_url: config.public_url.clone(),
        runtime: runtime.handle().clone(),
        draining: CancellationToken::new(),
        stopping,
    };
    Ok((state, wallet))
}

/// Puts the operator's first money into the pool, once, and says how it stands.
async fn open_pool(engine: &Engine) -> Result<PoolStatus, Failure> {
    let opened = async {
        engine.pool_open().await?;
        engine.pool_status().await
    };
    Ok(opened.await.map_err(doing("the pool could not be opened"))?)
}

fn inference(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<dyn Inference>, Failure> {
    fn guarded<I: Inference + 'static>(
        backend: I,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Arc<dyn Inference> {
        Arc::new(Guarded::new(backend, GuardSettings::default(), clock.clone(), entropy.clone()))
    }
    let key = config.inference_api_key.as_deref().map(str::parse::<ApiKey>).transpose();
    let key = key.map_err(doing("TITHE_INFERENCE_API_KEY is no API key"))?;
    let base = |url: &str| url.parse().map_err(doing(format!("TITHE_INFERENCE_URL is {url:?}")));
    Ok(match &config.backend {
        Backend::Simulated { latency, delta_delay } => {
            let settings =
                SimSettings { latency: *latency, delta_delay: *delta_delay, ..SimSettings::default() };
            Arc::new(SimInference::new(settings))
        }
        Backend::OpenAi { url } => {
            guarded(OpenAiCompatible::new(OpenAiSettings::new(base(url)?, key))?, clock, entropy)
        }
        Backend::Anthropic { url } => {
            guarded(Anthropic::new(AnthropicSettings::new(base(url)?, key))?, clock, entropy)
        }
    })
}

fn prices(
    config: &Config,
    clock: &Arc<dyn Clock>,
    stopping: &CancellationToken,
) -> Result<Arc<dyn PriceFeed>, Failure> {
    Ok(match config.prices {
        PriceSource::Fixed(price) | PriceSource::Simulated(price) => {
            Arc::new(FixedPrice::new(price, clock.clone()))
        }
        PriceSource::Live => {
            let feed = Arc::new(LivePriceFeed::new(PriceSettings::default(), clock.clone())?);
            tokio::spawn(feed.clone().run(stopping.clone().cancelled_owned()));
            feed
        }
    })
}

fn catalogue(file: Option<&Path>) -> Result<Catalogue, Failure> {
    let built_in = Catalogue::built_in();
    let Some(path) = file else { return Ok(built_in) };
    let what = format!("the models in {} (TITHE_MODELS) cannot be used", path.display());
    let text = std::fs::read_to_string(path).map_err(doing(what.clone()))?;
    Ok(built_in.overridden_by(Catalogue::parse(&text).map_err(doing(what))?))
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let color = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(config)?)
        .with_writer(std::io::stderr)
        .with_ansi(color);
    match config.log_format {
        LogFormat::Pretty => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Checks what can be checked of a configuration without starting anything.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    filter(config)?;
    Database::of(config)?;
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy));
    inference(config, &clock, &entropy)?;
    let catalogue = catalogue(config.models.as_deref())?;
    let engine = &config.engine;
    let named = [&engine.eval_model, &engine.work_model].into_iter().chain(&engine.offered_models);
    for name in named {
        catalogue.model(name).ok_or_else(|| format!("the model {name:?} is not in the model catalogue"))?;
    }
    Ok(())
}

fn filter(config: &Config) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&config.log).map_err(|wrong| format!("TITHE_LOG is {:?}: {wrong}", config.log).into())
}

/// What a stranger should know first.
fn banner(config: &Config, address: &str, wallet: &SimWallet, pool: &PoolStatus) -> String {
    let paid_by = if config.dev { ", paid by POST /dev/stub/pay" } else { "" };
    let mut lines = vec![format!(
        "wallet     SIMULATED: no money moves; invoices are real BOLT11 on {}{paid_by}",
        wallet.network()
    )];
    let engine = &config.engine;
    match &config.backend {
        Backend::Simulated { .. } => {
            lines.push("inference  SIMULATED: answers are made up, tokens are real".to_owned());
        }
        Backend::OpenAi { url } | Backend::Anthropic { url } => {
            lines.push(format!("inference  {} and {} at {url}", engine.eval_model, engine.work_model));
        }
    }
    lines.push(match config.prices {
        PriceSource::Simulated(price) => format!("BTC price  SIMULATED: {price}"),
        PriceSource::Fixed(price) => format!("BTC price  fixed: {price}"),
        PriceSource::Live => "BTC price  live, from public sources".to_owned(),
    });
    let Budgets { new, established, trusted, elite } = pool.budgets;
    lines.push(format!(
        "pool       {}; new {}, established {}, trusted {}, elite {} a day",
        pool.balance.to_sats_rounding_down(),
        new.get(),
        established.get(),
        trusted.get(),
        elite
    ));
    let url = config.database();
    if !url.starts_with("sqlite://") {
        lines.push(format!("database   {}", database::without_password(&url).unwrap_or(url)));
    }
    let folder = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let try_it = if config.dev {
        let server =
            if address == DEFAULT_ADDRESS { String::new() } else { format!("--server http://{address} ") };
        format!(
            "  try        cargo run -- ask {server}--dev-pay 'Why is the sky blue?'   (or the README's curl commands)"
        )
    } else {
        "  try        start with TITHE_DEV=1 to be able to pay invoices without a Lightning wallet".to_owned()
    };
    format!(
        "Tithe {} serves on http://{address}\n  {}\n  data       {}\n  docs       http://{address}/docs\n{try_it}\n",
        env!("CARGO_PKG_VERSION"),
        lines.join("\n  "),
        folder.display(),
    )
}

/// Listens from now on; ends when the process is asked to end.
fn told_to_stop() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            // Without signals only `kill -9` ends the server, which it survives.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
