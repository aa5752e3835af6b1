//! The HTTP server, and what the process is run for.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use tithe_http::{ForwardedHeader, InvalidPublicUrl, LimitSettings, PublicUrl};
use url::Url;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_ENV",
        "env",
        "development",
        "What the server is run for: development, or production (which refuses whatever is simulated or generated)",
    )
    .same(),
    Setting::new(
        "TITHE_DEV",
        "dev",
        "0",
        "1 adds routes that pay invoices with play money, for tests and first steps",
    )
    .same(),
    Setting::secret(
        "TITHE_ADMIN_TOKEN",
        "admin_token",
        "The bearer token of the admin API, of at least 16 characters. Empty: there is no admin API",
    ),
    Setting::new("TITHE_LISTEN", "listen", "127.0.0.1:8402", "The address and port to serve on"),
    Setting::new(
        "TITHE_PUBLIC_URL",
        "public_url",
        "",
        "The URLs at which customers reach the server, such as https://tithe.example, separated by commas; signed requests must name one. Empty: signed requests are accepted only straight from this machine, and not in production",
    )
    .same(),
    Setting::new("TITHE_HTTP_WORKERS", "http_workers", "2", "The number of threads that answer requests"),
    Setting::new(
        "TITHE_CORS_ORIGINS",
        "cors_origins",
        "",
        "The origins that browsers may call from, separated by commas. Empty: any",
    ),
    Setting::new(
        "TITHE_TRUSTED_PROXIES",
        "trusted_proxies",
        "",
        "The reverse proxies in front of the server, as addresses or networks (127.0.0.1, 10.0.0.0/8) separated by commas: the addresses of clients that they write into TITHE_FORWARDED_HEADER are believed",
    ),
    Setting::new(
        "TITHE_FORWARDED_HEADER",
        "forwarded_header",
        "x-forwarded-for",
        "The header in which the trusted proxies name their clients: x-forwarded-for, or forwarded (RFC 7239). The other one is ignored, because proxies pass it on as clients send it",
    ),
    Setting::new(
        "TITHE_REQUESTS_PER_SECOND",
        "requests_per_second",
        "50",
        "The most requests that one address may send in a second on average; ten times as many at once. 0: no limit",
    ),
    Setting::new(
        "TITHE_MAX_CONNECTIONS_PER_ADDRESS",
        "max_connections_per_address",
        "1000",
        "The most connections of one address; at most a half of all that the process may have",
    ),
    Setting::new(
        "TITHE_MAX_STREAMS_PER_ADDRESS",
        "max_streams_per_address",
        "200",
        "The most event streams of one address",
    ),
    Setting::new(
        "TITHE_MAX_STREAMS_PER_JOB",
        "max_streams_per_job",
        "100",
        "The most event streams of one job",
    ),
    Setting::new(
        "TITHE_WRITE_TIMEOUT_SECONDS",
        "write_timeout_seconds",
        "30",
        "After how long a connection is closed that takes nothing of what is sent to it, in seconds",
    ),
    Setting::new(
        "TITHE_KEEP_ALIVE_SECONDS",
        "keep_alive_seconds",
        "75",
        "How long an idle connection is kept open, in seconds; longer than a load balancer in front keeps it",
    ),
    Setting::new(
        "TITHE_STOP_NOTICE_SECONDS",
        "stop_notice_seconds",
        "5",
        "How long a stopping server still serves everything while /readyz fails, so that load balancers notice, in seconds. Default with TITHE_DEV: 0",
    ),
    Setting::new(
        "TITHE_SHUTDOWN_SECONDS",
        "shutdown_seconds",
        "20",
        "How long a stopping server lets work finish before it hands the work back, in seconds",
    ),
];

/// The fewest characters of a token of the operator's.
const TOKEN_CHARS_MIN: usize = 16;

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
    pub(crate) admin_token: Option<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) public_urls: Vec<PublicUrl>,
    pub(crate) http_workers: usize,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) shutdown: Duration,
    pub(crate) notice: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) limits: LimitSettings,
}

impl Server {
    /// Whether the server serves customers with real money.
    pub(crate) fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            environment: match values.one_of("TITHE_ENV", &["development", "production"])? {
                "production" => Environment::Production,
                _ => Environment::Development,
            },
            dev: values.one_of("TITHE_DEV", &["0", "1"])? == "1",
            admin_token: values.parse_secret("TITHE_ADMIN_TOKEN", token)?,
            listen: values.parse("TITHE_LISTEN", |text| {
                text.parse().map_err(|_| "expected an address and port, such as 127.0.0.1:8402 or [::1]:8402")
            })?,
            public_urls: values.parse("TITHE_PUBLIC_URL", |_| {
                values
                    .list("TITHE_PUBLIC_URL")
                    .iter()
                    .map(|url| url.parse())
                    .collect::<Result<_, InvalidPublicUrl>>()
            })?,
            http_workers: values.count("TITHE_HTTP_WORKERS", 1_024)?,
            cors_origins: values
                .parse("TITHE_CORS_ORIGINS", |_| origins(values.list("TITHE_CORS_ORIGINS")))?,
            shutdown: values.seconds("TITHE_SHUTDOWN_SECONDS")?,
            notice: notice(values)?,
            keep_alive: values.seconds("TITHE_KEEP_ALIVE_SECONDS")?,
            limits: limits(values)?,
        })
    }
}

/// How long a stopping server serves on. Nothing is in front of a server for developers, unless they say otherwise.
fn notice(values: &Values) -> Result<Duration, ConfigError> {
    let notice = Duration::from_secs(values.number("TITHE_STOP_NOTICE_SECONDS", 0, 3_600)?);
    let is_dev = values.one_of("TITHE_DEV", &["0", "1"])? == "1";
    Ok(if is_dev && values.is_default("TITHE_STOP_NOTICE_SECONDS") { Duration::ZERO } else { notice })
}

/// Checks a token of the operator's, which clients must be able to send in a header.
pub(super) fn token(text: &str) -> Result<Option<String>, String> {
    let is_token = text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() {
        Ok(None)
    } else if is_token {
        Ok(Some(text.to_owned()))
    } else {
        Err(format!("expected at least {TOKEN_CHARS_MIN} visible ASCII characters without spaces"))
    }
}

/// The limits of clients. How many connections there may be in all is known when the process starts.
fn limits(values: &Values) -> Result<LimitSettings, ConfigError> {
    let rate = values.number("TITHE_REQUESTS_PER_SECOND", 0, 1_000_000)?;
    Ok(LimitSettings {
        trusted_proxies: values.parse("TITHE_TRUSTED_PROXIES", |_| {
            let networks = values.list("TITHE_TRUSTED_PROXIES");
            networks.iter().map(|text| network(text)).collect::<Result<_, String>>()
        })?,
        forwarded_header: values.parse("TITHE_FORWARDED_HEADER", str::parse::<ForwardedHeader>)?,
        requests_per_second: u32::try_from(rate).ok().and_then(NonZeroU32::new),
        connections_per_address: values.count("TITHE_MAX_CONNECTIONS_PER_ADDRESS", 1_000_000)?,
        streams_per_address: values.count("TITHE_MAX_STREAMS_PER_ADDRESS", 1_000_000)?,
        streams_per_job: values.count("TITHE_MAX_STREAMS_PER_JOB", 1_000_000)?,
        write_timeout: values.seconds("TITHE_WRITE_TIMEOUT_SECONDS")?,
        ..LimitSettings::default()
    })
}

/// An address or a network.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())).ok();
    let network = text.parse().ok().or_else(address);
    network.ok_or_else(|| format!("expected an address or a network such as 10.0.0.0/8, got {text:?}"))
}

/// Checks origins (a scheme, a host, perhaps a port; no path), and writes them as browsers do: without a default port, and with
/// international names encoded.
fn origins(list: Vec<String>) -> Result<Vec<String>, String> {
    let origin = |text: String| {
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let is_bare = |url: &Url| {
            let alone = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            alone && url.username().is_empty() && url.password().is_none() && !text.ends_with('/')
        };
        let url = url.filter(|url| is_bare(url) && !text.contains('*'));
        url.map(|url| url.origin().ascii_serialization()).ok_or_else(|| {
            format!("invalid origin {text:?}: expected https://host or https://host:port without a path")
        })
    };
    list.into_iter().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (text, origin) in [
            ("https://a.example", Some("https://a.example")),
            ("https://A.example:443", Some("https://a.example")),
            ("http://a.example:80", Some("http://a.example")),
            ("http://a.example:8080", Some("http://a.example:8080")),
            ("https://b\u{fc}cher.example", Some("https://xn--bcher-kva.example")),
            ("https://a.example/", None),
            ("https://a.example/x", None),
            ("https://*.example", None),
            ("https://me@a.example", None),
            ("ftp://a.example", None),
            ("a.example", None),
        ] {
            let found = origins(vec![text.to_owned()]).ok();
            assert_eq!(
                found.as_deref(),
                origin.map(|origin| [origin.to_owned()]).as_ref().map(|it| &it[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_and_networks_are_proxies() {
        for (text, network) in
            [("127.0.0.1", "127.0.0.1/32"), ("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128")]
        {
            assert_eq!(super::network(text).unwrap().to_string(), network);
        }
        assert!(network("localhost").is_err() && network("10.0.0.0/33").is_err());
    }
}
