//! Sessions.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::time::Duration;
use tithe_money::Sats;
use tithe_webhook::Destinations;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_SESSION_MIN_SATS",
        "session_min_sats",
        "100",
        "The least that one deposit or top-up of a session is, in sats",
    )
    .same(),
    Setting::new(
        "TITHE_SESSION_MAX_SATS",
        "session_max_sats",
        "1000000",
        "The most that one deposit or top-up of a session is, in sats",
    )
    .same(),
    Setting::new(
        "TITHE_SESSION_IDLE_SECONDS",
        "session_idle_seconds",
        "2592000",
        "How long a session may be unused before it ends and is refunded, in seconds",
    )
    .same(),
    Setting::new(
        "TITHE_PAID_REQUEST_IDLE_SECONDS",
        "paid_request_idle_seconds",
        "86400",
        "How long the payment of one request, or a deposit that was not opened, can be used before it is refunded, in seconds",
    )
    .same(),
    Setting::new(
        "TITHE_PAYMENT_SESSION_DEPOSIT_SATS",
        "payment_session_deposit_sats",
        "0",
        "The deposit of a session of the scheme Payment, in sats; 0: 20 times the price of the request that it is offered for. At least TITHE_SESSION_MIN_SATS and at most TITHE_SESSION_MAX_SATS",
    )
    .same(),
    Setting::new(
        "TITHE_PAYMENT_SESSION_IDLE_SECONDS",
        "payment_session_idle_seconds",
        "3600",
        "How long a session of the scheme Payment may be unused before it ends and is refunded, in seconds; its clients are told",
    )
    .same(),
    Setting::new(
        "TITHE_PAID_REQUEST_OUTPUT_TOKENS",
        "paid_request_output_tokens",
        "4096",
        "The most output that a request which is paid for by itself is priced for, in tokens, if it says nothing itself; at most its model's",
    )
    .same(),
    Setting::new(
        "TITHE_SESSION_REQUESTS",
        "session_requests",
        "64",
        "The most requests of sessions that this server works on at once; others wait up to 25 seconds",
    ),
    Setting::new(
        "TITHE_SESSION_EVALUATION",
        "session_evaluation",
        "1",
        "Whether requests of sessions are evaluated before the work: 1, or 0",
    )
    .same(),
    Setting::new(
        "TITHE_WEBHOOKS",
        "webhooks",
        "public",
        "Where owners of sessions may have warnings sent: none, public (https, to the public internet), or any (also http, and your own network)",
    )
    .same(),
];

/// Sessions.
pub(crate) struct Sessions {
    pub(super) payment_min: Sats,
    pub(super) payment_max: Sats,
    pub(super) idle: Duration,
    pub(super) paid_request_idle: Duration,
    pub(super) paid_request_output_tokens: u64,
    /// Zero: 20 times the price of a request.
    pub(super) payment_session_deposit: Sats,
    pub(super) payment_session_idle: Duration,
    pub(super) requests: usize,
    pub(super) evaluation: bool,
    /// `None` means that no warnings are sent.
    pub(crate) webhooks: Option<Destinations>,
}

impl Sessions {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let sats = |name, least| {
            let number = values.number(name, least, Sats::MAX.get())?;
            values.parse(name, |_| Sats::new(number).map_err(|wrong| wrong.to_string()))
        };
        let (payment_min, payment_max) =
            (sats("TITHE_SESSION_MIN_SATS", 1)?, sats("TITHE_SESSION_MAX_SATS", 1)?);
        values.parse("TITHE_SESSION_MAX_SATS", |_| {
            if payment_max < payment_min { Err("expected at least TITHE_SESSION_MIN_SATS") } else { Ok(()) }
        })?;
        Ok(Self {
            payment_min,
            payment_max,
            // Use is known to a minute.
            idle: values.number("TITHE_SESSION_IDLE_SECONDS", 120, 31_536_000).map(Duration::from_secs)?,
            paid_request_idle: values
                .number("TITHE_PAID_REQUEST_IDLE_SECONDS", 120, 31_536_000)
                .map(Duration::from_secs)?,
            paid_request_output_tokens: values.number("TITHE_PAID_REQUEST_OUTPUT_TOKENS", 1, 1_000_000)?,
            payment_session_deposit: sats("TITHE_PAYMENT_SESSION_DEPOSIT_SATS", 0)?,
            payment_session_idle: values
                .number("TITHE_PAYMENT_SESSION_IDLE_SECONDS", 120, 31_536_000)
                .map(Duration::from_secs)?,
            requests: values.count("TITHE_SESSION_REQUESTS", 10_000)?,
            webhooks: match values.one_of("TITHE_WEBHOOKS", &["none", "public", "any"])? {
                "none" => None,
                "any" => Some(Destinations::Any),
                _ => Some(Destinations::Public),
            },
            evaluation: values.number("TITHE_SESSION_EVALUATION", 0, 1)? == 1,
        })
    }
}
