//! The configuration: defaults that run with none at all; then a TOML file; then environment variables.

mod rules;
mod settings;
mod values;

use crate::database::without_password;
use settings::{SETTINGS, Setting};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tithe_http::PublicUrl;
use tithe_money::{BasisPoints, BtcPrice, UsdMicros};
use tithe_wallet_sim::FaultRates;
use values::Values;

/// Why the configuration cannot be used. Names the setting, where its value comes from, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration file {path} cannot be read")]
    File { path: String, source: std::io::Error },
    #[error("the configuration file {path} is not TOML")]
    Toml { path: String, source: Box<toml::de::Error> },
    #[error("{key:?} in {path} is no setting; `tithe config check` lists them")]
    UnknownKey { key: String, path: String },
    #[error("{0} is set, but is no setting; `tithe config check` lists them")]
    UnknownVariable(String),
    #[error("{name} (from {origin}) is {value:?}: {problem}")]
    Value { name: &'static str, origin: String, value: String, problem: String },
    #[error("{0}")]
    Together(String),
}

/// What the server is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    Development,
    Production,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

/// Where work runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    Simulated { latency: Duration, delta_delay: Duration },
    OpenAi { url: String },
    Anthropic { url: String },
}

/// Where the BTC price comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriceSource {
    /// Given by the operator.
    Fixed(BtcPrice),
    /// Made up, because no money is real here.
    Simulated(BtcPrice),
    /// Public sources.
    Live,
}

/// What is in force.
pub(crate) struct Config {
    values: Values,
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) database_url: String,
    pub(crate) database_connections: u32,
    pub(crate) environment: Environment,
    pub(crate) dev: bool,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) token_secret: Option<Vec<String>>,
    pub(crate) wallet_sim_faults: FaultRates,
    pub(crate) backend: Backend,
    pub(crate) inference_api_key: Option<String>,
    pub(crate) prices: PriceSource,
    pub(crate) models: Option<PathBuf>,
    pub(crate) engine: tithe_engine::Settings,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) http_workers: usize,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) shutdown: Duration,
}

impl Config {
    /// Reads everything.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::of(Values::load(file)?)
    }

    fn of(values: Values) -> Result<Self, ConfigError> {
        let seconds = |name| values.number(name, 1, 31_536_000).map(Duration::from_secs);
        let simulated_inference = values.one_of("TITHE_INFERENCE", &["sim", "openai", "anthropic"])? == "sim";
        values.one_of("TITHE_WALLET", &["sim"])?;
        let backend = match values.text("TITHE_INFERENCE") {
            "openai" => {
                Backend::OpenAi { url: values.required("TITHE_INFERENCE_URL", "TITHE_INFERENCE=openai")? }
            }
            "anthropic" => Backend::Anthropic {
                url: values
                    .optional("TITHE_INFERENCE_URL")
                    .unwrap_or_else(|| "https://api.anthropic.com".to_owned()),
            },
            _ => Backend::Simulated {
                latency: Duration::from_millis(values.number("TITHE_SIM_LATENCY_MS", 0, 600_000)?),
                delta_delay: Duration::from_millis(values.number("TITHE_SIM_DELTA_MS", 0, 60_000)?),
            },
        };
        let model = |name, simulated: &str| match values.optional(name) {
            Some(model) => Ok(model),
            None if simulated_inference => Ok(simulated.to_owned()),
            None => values.required(name, &format!("TITHE_INFERENCE={}", values.text("TITHE_INFERENCE"))),
        };
        let (eval_model, work_model) =
            (model("TITHE_EVAL_MODEL", "sim-small")?, model("TITHE_WORK_MODEL", "sim-large")?);
        let offered_models: BTreeSet<String> = match values.list("TITHE_OFFERED_MODELS") {
            models if !models.is_empty() => models.into_iter().collect(),
            _ if simulated_inference => BTreeSet::from(["sim-small".to_owned(), "sim-large".to_owned()]),
            _ => BTreeSet::from([work_model.clone()]),
        };
        let prices = match values.text("TITHE_BTC_PRICE_USD") {
            // Every wallet so far is simulated, and so is the price unless the operator says otherwise.
            "" => PriceSource::Simulated(values.parsed("simulated price", "100000", BtcPrice::parse)?),
            "live" => PriceSource::Live,
            _ => PriceSource::Fixed(values.parse("TITHE_BTC_PRICE_USD", BtcPrice::parse)?),
        };
        let defaults = tithe_engine::Settings::default();
        let engine = tithe_engine::Settings {
            eval_model,
            eval_max_output_tokens: values.number("TITHE_EVAL_MAX_OUTPUT_TOKENS", 16, 1_000_000)?,
            work_model,
            offered_models,
            margin: values.parse("TITHE_MARGIN_PCT", BasisPoints::parse_percent)?,
            fixed_cost: values.parse("TITHE_FIXED_COST_USD", UsdMicros::parse)?,
            invoice_expiry: seconds("TITHE_INVOICE_EXPIRY_SECONDS")?,
            max_unpaid_invoices: values.number("TITHE_MAX_UNPAID_INVOICES", 1, u64::MAX)?,
            workers: values.count("TITHE_WORKERS", 10_000)?,
            lease: seconds("TITHE_LEASE_SECONDS")?,
            max_attempts: values.parse("TITHE_MAX_ATTEMPTS", |text| match text.parse::<u32>() {
                Ok(attempts @ 1..=1_000) => Ok(attempts),
                _ => Err("not a whole number from 1 to 1000"),
            })?,
            poll_interval: seconds("TITHE_POLL_SECONDS")?,
            rules: rules::read(&values)?,
            identity_token_life: seconds("TITHE_IDENTITY_TOKEN_SECONDS")?,
            ..defaults
        };
        let config = Self {
            listen: values.parse("TITHE_LISTEN", |text| {
                text.parse().map_err(|_| "not an address and port, such as 127.0.0.1:8402 or [::1]:8402")
            })?,
            data_dir: PathBuf::from(values.text("TITHE_DATA_DIR")),
            database_url: values.text("DATABASE_URL").to_owned(),
            database_connections: values.parse("TITHE_DATABASE_CONNECTIONS", |text| {
                match text.parse::<u32>() {
                    Ok(connections @ 1..=1_000) => Ok(connections),
                    _ => Err("not a whole number from 1 to 1000"),
                }
            })?,
            environment: match values.one_of("TITHE_ENV", &["development", "production"])? {
                "production" => Environment::Production,
                _ => Environment::Development,
            },
            dev: values.one_of("TITHE_DEV", &["0", "1"])? == "1",
            log: values.text("TITHE_LOG").to_owned(),
            log_format: match values.one_of("TITHE_LOG_FORMAT", &["pretty", "json"])? {
                "json" => LogFormat::Json,
                _ => LogFormat::Pretty,
            },
            token_secret: Some(values.list("TITHE_TOKEN_SECRET")).filter(|secrets| !secrets.is_empty()),
            wallet_sim_faults: match values.text("TITHE_WALLET_SIM_FAULTS") {
                "" => FaultRates::default(),
                _ => values.parse("TITHE_WALLET_SIM_FAULTS", str::parse)?,
            },
            backend,
            inference_api_key: values.optional("TITHE_INFERENCE_API_KEY"),
            prices,
            models: values.optional("TITHE_MODELS").map(PathBuf::from),
            engine,
            public_url: match values.text("TITHE_PUBLIC_URL") {
                "" => None,
                _ => Some(values.parse("TITHE_PUBLIC_URL", str::parse)?),
            },
            http_workers: values.count("TITHE_HTTP_WORKERS", 1_024)?,
            cors_origins: values
                .parse("TITHE_CORS_ORIGINS", |_| origins(values.list("TITHE_CORS_ORIGINS")))?,
            shutdown: seconds("TITHE_SHUTDOWN_SECONDS")?,
            values,
        };
        config.check()
    }

    /// What no single setting can be blamed for.
    fn check(self) -> Result<Self, ConfigError> {
        if self.environment == Environment::Production {
            // It will not run on simulated inference or a generated secret either, once there is a wallet to ask for.
            let problem =
                "TITHE_ENV=production does not run on the simulated wallet, and there is no other yet";
            return Err(ConfigError::Together(problem.to_owned()));
        }
        if let Some(short) = self.token_secret.iter().flatten().find(|secret| secret.len() < 16) {
            let length = short.len();
            return Err(ConfigError::Together(format!(
                "TITHE_TOKEN_SECRET has a secret of {length} characters; at least 16 are needed"
            )));
        }
        Ok(self)
    }

    /// The database, with a relative SQLite path placed in the data directory.
    pub(crate) fn database(&self) -> String {
        match self.database_url.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => format!("sqlite://{}", self.data_dir.join(path).display()),
            _ => self.database_url.clone(),
        }
    }

    /// Everything that is in force, with where it comes from, as a TOML file that would set it.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::from("# What is in force. Each line can stand in a configuration file.\n");
        for Setting { name, key, help, secret, .. } in SETTINGS {
            let (value, origin) = self.values.get(name);
            let line = if *secret && !value.is_empty() {
                // Not a line that could be taken for a value.
                format!("# {key} is set, and hidden")
            } else if let Some(shown) = without_password(value).filter(|_| *name == "DATABASE_URL") {
                format!("# {key} = {shown:?}, with its password")
            } else {
                format!("{key} = {value:?}")
            };
            let _infallible = write!(text, "\n# {help}\n# {name}, from {origin}\n{line}\n");
        }
        text
    }
}

/// Origins as browsers send them: a scheme, a host, perhaps a port; no path.
fn origins(list: Vec<String>) -> Result<Vec<String>, String> {
    let is_origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '*']))
    };
    match list.iter().find(|text| !is_origin(text)) {
        Some(wrong) => {
            Err(format!("{wrong:?} is no origin; write https://host or https://host:port, without a path"))
        }
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::of(Values::from_parts(None, environment)?)
    }

    fn problem(pairs: &[(&str, &str)]) -> String {
        with(pairs).err().expect("it is refused").to_string()
    }

    #[test]
    fn nothing_at_all_is_a_configuration() {
        let config = with(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8402");
        assert_eq!(config.database(), "sqlite://tithe-data/tithe.db");
        assert!(!config.dev && matches!(config.backend, Backend::Simulated { .. }));
    }

    #[test]
    fn mistakes_are_named_with_where_they_come_from() {
        for (pairs, message) in [
            (
                &[("TITHE_LISTEN", "8402")][..],
                "TITHE_LISTEN (from the environment) is \"8402\": not an address and port",
            ),
            (
                &[("TITHE_MARGIN_PCT", "-5")],
                "TITHE_MARGIN_PCT (from the environment) is \"-5\": not a plain decimal number",
            ),
            (&[("TITHE_DEV", "yes")], "TITHE_DEV (from the environment) is \"yes\": not one of 0, 1"),
            (
                &[("TITHE_WORKERS", "0")],
                "TITHE_WORKERS (from the environment) is \"0\": not a whole number from 1 to 10000",
            ),
            (&[("TITHE_INFERENCE", "openai")], "TITHE_INFERENCE_URL must be set with TITHE_INFERENCE=openai"),
            (&[("TITHE_LISTN", "x")], "TITHE_LISTN is set, but is no setting"),
            (&[("TITHE_ENV", "production")], "TITHE_ENV=production does not run on the simulated wallet"),
            (&[("TITHE_TOKEN_SECRET", "short")], "a secret of 5 characters"),
            (&[("TITHE_CORS_ORIGINS", "https://a.b/")], "\"https://a.b/\" is no origin"),
            (
                &[("TITHE_WALLET_SIM_FAULTS", "lose=x")],
                "TITHE_WALLET_SIM_FAULTS (from the environment) is \"lose=x\"",
            ),
        ] {
            let found = problem(pairs);
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_secrets_stay_hidden() {
        let file = Some((
            "tithe.toml".to_owned(),
            "margin_pct = 10\nlisten = \"[::1]:1\"\ntoken_secret = \"0123456789abcdef\"".to_owned(),
        ));
        let environment = [("TITHE_MARGIN_PCT".to_owned(), "20".to_owned())];
        let config = Config::of(Values::from_parts(file, environment.into_iter()).unwrap()).unwrap();
        assert_eq!(config.engine.margin, BasisPoints::from_percent(20).unwrap());
        assert_eq!(config.listen.to_string(), "[::1]:1");
        let shown = config.describe();
        assert!(shown.contains("margin_pct = \"20\"") && shown.contains("TITHE_LISTEN, from tithe.toml"));
        assert!(!shown.contains("0123456789abcdef"));
    }

    #[test]
    fn an_unknown_key_of_the_file_is_named() {
        let file = Some(("tithe.toml".to_owned(), "listn = \"x\"".to_owned()));
        let error = Values::from_parts(file, std::iter::empty()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "\"listn\" in tithe.toml is no setting; `tithe config check` lists them"
        );
    }
}
