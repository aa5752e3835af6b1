//! The HTTP server, and what the process is run for.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::net::SocketAddr;
use std::time::Duration;
use tithe_http::PublicUrl;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_ENV",
        "env",
        "development",
        "What the server is run for: development, or production (which needs a real wallet, and there is none yet)",
    ),
    Setting::new(
        "TITHE_DEV",
        "dev",
        "0",
        "1 adds routes that pay invoices with play money, for tests and first steps",
    ),
    Setting::new("TITHE_LISTEN", "listen", "127.0.0.1:8402", "The address and port to serve on"),
    Setting::new(
        "TITHE_PUBLIC_URL",
        "public_url",
        "",
        "The URL at which customers reach the server, such as https://tithe.example; signed requests must name it. Empty: signed requests are accepted only from this machine",
    ),
    Setting::new("TITHE_HTTP_WORKERS", "http_workers", "2", "The number of threads that answer requests"),
    Setting::new(
        "TITHE_CORS_ORIGINS",
        "cors_origins",
        "",
        "The origins that browsers may call from, separated by commas. Empty: any",
    ),
    Setting::new(
        "TITHE_SHUTDOWN_SECONDS",
        "shutdown_seconds",
        "30",
        "How long a stopping server lets work finish before it hands the work back, in seconds",
    ),
];

/// What the server is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    Development,
    Production,
}

/// The HTTP server, and what the process is run for.
pub(crate) struct Server {
    pub(crate) environment: Environment,
    pub(crate) dev: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) http_workers: usize,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) shutdown: Duration,
}

impl Server {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            environment: match values.one_of("TITHE_ENV", &["development", "production"])? {
                "production" => Environment::Production,
                _ => Environment::Development,
            },
            dev: values.one_of("TITHE_DEV", &["0", "1"])? == "1",
            listen: values.parse("TITHE_LISTEN", |text| {
                text.parse().map_err(|_| "expected an address and port, such as 127.0.0.1:8402 or [::1]:8402")
            })?,
            public_url: match values.text("TITHE_PUBLIC_URL") {
                "" => None,
                _ => Some(values.parse("TITHE_PUBLIC_URL", str::parse)?),
            },
            http_workers: values.count("TITHE_HTTP_WORKERS", 1_024)?,
            cors_origins: values
                .parse("TITHE_CORS_ORIGINS", |_| origins(values.list("TITHE_CORS_ORIGINS")))?,
            shutdown: values.seconds("TITHE_SHUTDOWN_SECONDS")?,
        })
    }
}

/// Checks origins: a scheme, a host, perhaps a port; no path.
fn origins(list: Vec<String>) -> Result<Vec<String>, String> {
    let is_origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '*']))
    };
    match list.iter().find(|text| !is_origin(text)) {
        Some(wrong) => Err(format!(
            "invalid origin {wrong:?}: expected https://host or https://host:port without a path"
        )),
        None => Ok(list),
    }
}
