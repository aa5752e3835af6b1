//! Building the adapters that the configuration names.

use crate::config::{Backend, BackendConnection, Config, MountConfig, PriceSource, Provisioning};
use crate::failure::{Failure, doing};
use crate::url::without_secrets;
use std::path::Path;
use std::sync::Arc;
use tithe_bootstrap::{NoProvisioner, Provisioner};
use tithe_clock::{Clock, Entropy};
use tithe_engine::Hardware;
use tithe_engine::inference::Inference;
use tithe_engine::mounts::Mount;
use tithe_engine::sessions::{NoWebhooks, Webhooks};
use tithe_inference::{
    Anthropic, AnthropicSettings, ApiKey, GuardSettings, Guarded, OpenAiCompatible, OpenAiSettings,
    SimInference, SimSettings,
};
use tithe_price_feed::{FixedPrice, LivePriceFeed, PriceSettings};
use tithe_pricing::{Catalogue, PriceFeed};
use tithe_provisioner::{
    CommandProvisioner, CommandSettings, DigitalOcean, DigitalOceanSettings, SimOptions, SimProvisioner,
};
use tithe_upstream_http::{HttpUpstream, UpstreamSettings};
use tithe_webhook::WebhookSender;
use tokio_util::sync::CancellationToken;

/// The AI backend.
pub(crate) fn inference(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<dyn Inference>, Failure> {
    backend(&config.inference.connection, clock, entropy)
}

/// The operator's own machine, if there is one. Its model must be in the catalogue.
pub(crate) fn hardware(
    config: &Config,
    catalogue: &Catalogue,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Option<Hardware>, Failure> {
    let Some(hardware) = &config.hardware else { return Ok(None) };
    let model = hardware.model.clone();
    if catalogue.model(&model).is_none() {
        let problem =
            format!("invalid TITHE_HARDWARE_MODEL: expected a model in the catalogue, got {model:?}");
        return Err(problem.into());
    }
    Ok(Some(Hardware { inference: backend(&hardware.connection, clock, entropy)?, model }))
}

/// A mounted route.
pub(crate) fn mount(config: &MountConfig) -> Result<Mount, Failure> {
    let upstream = HttpUpstream::new(UpstreamSettings {
        url: config.upstream.clone(),
        headers: config.headers.clone(),
        timeout: config.timeout,
        response_bytes_max: config.response_bytes_max,
    })?;
    Ok(Mount {
        path: config.path.clone(),
        methods: config.methods.clone(),
        price: config.price,
        passed_headers: config.passed_headers.clone(),
        request_bytes_max: config.request_bytes_max,
        upstream: Arc::new(upstream),
    })
}

/// A backend, by its connection.
pub(crate) fn backend(
    connection: &BackendConnection,
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
    let BackendConnection { parameters, url_setting, api_key_setting, .. } = connection;
    let key = connection.api_key.as_deref().map(str::parse::<ApiKey>).transpose();
    let key = key.map_err(doing(format!("invalid {api_key_setting}")))?;
    let base = |url: &str| {
        let shown = without_secrets(url).unwrap_or_else(|| url.to_owned());
        url.parse().map_err(doing(format!("invalid {url_setting} {shown:?}")))
    };
    Ok(match &connection.backend {
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
pub(crate) fn provisioner(config: &Config) -> Result<Arc<dyn Provisioner>, Failure> {
    Ok(match &config.bootstrap.provisioning {
        Provisioning::None => Arc::new(NoProvisioner),
        Provisioning::Simulated => {
            let folder = config.storage.data_dir.join("provisioner-sim");
            let opened = SimProvisioner::open(folder, SimOptions::default());
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

/// What warns the owners of sessions.
pub(crate) fn webhooks(config: &Config) -> Result<Arc<dyn Webhooks>, Failure> {
    Ok(match config.sessions.webhooks {
        None => Arc::new(NoWebhooks),
        Some(destinations) => Arc::new(WebhookSender::new(destinations)?),
    })
}

/// Where the BTC price comes from.
pub(crate) fn prices(
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

/// The models and their prices.
pub(crate) fn catalogue(file: Option<&Path>) -> Result<Catalogue, Failure> {
    let built_in = Catalogue::built_in();
    let Some(path) = file else { return Ok(built_in) };
    let what = format!("cannot use the models in {} (TITHE_MODELS)", path.display());
    let text = std::fs::read_to_string(path).map_err(doing(what.clone()))?;
    Ok(built_in.overridden_by(Catalogue::parse(&text).map_err(doing(what))?))
}
