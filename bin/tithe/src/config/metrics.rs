//! Metrics, and audits that the server makes by itself.

use super::error::ConfigError;
use super::server::token;
use super::setting::Setting;
use super::values::Values;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_METRICS_LISTEN",
        "metrics_listen",
        "",
        "The address and port of a listener that serves /metrics to anybody who reaches it, such as 127.0.0.1:9402. Empty: no such listener",
    ),
    Setting::secret(
        "TITHE_METRICS_TOKEN",
        "metrics_token",
        "The bearer token of /metrics on the address that customers use, of at least 16 characters. Empty: /metrics is not served there",
    ),
    Setting::new(
        "TITHE_METRICS_INTERVAL_SECONDS",
        "metrics_interval_seconds",
        "15",
        "How often the database is read for metrics, if there are any, in seconds",
    ),
    Setting::new(
        "TITHE_AUDIT_SECONDS",
        "audit_seconds",
        "0",
        "How often the server audits its database by itself, in seconds. 0: never",
    ),
];

/// Metrics, and audits that the server makes by itself.
pub(crate) struct Metrics {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token: Option<String>,
    /// Zero means never.
    pub(crate) interval: Duration,
    /// Zero means never.
    pub(crate) audit: Duration,
}

impl Metrics {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let listen =
            values.parse("TITHE_METRICS_LISTEN", |text| {
                let parse = |text: &str| text.parse::<SocketAddr>();
                Some(text).filter(|text| !text.is_empty()).map(parse).transpose().map_err(
                    |_| "expected an address and port, such as 127.0.0.1:9402 or [::1]:9402, or nothing",
                )
            })?;
        let token = values.parse_secret("TITHE_METRICS_TOKEN", token)?;
        let interval = values.seconds("TITHE_METRICS_INTERVAL_SECONDS")?;
        let audit = Duration::from_secs(values.number("TITHE_AUDIT_SECONDS", 0, 31_536_000)?);
        let has_readers = listen.is_some() || token.is_some();
        Ok(Self { listen, token, interval: if has_readers { interval } else { Duration::ZERO }, audit })
    }

    /// Whether there is anybody to read metrics.
    pub(crate) const fn are_on(&self) -> bool {
        self.listen.is_some() || self.token.is_some()
    }
}
