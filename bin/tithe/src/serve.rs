//! `tithe serve`.

use crate::config::{Backend, Config, LogFormat, PriceSource, Provisioning};
use crate::database::Database;
use crate::url::without_secrets;
use crate::{private, secret};
use std::io::IsTerminal;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tithe_bootstrap::{NoProvisioner, Provisioner};
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::inference::Inference;
use tithe_engine::pool::PoolStatus;
use tithe_engine::{Engine, Ports};
use tithe_free_tier::Budgets;
use tithe_http::{AppState, HttpSettings, LimitSettings};
use tithe_inference::{
    Anthropic, AnthropicSettings, ApiKey, GuardSettings, Guarded, OpenAiCompatible, OpenAiSettings,
    SimInference, SimSettings,
};
use tithe_lightning::{Network, TestPayer, Wallet};
use tithe_price_feed::{FixedPrice, LivePriceFeed, PriceSettings};
use tithe_pricing::{Catalogue, PriceFeed};
use tithe_provisioner::{
    CommandProvisioner, CommandSettings, DigitalOcean, DigitalOceanSettings,
    SimOptions as SimProvisionerOptions, SimProvisioner,
};
use tithe_wallet_sim::{SimOptions, SimWallet};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error>;

/// The address that customers' commands use by default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8402";

/// A failure, with a description of the operation that failed.
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

/// Runs the server until it receives SIGTERM, SIGINT or SIGHUP.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Failure> {
    start_log(config)?;
    let runtime = Runtime::new()?;
    let data_dir = &config.storage.data_dir;
    private::make_folder(data_dir)
        .and_then(|()| private::restrict(data_dir))
        .map_err(doing(format!("cannot use the data directory {}", data_dir.display())))?;
    warn_of_secrets(config);
    let limits = limits(config)?;
    let listener = TcpListener::bind(config.server.listen)
        .map_err(doing(format!("cannot listen on {} (TITHE_LISTEN)", config.server.listen)))?;
    let address = listener.local_addr()?;
    let (state, wallet) = runtime.block_on(assemble(config, &runtime, limits))?;
    let engine = Arc::clone(&state.engine);
    let pool = runtime.block_on(open_pool(&engine))?;
    // Signals are handled before the banner is printed: a reader of the banner may stop the server at once.
    let told_to_stop = {
        let _inside = runtime.enter();
        told_to_stop()
    };
    print!("{}", banner(config, &address.to_string(), wallet.as_ref(), &pool));

    let (leaving, draining, stopping) =
        (state.leaving.clone(), state.draining.clone(), state.stopping.clone());
    let work = state.work.clone();
    let running = runtime.block_on(async { engine.start() });
    let http = HttpSettings {
        workers: config.server.http_workers,
        cors_origins: config.server.cors_origins.clone(),
        shutdown_timeout: config.server.shutdown.min(Duration::from_secs(10)),
        keep_alive: config.server.keep_alive,
    };
    actix_web::rt::System::new().block_on(async {
        let server = tithe_http::serve(listener, state, http)?;
        let handle = server.handle();
        let (notice, patience) = (config.server.notice, config.server.shutdown);
        runtime.spawn(async move {
            told_to_stop.await;
            leaving.cancel();
            if !notice.is_zero() {
                info!(?notice, "stopping: not ready from now on; everything is served for a while");
                tokio::time::sleep(notice).await;
            }
            info!("stopping: accepting no new jobs, waiting for running work to finish");
            draining.cancel();
            work.close();
            // What is still running then is cut off, and booked.
            let (_cut_off, ()) =
                tokio::join!(tokio::time::timeout(patience, work.wait()), running.stop(patience));
            stopping.cancel();
            handle.stop(true).await;
        });
        server.await
    })?;
    info!("stopped");
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(ExitCode::SUCCESS)
}

/// What the process itself needs descriptors for: the database, the wallet, the backend, files.
const DESCRIPTORS_RESERVED: u64 = 256;

/// The limits of clients, with as many connections as the process can have descriptors for.
fn limits(config: &Config) -> Result<LimitSettings, Failure> {
    let most = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(doing("cannot find out how many files may be open"))?;
    let connections = most.saturating_sub(DESCRIPTORS_RESERVED).max(most / 2);
    let connections = usize::try_from(connections).unwrap_or(usize::MAX).min(100_000);
    let configured = config.server.limits.clone();
    Ok(LimitSettings {
        connections,
        connections_per_address: configured.connections_per_address.min(connections.div_ceil(2)),
        // The other half is for everything that is answered at once.
        streams: connections / 2,
        ..configured
    })
}

/// A generated secret is in this machine's data directory: servers on other machines have another.
fn warn_of_secrets(config: &Config) {
    if config.storage.is_shared() && config.storage.token_secret.is_none() {
        warn!(
            "TITHE_TOKEN_SECRET is not set: the secret in this data directory is used, and servers with another one refuse \
             the tokens that this one makes"
        );
    }
}

/// Builds all adapters and the engine that uses them.
async fn assemble(
    config: &Config,
    runtime: &Runtime,
    limits: LimitSettings,
) -> Result<(AppState, Arc<SimWallet>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let stopping = CancellationToken::new();
    let store = Database::of(&config.storage)?.open().await?;
    let options = SimOptions { fault_rates: config.wallet.sim_faults, ..SimOptions::default() };
    let folder = config.storage.data_dir.join("wallet-sim");
    let wallet = SimWallet::open_with(&folder, options, clock.clone(), entropy.clone())
        .await
        .map_err(doing("cannot open the simulated wallet"))?;
    let wallet = Arc::new(wallet);
    if config.server.dev && wallet.network() == Network::Mainnet {
        return Err("invalid TITHE_DEV: expected a wallet on a test network, got one on mainnet".into());
    }
    let ports = Ports {
        store,
        wallet: wallet.clone(),
        provisioner: provisioner(config)?,
        inference: inference(config, &clock, &entropy)?,
        prices: prices(config, &clock, &stopping)?,
        catalogue: Arc::new(catalogue(config.inference.models.as_deref())?),
        clock,
        entropy: entropy.clone(),
    };
    let secrets =
        secret::secrets(config.storage.token_secret.as_deref(), &config.storage.data_dir, entropy.as_ref())
            .map_err(doing("cannot read or create the token secret"))?;
    let data_dir = &config.storage.data_dir;
    let claims = secret::claim_secrets(config.storage.claim_secret.as_deref(), &secrets, data_dir)
        .map_err(doing("cannot read the token secret"))?;
    let engine = Arc::new(Engine::with_claim_secrets(ports, config.engine.clone(), &secrets, &claims)?);
    let mut state = AppState::new(engine, runtime.handle().clone(), limits);
    state.test_payer = config.server.dev.then(|| -> Arc<dyn TestPayer> { wallet.clone() });
    state.public_urls.clone_from(&config.server.public_urls);
    state.stopping = stopping;
    Ok((state, wallet))
}

/// Puts the operator's initial funds into the pool, once, and returns the pool's status.
async fn open_pool(engine: &Engine) -> Result<PoolStatus, Failure> {
    let opened = async {
        engine.pool.open().await?;
        engine.pool.status().await
    };
    Ok(opened.await.map_err(doing("cannot open the pool"))?)
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
    let key = config.inference.api_key.as_deref().map(str::parse::<ApiKey>).transpose();
    let key = key.map_err(doing("invalid TITHE_INFERENCE_API_KEY"))?;
    let base = |url: &str| {
        let shown = without_secrets(url).unwrap_or_else(|| url.to_owned());
        url.parse().map_err(doing(format!("invalid TITHE_INFERENCE_URL {shown:?}")))
    };
    let parameters = config.inference.parameters;
    Ok(match &config.inference.backend {
        Backend::Simulated { latency, delta_delay } => {
            let settings =
                SimSettings { latency: *latency, delta_delay: *delta_delay, ..SimSettings::default() };
            Arc::new(SimInference::new(settings))
        }
        Backend::OpenAi { url } => {
            let mut settings = OpenAiSettings::new(base(url)?, key);
            settings.output_limit_field = parameters.output_limit_field;
            settings.zero_temperature = parameters.zero_temperature;
            settings.stream_options = parameters.stream_options;
            guarded(OpenAiCompatible::new(settings)?, clock, entropy)
        }
        Backend::Anthropic { url } => {
            let mut settings = AnthropicSettings::new(base(url)?, key);
            settings.zero_temperature = parameters.zero_temperature;
            guarded(Anthropic::new(settings)?, clock, entropy)
        }
    })
}

/// What makes the nodes that are sold.
fn provisioner(config: &Config) -> Result<Arc<dyn Provisioner>, Failure> {
    Ok(match &config.bootstrap.provisioning {
        Provisioning::None => Arc::new(NoProvisioner),
        Provisioning::Simulated => {
            let folder = config.storage.data_dir.join("provisioner-sim");
            let opened = SimProvisioner::open(folder, SimProvisionerOptions::default());
            Arc::new(opened.map_err(doing("cannot open the simulated provisioner"))?)
        }
        Provisioning::Command { program, arguments, time_limit } => {
            let mut settings = CommandSettings::new(program);
            settings.arguments = arguments.iter().map(Into::into).collect();
            settings.time_limit = *time_limit;
            Arc::new(CommandProvisioner::new(settings, std::env::vars_os()))
        }
        Provisioning::DigitalOcean { token, plans, setup, url } => {
            let mut settings = DigitalOceanSettings::new(token.clone(), plans.iter().cloned().collect());
            settings.base_url = url.parse().map_err(doing("invalid TITHE_DIGITALOCEAN_URL"))?;
            settings.setup_script = match setup {
                None => None,
                Some(path) => {
                    let what =
                        format!("cannot use the script in {} (TITHE_DIGITALOCEAN_SETUP)", path.display());
                    let text = std::fs::read_to_string(path).map_err(doing(what.clone()))?;
                    Some(text.parse().map_err(doing(what))?)
                }
            };
            Arc::new(DigitalOcean::new(settings)?)
        }
    })
}

fn prices(
    config: &Config,
    clock: &Arc<dyn Clock>,
    stopping: &CancellationToken,
) -> Result<Arc<dyn PriceFeed>, Failure> {
    Ok(match config.prices.btc {
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
    let what = format!("cannot use the models in {} (TITHE_MODELS)", path.display());
    let text = std::fs::read_to_string(path).map_err(doing(what.clone()))?;
    Ok(built_in.overridden_by(Catalogue::parse(&text).map_err(doing(what))?))
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let color = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(config)?)
        .with_writer(std::io::stderr)
        .with_ansi(color);
    match config.log.format {
        LogFormat::Pretty => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Checks a configuration as far as possible without starting anything.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    filter(config)?;
    Database::of(&config.storage)?;
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy));
    inference(config, &clock, &entropy)?;
    let catalogue = catalogue(config.inference.models.as_deref())?;
    let engine = &config.engine;
    let named = [&engine.eval_model, &engine.work_model].into_iter().chain(&engine.offered_models);
    for name in named {
        catalogue
            .model(name)
            .ok_or_else(|| format!("unknown model: expected one in the catalogue, got {name:?}"))?;
    }
    Ok(())
}

fn filter(config: &Config) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&config.log.filter)
        .map_err(|wrong| format!("invalid TITHE_LOG {:?}: {wrong}", config.log.filter).into())
}

/// The first lines that the server prints: what is simulated, where the data is, what to try.
fn banner(config: &Config, address: &str, wallet: &SimWallet, pool: &PoolStatus) -> String {
    let paid_by = if config.server.dev { ", paid by POST /dev/stub/pay" } else { "" };
    let mut lines = vec![format!(
        "wallet     SIMULATED: no money moves; invoices are real BOLT11 on {}{paid_by}",
        wallet.network()
    )];
    let engine = &config.engine;
    match &config.inference.backend {
        Backend::Simulated { .. } => {
            lines.push("inference  SIMULATED: results are made up, token counts are real".to_owned());
        }
        Backend::OpenAi { url } | Backend::Anthropic { url } => {
            let shown = without_secrets(url).unwrap_or_else(|| url.clone());
            lines.push(format!("inference  {} and {} at {shown}", engine.eval_model, engine.work_model));
        }
    }
    lines.push(match config.prices.btc {
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
    let url = config.storage.database();
    if !url.starts_with("sqlite://") {
        lines.push(format!("database   {}", without_secrets(&url).unwrap_or(url)));
    }
    let folder =
        std::path::absolute(&config.storage.data_dir).unwrap_or_else(|_| config.storage.data_dir.clone());
    let try_it = if config.server.dev {
        let server =
            if address == DEFAULT_ADDRESS { String::new() } else { format!("--server http://{address} ") };
        format!(
            "  try        cargo run -- ask {server}--dev-pay 'Why is the sky blue?'   (or the README's curl commands)"
        )
    } else {
        "  try        start with TITHE_DEV=1 to pay invoices without a Lightning wallet".to_owned()
    };
    format!(
        "Tithe {} is listening on http://{address}\n  {}\n  data       {}\n  docs       http://{address}/docs\n{try_it}\n",
        env!("CARGO_PKG_VERSION"),
        lines.join("\n  "),
        folder.display(),
    )
}

/// Starts to listen for SIGTERM, SIGINT and SIGHUP; the future resolves when one arrives.
fn told_to_stop() -> impl Future<Output = ()> {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    async {
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
            // Without signal handlers only `kill -9` ends the server; no data is lost then.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
