//! The configuration: defaults that need no configuration at all; then a TOML file; then environment variables.
//!
//! Each group of settings is a file: its settings with their defaults and descriptions, and what they are read into.

mod bootstrap;
mod credits;
mod error;
mod free_tier;
mod inference;
mod jobs;
mod licences;
mod log;
mod metrics;
mod mounts;
mod prices;
mod server;
mod sessions;
mod setting;
mod shown;
mod storage;
mod suggestion;
mod values;
mod wallet;

pub(crate) use bootstrap::Provisioning;
pub(crate) use error::{ConfigError, ConfigErrors};
pub(crate) use inference::{Backend, BackendConnection, Parameters};
pub(crate) use log::LogFormat;
pub(crate) use mounts::MountConfig;
pub(crate) use prices::PriceSource;
pub(crate) use shown::table;
pub(crate) use storage::Storage;
pub(crate) use wallet::Connection;

use bootstrap::Bootstrap;
use credits::{Credits, Hardware};
use free_tier::FreeTier;
use inference::Inference;
use jobs::Jobs;
use licences::Licences;
use log::Log;
use metrics::Metrics;
use prices::Prices;
use server::{Environment, Server};
use sessions::Sessions;
use std::collections::BTreeSet;
use std::path::Path;
use values::{Groups, Values};
use wallet::Wallet;

/// Every group of settings, in the order in which they are shown.
const GROUPS: Groups = &[
    server::SETTINGS,
    storage::SETTINGS,
    log::SETTINGS,
    metrics::SETTINGS,
    wallet::SETTINGS,
    inference::SETTINGS,
    prices::SETTINGS,
    free_tier::SETTINGS,
    credits::SETTINGS,
    licences::SETTINGS,
    jobs::SETTINGS,
    sessions::SETTINGS,
    bootstrap::SETTINGS,
];

/// The configuration in force.
pub(crate) struct Config {
    values: Values,
    pub(crate) server: Server,
    pub(crate) storage: Storage,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) wallet: Wallet,
    pub(crate) inference: Inference,
    pub(crate) hardware: Option<Hardware>,
    pub(crate) licences: Licences,
    pub(crate) prices: Prices,
    pub(crate) bootstrap: Bootstrap,
    pub(crate) sessions: Sessions,
    pub(crate) mounts: Vec<MountConfig>,
    pub(crate) engine: tithe_engine::Settings,
}

impl Config {
    /// Reads the file and the environment.
    ///
    /// # Errors
    /// Everything that is wrong at once, as far as one problem does not hide another.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigErrors> {
        let (values, problems) = Values::load(GROUPS, file);
        Self::examine(values, problems)
    }

    /// Reads all settings. Whenever some of them are wrong, they get their defaults, so that the others can be looked at.
    fn examine(values: Values, mut problems: Vec<ConfigError>) -> Result<Self, ConfigErrors> {
        let (mounts, wrong) = mounts::read(&values);
        problems.extend(wrong);
        let (mut working, mut reset) = (values, BTreeSet::new());
        loop {
            let problem = match Self::read(working.clone()) {
                Ok(config) => {
                    let config = Self { mounts, ..config };
                    problems.extend(config.check(&reset).err());
                    return if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) };
                }
                Err(problem) => problem,
            };
            let named = named(&problem);
            // What a wrong setting leads to once it has its default is no problem of its own.
            if !named.iter().any(|name| reset.contains(name)) {
                problems.push(problem);
            }
            // With a default in place of each, the same problem cannot come again.
            let changed = named.iter().filter(|name| working.reset(name)).count();
            if changed == 0 {
                return Err(ConfigErrors(problems));
            }
            reset.extend(named);
        }
    }

    #[cfg(test)]
    fn of(values: Values) -> Result<Self, ConfigError> {
        Self::examine(values, Vec::new())
            .map_err(|problems| problems.0.into_iter().next().expect("a problem"))
    }

    fn read(values: Values) -> Result<Self, ConfigError> {
        let (inference, prices) = (Inference::read(&values)?, Prices::read(&values)?);
        let (bootstrap, sessions) = (Bootstrap::read(&values)?, Sessions::read(&values)?);
        let wallet = Wallet::read(&values)?;
        let Credits { hardware, settings: credits, requests: ask_requests } =
            Credits::read(&values, &inference)?;
        let engine = engine_settings(
            &inference,
            &wallet,
            &prices,
            &Jobs::read(&values)?,
            &sessions,
            &bootstrap,
            FreeTier::read(&values)?,
        );
        let metrics = Metrics::read(&values)?;
        let engine = tithe_engine::Settings {
            credits,
            ask_requests,
            measure_interval: metrics.interval,
            audit_interval: metrics.audit,
            ..engine
        };
        Ok(Self {
            server: Server::read(&values)?,
            storage: Storage::read(&values)?,
            log: Log::read(&values)?,
            metrics,
            wallet,
            inference,
            hardware,
            licences: Licences::read(&values)?,
            prices,
            bootstrap,
            sessions,
            mounts: Vec::new(),
            engine,
            values,
        })
    }

    /// Whether the server runs in production.
    pub(crate) fn is_production(&self) -> bool {
        self.server.environment == Environment::Production
    }

    /// Checks what concerns several groups. Settings in `reset` were wrong, and have their defaults.
    fn check(&self, reset: &BTreeSet<&str>) -> Result<(), ConfigError> {
        if self.is_production() {
            self.check_production(reset)?;
        }
        let is_public = !self.server.listen.ip().is_loopback();
        if self.server.dev && is_public && !self.inference.connection.is_simulated() {
            let problem = "TITHE_DEV=1 lets anybody pay with play money, so with a real AI backend it serves only on a loopback \
                           address (TITHE_LISTEN)";
            return Err(ConfigError::Together(problem.to_owned()));
        }
        if self.server.dev && is_public && !self.mounts.is_empty() {
            let problem = "TITHE_DEV=1 lets anybody pay with play money, so with mounted routes it serves only on a loopback address \
                           (TITHE_LISTEN)";
            return Err(ConfigError::Together(problem.to_owned()));
        }
        Ok(())
    }

    /// Production runs on nothing that is simulated, generated, or another database than was meant.
    fn check_production(&self, reset: &BTreeSet<&str>) -> Result<(), ConfigError> {
        let meant = self.values.lookalikes.iter().find(|(_, setting)| *setting == "DATABASE_URL");
        if let Some((name, setting)) = meant {
            let problem =
                format!("missing {setting}: {name} is set, which is no setting; did you mean {setting}?");
            return Err(ConfigError::Together(problem));
        }
        let hardware = self.hardware.as_ref();
        // Which price is the default depends on the wallet.
        let price_follows = reset.contains("TITHE_WALLET");
        let problems = [
            (self.wallet.connection.is_none(), "TITHE_WALLET", "the simulated wallet: set TITHE_WALLET"),
            (
                self.inference.connection.is_simulated(),
                "TITHE_INFERENCE",
                "the simulated inference: set TITHE_INFERENCE",
            ),
            (
                hardware.is_some_and(|hardware| hardware.connection.is_simulated()),
                "TITHE_HARDWARE",
                "the simulated hardware: set TITHE_HARDWARE",
            ),
            (
                matches!(self.prices.btc, PriceSource::Simulated(_)) && !price_follows,
                "TITHE_BTC_PRICE_USD",
                "a simulated BTC price: set TITHE_BTC_PRICE_USD",
            ),
            (
                matches!(self.bootstrap.provisioning, Provisioning::Simulated),
                "TITHE_PROVISIONER",
                "the simulated provisioner: set TITHE_PROVISIONER",
            ),
            (
                self.storage.token_secret.is_none(),
                "TITHE_TOKEN_SECRET",
                "a generated secret: set TITHE_TOKEN_SECRET",
            ),
            (self.server.dev, "TITHE_DEV", "the development routes: unset TITHE_DEV"),
        ];
        let problems = problems.into_iter().filter(|(is_wrong, name, _)| *is_wrong && !reset.contains(name));
        let problems: Vec<&str> = problems.map(|(_, _, problem)| problem).collect();
        if problems.is_empty() {
            return Ok(());
        }
        let problem = format!("TITHE_ENV=production does not run on {}", problems.join("; nor on "));
        Err(ConfigError::Together(problem))
    }

    /// What is not wrong, but probably not meant.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let lookalikes = self.values.lookalikes.iter();
        lookalikes
            .map(|(name, setting)| format!("{name} is set, which is no setting: did you mean {setting}?"))
            .collect()
    }
}

/// The settings that a problem names.
fn named(problem: &ConfigError) -> Vec<&'static str> {
    if let ConfigError::Value { name, .. } = problem {
        return vec![name];
    }
    let text = problem.to_string();
    let words: BTreeSet<&str> =
        text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_').collect();
    let names = GROUPS.iter().copied().flatten().map(|setting| setting.name);
    names.filter(|name| words.contains(name)).collect()
}

/// The settings of the engine.
fn engine_settings(
    inference: &Inference,
    wallet: &Wallet,
    prices: &Prices,
    jobs: &Jobs,
    sessions: &Sessions,
    bootstrap: &Bootstrap,
    free_tier: FreeTier,
) -> tithe_engine::Settings {
    tithe_engine::Settings {
        eval_model: inference.eval_model.clone(),
        eval_max_output_tokens: inference.eval_max_output_tokens,
        work_model: inference.work_model.clone(),
        offered_models: inference.offered_models.clone(),
        when_client_leaves: inference.when_client_leaves,
        margin: prices.margin,
        fixed_cost: prices.fixed_cost,
        invoice_expiry: jobs.invoice_expiry,
        held_payments_max: jobs.held_payments_max,
        hold_requests: jobs.hold_requests,
        max_unpaid_invoices: jobs.max_unpaid_invoices,
        max_unpaid_per_origin: jobs.max_unpaid_per_address,
        max_unpaid_per_identity: jobs.max_unpaid_per_identity,
        late_payment_window: jobs.late_payment_window,
        retention: jobs.retention,
        text_retention: jobs.text_retention,
        probe_backend: !inference.connection.is_simulated(),
        poll_interval: jobs.poll_interval,
        workers: jobs.workers,
        lease: jobs.lease,
        max_attempts: jobs.max_attempts,
        session_payment_min: sessions.payment_min,
        session_payment_max: sessions.payment_max,
        session_idle: sessions.idle,
        paid_request_idle: sessions.paid_request_idle,
        paid_request_output_tokens: sessions.paid_request_output_tokens,
        payment_session_deposit: sessions.payment_session_deposit,
        payment_session_idle: sessions.payment_session_idle,
        session_requests: sessions.requests,
        session_evaluation: sessions.evaluation,
        bootstrap_plans: bootstrap.plans.clone(),
        provision_timeout: bootstrap.timeout,
        payout_fees: wallet.payout_fees,
        reconcile_interval: wallet.reconcile,
        rules: free_tier.rules,
        identity_token_life: free_tier.identity_token_life,
        ..tithe_engine::Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::setting::{Across, Setting};
    use super::*;
    use tithe_engine::WhenClientLeaves;
    use tithe_money::BasisPoints;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::of(Values::from_parts(GROUPS, None, environment)?)
    }

    fn problem(pairs: &[(&str, &str)]) -> String {
        with(pairs).err().expect("it is refused").to_string()
    }

    #[test]
    fn nothing_at_all_is_a_configuration() {
        let config = with(&[]).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8402");
        assert_eq!(config.storage.database(), "sqlite://tithe-data/tithe.db");
        assert!(!config.server.dev && config.inference.connection.is_simulated());
    }

    #[test]
    fn a_backend_is_left_or_drained_when_a_client_leaves() {
        let read = |value| with(&[("TITHE_INFERENCE_WHEN_CLIENT_LEAVES", value)]);
        assert_eq!(with(&[]).unwrap().engine.when_client_leaves, WhenClientLeaves::Cancel);
        assert_eq!(read("drain").unwrap().engine.when_client_leaves, WhenClientLeaves::Drain);
        assert!(read("stay").is_err());
    }

    #[test]
    fn a_real_wallet_has_a_real_price_unless_one_is_fixed() {
        let phoenixd = ("TITHE_WALLET", "phoenixd");
        let password = ("TITHE_PHOENIXD_PASSWORD", "secret");
        assert_eq!(with(&[phoenixd, password]).unwrap().prices.btc, PriceSource::Live);
        let fixed = with(&[phoenixd, password, ("TITHE_BTC_PRICE_USD", "50000")]).unwrap();
        assert!(matches!(fixed.prices.btc, PriceSource::Fixed(_)));
        assert!(matches!(with(&[]).unwrap().prices.btc, PriceSource::Simulated(_)));
    }

    #[test]
    fn mistakes_are_named_with_where_they_come_from() {
        for (pairs, message) in [
            (
                &[("TITHE_LISTEN", "8402")][..],
                "invalid TITHE_LISTEN (from the environment): expected an address and port",
            ),
            (&[("TITHE_MARGIN_PCT", "-5")], "invalid TITHE_MARGIN_PCT (from the environment): "),
            (
                &[("TITHE_DEV", "yes")],
                "invalid TITHE_DEV (from the environment): expected one of 0, 1, got \"yes\"",
            ),
            (
                &[("TITHE_WORKERS", "0")],
                "invalid TITHE_WORKERS (from the environment): expected a whole number from 1 to 10000, got \"0\"",
            ),
            (
                &[("TITHE_INFERENCE", "openai")],
                "missing TITHE_INFERENCE_URL: it is required with TITHE_INFERENCE=openai",
            ),
            (&[("TITHE_LISTN", "x")], "unknown setting TITHE_LISTN in the environment"),
            (&[("TITHE_ENV", "production")], "TITHE_ENV=production does not run on the simulated wallet"),
            (&[("TITHE_TOKEN_SECRET", "short")], "at least 16 bytes, got one of 5"),
            (
                &[("TITHE_CLAIM_SECRET", "REPLACE-WITH-64-HEX-DIGITS")],
                "invalid TITHE_CLAIM_SECRET: expected secrets of your own, got the placeholder of an example",
            ),
            (
                &[("TITHE_CLAIM_SECRET", "short")],
                "invalid TITHE_CLAIM_SECRET: expected secrets of at least 16 bytes",
            ),
            (
                &[("TITHE_TRUSTED_PROXIES", "10.0.0.0/33")],
                "invalid TITHE_TRUSTED_PROXIES (from the environment): ",
            ),
            (
                &[("TITHE_FORWARDED_HEADER", "x-real-ip")],
                "invalid TITHE_FORWARDED_HEADER (from the environment): expected x-forwarded-for or forwarded, got \"x-real-ip\"",
            ),
            (
                &[
                    ("TITHE_DEV", "1"),
                    ("TITHE_LISTEN", "0.0.0.0:1"),
                    ("TITHE_INFERENCE", "openai"),
                    ("TITHE_INFERENCE_URL", "http://127.0.0.1:1/v1"),
                    ("TITHE_EVAL_MODEL", "m"),
                    ("TITHE_WORK_MODEL", "m"),
                ],
                "TITHE_DEV=1 lets anybody pay with play money",
            ),
            (&[("TITHE_PROVISIONER", "magic")], "expected one of none, sim, command, digitalocean"),
            (
                &[("TITHE_PROVISIONER", "command")],
                "missing TITHE_BOOTSTRAP_PLANS: it is required with TITHE_PROVISIONER=command",
            ),
            (
                &[("TITHE_PROVISIONER", "command"), ("TITHE_BOOTSTRAP_PLANS", "a=1")],
                "missing TITHE_PROVISIONER_COMMAND: it is required with TITHE_PROVISIONER=command",
            ),
            (
                &[("TITHE_PROVISIONER", "none"), ("TITHE_BOOTSTRAP_PLANS", "a=1")],
                "TITHE_PROVISIONER=none makes no nodes",
            ),
            (&[("TITHE_BOOTSTRAP_PLANS", "a=0")], "expected a price of a in whole sats"),
            (&[("TITHE_BOOTSTRAP_PLANS", "a=1,a=2")], "a occurs twice"),
            (&[("TITHE_BOOTSTRAP_PLANS", "small")], "expected name=value, separated by commas"),
            (
                &[
                    ("TITHE_PROVISIONER", "digitalocean"),
                    ("TITHE_BOOTSTRAP_PLANS", "a=1"),
                    ("TITHE_DIGITALOCEAN_TOKEN", "t"),
                ],
                "TITHE_DIGITALOCEAN_SIZES has no size for the plan \"a\"",
            ),
            (&[("TITHE_CORS_ORIGINS", "https://a.b/")], "invalid origin \"https://a.b/\""),
            (
                &[("TITHE_ENV", "production"), ("TITHE_HARDWARE", "sim")],
                "nor on the simulated hardware: set TITHE_HARDWARE",
            ),
            (
                &[("TITHE_ADMIN_TOKEN", "0123456789abcde")],
                "invalid TITHE_ADMIN_TOKEN (from the environment): expected at least 16 visible ASCII characters without spaces, \
                 got \"a hidden value\"",
            ),
            (&[("TITHE_ADMIN_TOKEN", "sixteen characters")], "visible ASCII characters without spaces"),
            (
                &[("TITHE_METRICS_TOKEN", "0123456789abcde")],
                "invalid TITHE_METRICS_TOKEN (from the environment): expected at least 16 visible ASCII characters without \
                 spaces, got \"a hidden value\"",
            ),
            (
                &[("TITHE_METRICS_LISTEN", "9402")],
                "invalid TITHE_METRICS_LISTEN (from the environment): expected an address and port",
            ),
            (
                &[("TITHE_WALLET_SIM_FAULTS", "lose=x")],
                "invalid TITHE_WALLET_SIM_FAULTS (from the environment): ",
            ),
        ] {
            let found = problem(pairs);
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn a_server_for_developers_stops_at_once_unless_it_is_told_otherwise() {
        let notice = |pairs| with(pairs).unwrap().server.notice.as_secs();
        let (dev, seven) = (("TITHE_DEV", "1"), ("TITHE_STOP_NOTICE_SECONDS", "7"));
        assert_eq!([notice(&[]), notice(&[dev]), notice(&[seven]), notice(&[dev, seven])], [5, 0, 7, 7]);
    }

    #[test]
    fn credits_and_the_admin_api_need_no_configuration() {
        let config = with(&[]).unwrap();
        assert_eq!(config.engine.credits, tithe_engine::CreditSettings::default());
        assert_eq!(config.engine.ask_requests, tithe_engine::Settings::default().ask_requests);
        assert!(config.hardware.is_none() && config.server.admin_token.is_none());
        let configured = with(&[("TITHE_CREDITS_NEW_INSTALLS", "7"), ("TITHE_ASK_REQUESTS", "3")]).unwrap();
        assert_eq!((configured.engine.credits.new_installs, configured.engine.ask_requests), (7, 3));
    }

    #[test]
    fn the_database_is_not_read_for_metrics_that_nobody_reads() {
        let config = with(&[("TITHE_METRICS_INTERVAL_SECONDS", "3")]).unwrap();
        assert!(!config.metrics.are_on() && config.engine.measure_interval.is_zero());
        assert!(config.engine.audit_interval.is_zero());
        for reader in
            [("TITHE_METRICS_LISTEN", "127.0.0.1:9402"), ("TITHE_METRICS_TOKEN", "0123456789abcdef")]
        {
            let config = with(&[reader, ("TITHE_AUDIT_SECONDS", "60")]).unwrap();
            assert!(config.metrics.are_on(), "{reader:?}");
            assert_eq!(config.engine.measure_interval, std::time::Duration::from_secs(15));
            assert_eq!(config.engine.audit_interval, std::time::Duration::from_mins(1));
            assert!(!config.describe().contains("0123456789abcdef"));
        }
    }

    #[test]
    fn the_admin_token_and_the_key_of_the_hardware_are_not_shown() {
        let config = with(&[
            ("TITHE_ADMIN_TOKEN", "0123456789abcdef"),
            ("TITHE_HARDWARE", "sim"),
            ("TITHE_HARDWARE_API_KEY", "very-secret-key"),
        ])
        .unwrap();
        assert_eq!(config.server.admin_token.as_deref(), Some("0123456789abcdef"));
        let shown = config.describe();
        assert!(shown.contains("# admin_token is set, and hidden"), "{shown}");
        assert!(!shown.contains("0123456789abcdef") && !shown.contains("very-secret-key"), "{shown}");
    }

    #[test]
    fn the_environment_wins_over_the_file_and_secrets_stay_hidden() {
        let file = Some((
            "tithe.toml".to_owned(),
            "margin_pct = 10\nlisten = \"[::1]:1\"\ntoken_secret = \"0123456789abcdef\"".to_owned(),
        ));
        let environment = [("TITHE_MARGIN_PCT".to_owned(), "20".to_owned())];
        let config = Config::of(Values::from_parts(GROUPS, file, environment.into_iter()).unwrap()).unwrap();
        assert_eq!(config.engine.margin, BasisPoints::from_percent(20).unwrap());
        assert_eq!(config.server.listen.to_string(), "[::1]:1");
        let shown = config.describe();
        assert!(shown.contains("margin_pct = \"20\"") && shown.contains("TITHE_LISTEN, from tithe.toml"));
        assert!(!shown.contains("0123456789abcdef"));
    }

    #[test]
    fn every_setting_has_a_name_of_its_own_and_a_key_that_follows_from_it() {
        let settings: Vec<&Setting> = GROUPS.iter().copied().flatten().collect();
        let names: BTreeSet<&str> = settings.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), settings.len());
        for Setting { name, key, help, .. } in settings {
            assert_eq!(name.strip_prefix("TITHE_").unwrap_or(name).to_lowercase(), *key);
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn every_group_of_settings_is_shown() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let has_group = |text: &String| text.contains("pub(super) const SETTINGS: &[Setting]");
        // Not counting this line.
        assert_eq!(files.filter(has_group).count(), GROUPS.len() + 1, "a group is missing in GROUPS");
    }

    /// A secret cannot be compared as it is: what is compared in its place is said in `peers.rs` and in `Config::wallet_identity`.
    #[test]
    fn every_secret_that_servers_share_is_compared() {
        let shared = GROUPS
            .iter()
            .copied()
            .flatten()
            .filter(|setting| setting.secret && setting.across != Across::Own);
        let shared: Vec<&str> = shared.map(|setting| setting.name).collect();
        let compared = [
            "TITHE_TOKEN_SECRET",
            "TITHE_CLAIM_SECRET",
            // By the public key.
            "TITHE_NOSTR_SECRET_KEY",
            "LNBITS_API_KEY",
            "TITHE_NWC_URL",
            "TITHE_PHOENIXD_PASSWORD",
            // By the ids of the keys.
            "TITHE_LICENCE_SECRET",
        ];
        assert_eq!(shared, compared);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_named() {
        let file = Some(("tithe.toml".to_owned(), "listn = \"x\"".to_owned()));
        let error = Values::from_parts(GROUPS, file, std::iter::empty()).err().unwrap();
        assert_eq!(error.to_string(), "unknown setting \"listn\" in tithe.toml: did you mean listen?");
    }
}
