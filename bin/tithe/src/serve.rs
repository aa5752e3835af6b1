//! `tithe serve`.

use crate::adapters::{catalogue, hardware, inference, mount, prices, provisioner, webhooks};
use crate::banner::banner;
use crate::config::{Config, Provisioning};
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::licence::licence_keys;
use crate::peers::{ServerSecrets, server_name, shared_settings};
use crate::private;
use crate::routes::{self, routes};
use crate::service_manager;
use crate::wallets::{Wallets, addresses, wallets};
use std::io::IsTerminal;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::log::millis;
use tithe_engine::pool::PoolStatus;
use tithe_engine::{Engine, Ports};
use tithe_http::{AdminToken, AppState, HttpSettings, LimitSettings, Port};
use tithe_inference::{SimInference, SimSettings};
use tithe_pricing::Purpose;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// Runs the server until it receives SIGTERM or SIGINT, or its terminal is closed.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Failure> {
    start_log(config)?;
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let runtime = Runtime::new()?;
    let data_dir = &config.storage.data_dir;
    private::make_folder(data_dir)
        .and_then(|()| private::restrict(data_dir))
        .map_err(doing(format!("cannot use the data directory {} (TITHE_DATA_DIR)", data_dir.display())))?;
    warn_of_secrets(config);
    let limits = limits(config)?;
    let cannot_listen = || format!("cannot listen on {} (TITHE_LISTEN)", config.server.listen);
    let port = Port::bind(config.server.listen).map_err(doing(cannot_listen()))?;
    let address = port.address()?.to_string();
    let page = config.metrics.are_on().then(|| crate::metrics::record(runtime.handle())).transpose()?;
    let metrics_listener = config.metrics.listen.map(TcpListener::bind).transpose();
    let metrics_listener =
        metrics_listener.map_err(doing("cannot listen on the address of TITHE_METRICS_LISTEN"))?;
    if let Some(listener) = &metrics_listener {
        info!(address = %listener.local_addr()?, "metrics are served");
    }
    let mut state = runtime.block_on(assemble(config, &runtime, &address, limits))?;
    let token = config.metrics.token.as_deref().map(AdminToken::new);
    state.metrics = token.zip(page.clone());
    let engine = Arc::clone(&state.engine);
    let pool = runtime.block_on(open_pool(&engine))?;
    // Signals are handled before the banner is printed: a reader of the banner may stop the server at once.
    let told_to_stop = {
        let _inside = runtime.enter();
        told_to_stop()
    };
    let (listener, open_port) = port.open().map_err(doing(cannot_listen()))?;
    println!("{}", banner(config, &address, &pool, engine.receipts.pubkey()));

    let (leaving, draining, stopping) =
        (state.leaving.clone(), state.draining.clone(), state.stopping.clone());
    let work = state.work.clone();
    let running = runtime.block_on(async { engine.start() });
    let http = HttpSettings {
        workers: config.server.http_workers,
        cors_origins: config.server.cors_origins.clone(),
        shutdown_timeout: config.server.shutdown.min(LAST_BYTES),
        keep_alive: config.server.keep_alive,
    };
    actix_web::rt::System::new().block_on(async {
        let metrics = metrics_listener.zip(page);
        let metrics =
            metrics.map(|(listener, page)| tithe_http::serve_metrics(listener, page)).transpose()?;
        let metrics = metrics.map(|server| (server.handle(), actix_web::rt::spawn(server)));
        let server = tithe_http::serve(listener, state, http)?;
        let handle = server.handle();
        service_manager::ready(&runtime);
        let (notice, patience) = (config.server.notice, config.server.shutdown);
        runtime.spawn(async move {
            told_to_stop.await;
            service_manager::stopping();
            leaving.cancel();
            if !notice.is_zero() {
                info!(
                    wait_ms = millis(notice),
                    "stopping: not ready from now on; everything is served for a while"
                );
                tokio::time::sleep(notice).await;
                info!("stopping: no new connections");
                open_port.close(&handle).await;
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
        server.await?;
        // Until the end: what a server does while it stops can be read.
        if let Some((handle, serving)) = metrics {
            handle.stop(false).await;
            let _ended = serving.await;
        }
        Ok::<(), std::io::Error>(())
    })?;
    info!("stopped");
    runtime.shutdown_timeout(Duration::from_secs(5));
    #[cfg(feature = "otel")]
    crate::traces::shut_down();
    Ok(ExitCode::SUCCESS)
}

/// The settings that name models.
const MODELS: &str = "cannot use the models of TITHE_EVAL_MODEL, TITHE_WORK_MODEL and TITHE_OFFERED_MODELS";
/// How long a stopping server goes on sending what clients are slow to take.
const LAST_BYTES: Duration = Duration::from_secs(3);

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
    address: &str,
    limits: LimitSettings,
) -> Result<AppState, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let stopping = CancellationToken::new();
    let store = Database::of(&config.storage)?.open().await?;
    let Wallets { wallet, test_payer } = wallets(config, &clock, &entropy).await?;
    let catalogue = catalogue(config.inference.models.as_deref())?;
    let main = inference(config, &clock, &entropy)?;
    let ports = Ports {
        store,
        wallet,
        addresses: addresses(config)?,
        webhooks: webhooks(config)?,
        provisioner: provisioner(config)?,
        routes: routes(config, &main, &catalogue, &clock, &entropy)?,
        inference: main,
        hardware: hardware(config, &catalogue, &clock, &entropy)?,
        prices: prices(config, &clock, &stopping)?,
        catalogue: Arc::new(catalogue),
        clock,
        entropy: entropy.clone(),
    };
    let secrets = ServerSecrets::open(config, entropy.as_ref())?;
    let mut settings = config.engine.clone();
    settings.credits.licence_keys = licence_keys(config, entropy.as_ref())?;
    settings.probe_backend |= routes::has_real(config)?;
    let shared = shared_settings(config, &secrets, &settings.credits.licence_keys);
    let ServerSecrets { tokens, claims, nostr } = secrets;
    settings.nostr_key = nostr;
    let engine =
        Arc::new(Engine::with_claim_secrets(ports, settings, &tokens, &claims).map_err(doing(MODELS))?);
    engine.servers.join(&server_name(address), env!("CARGO_PKG_VERSION"), shared).await?;
    let mut state = AppState::new(engine, runtime.handle().clone(), limits);
    state.test_payer = test_payer;
    state.admin_token = config.server.admin_token.as_deref().map(AdminToken::new);
    state.public_urls.clone_from(&config.server.public_urls);
    state.accepts_local_urls = !config.is_production();
    state.stopping = stopping;
    state.mounts =
        config.mounts.iter().map(|config| mount(config).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(state)
}

/// Puts the operator's initial funds into the pool, once, and returns the pool's status.
async fn open_pool(engine: &Engine) -> Result<PoolStatus, Failure> {
    let opened = async {
        engine.pool.open().await?;
        engine.pool.status().await
    };
    Ok(opened.await.map_err(doing("cannot open the pool"))?)
}

fn start_log(config: &Config) -> Result<(), Failure> {
    crate::log::start(config.log.format, filter(config)?)
}

/// Checks a configuration as far as possible without starting anything. Returns everything that is wrong.
pub(crate) fn check(config: &Config) -> Vec<Failure> {
    let mut problems = Vec::new();
    let mut keep = |checked: Result<(), Failure>| problems.extend(checked.err());
    keep(filter(config).map(drop));
    keep(Database::of(&config.storage).map(drop));
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let main = match inference(config, &clock, &entropy) {
        Ok(main) => main,
        Err(wrong) => {
            keep(Err(wrong));
            // Of a backend that is never asked.
            Arc::new(SimInference::new(SimSettings::default()))
        }
    };
    if !matches!(config.bootstrap.provisioning, Provisioning::Simulated) {
        keep(provisioner(config).map(drop));
    }
    let catalogue = match catalogue(config.inference.models.as_deref()) {
        Ok(catalogue) => catalogue,
        Err(wrong) => {
            keep(Err(wrong));
            return problems;
        }
    };
    keep(hardware(config, &catalogue, &clock, &entropy).map(drop));
    let catalogue = match routes(config, &main, &catalogue, &clock, &entropy) {
        Ok(routes) => routes.catalogue(&catalogue),
        Err(wrong) => {
            keep(Err(wrong));
            return problems;
        }
    };
    let engine = &config.engine;
    let models = [("TITHE_EVAL_MODEL", &engine.eval_model), ("TITHE_WORK_MODEL", &engine.work_model)];
    let offered = engine.offered_models.iter().filter(|name| **name != engine.work_model);
    for (setting, name) in models.into_iter().chain(offered.map(|name| ("TITHE_OFFERED_MODELS", name))) {
        if catalogue.model(name).is_none() {
            keep(Err(format!(
                "invalid {setting}: expected a model whose price is in the catalogue (TITHE_MODELS adds some), got {name:?}"
            )
            .into()));
        }
        let embeds = catalogue.model(name).is_some_and(|model| model.purpose == Purpose::Embeddings);
        if embeds && setting != "TITHE_OFFERED_MODELS" {
            keep(Err(
                format!("invalid {setting}: expected a chat model, got {name:?}, an embedding model").into()
            ));
        }
    }
    problems
}

fn filter(config: &Config) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&config.log.filter)
        .map_err(|wrong| format!("invalid TITHE_LOG {:?}: {wrong}", config.log.filter).into())
}

/// Starts to listen for signals; the future resolves when one arrives that stops the server: SIGTERM, SIGINT, and SIGHUP when the
/// terminal that the server runs in is closed.
///
/// Tools that rotate logs or reload services send SIGHUP or SIGUSR1 to whatever they find. Neither stops a service: the log goes to
/// the standard error, and settings are read at the start.
fn told_to_stop() -> impl Future<Output = ()> {
    let in_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    let signals = kinds.map(signal);
    async move {
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut user1), Ok(mut user2)] = signals
        else {
            // Without signal handlers only `kill -9` ends the server; no data is lost then.
            return std::future::pending().await;
        };
        loop {
            let ignored = tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => "SIGHUP",
                _ = user1.recv() => "SIGUSR1",
                _ = user2.recv() => "SIGUSR2",
            };
            if ignored == "SIGHUP" && in_terminal {
                return;
            }
            info!(
                signal = ignored,
                "signal ignored: SIGTERM stops the server, and a restart reads new settings"
            );
        }
    }
}
