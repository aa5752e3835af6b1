//! Jobs and their invoices.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::time::Duration;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_INVOICE_EXPIRY_SECONDS",
        "invoice_expiry_seconds",
        "600",
        "How long an invoice can be paid, in seconds",
    )
    .same(),
    Setting::new(
        "TITHE_HELD_PAYMENTS_MAX",
        "held_payments_max",
        "64",
        "The most payments of jobs and single requests that may be held at once, with hold invoices that can still be paid; beyond that, and with 0, work gets an ordinary invoice",
    )
    .same(),
    Setting::new(
        "TITHE_HOLD_REQUESTS",
        "hold_requests",
        "0",
        "Whether requests that are paid for by themselves get hold invoices, where the wallet has them: 1, or 0. With 1, the text of such a request is kept from its offer on, and it is done before its payment is taken. Switch it on once no server runs an older release",
    )
    .same(),
    Setting::new(
        "TITHE_MAX_UNPAID_INVOICES",
        "max_unpaid_invoices",
        "10000",
        "The most invoices that may be unpaid at once",
    )
    .same(),
    Setting::new(
        "TITHE_MAX_UNPAID_PER_ADDRESS",
        "max_unpaid_per_address",
        "100",
        "The most jobs of one address (IPv6: one /56) that may wait for their first payment at once, on one server",
    ),
    Setting::new(
        "TITHE_MAX_UNPAID_PER_IDENTITY",
        "max_unpaid_per_identity",
        "100",
        "The most jobs of one identity with trust that may wait for their first payment at once, on one server; they do not count for its address",
    ),
    Setting::new(
        "TITHE_LATE_PAYMENT_SECONDS",
        "late_payment_seconds",
        "86400",
        "How long a payment may be in flight when its invoice expires, and how long it is looked for after that, in seconds",
    )
    .same(),
    Setting::new(
        "TITHE_RETENTION_SECONDS",
        "retention_seconds",
        "259200",
        "How long jobs are kept that nobody has paid for, steps of jobs, and identities without history, in seconds; at least twice TITHE_LATE_PAYMENT_SECONDS",
    )
    .same(),
    Setting::new(
        "TITHE_TEXT_RETENTION_SECONDS",
        "text_retention_seconds",
        "none",
        "How long customers' texts are kept after their work has ended, in seconds, at least 86400 (24 hours); `none` keeps them for ever. Amounts, tokens and times always stay",
    )
    .same(),
    Setting::new(
        "TITHE_POLL_SECONDS",
        "poll_seconds",
        "5",
        "How often unpaid invoices are looked up at the wallet, in seconds",
    ),
    Setting::new("TITHE_WORKERS", "workers", "16", "The most jobs that this server works on at once"),
    Setting::new(
        "TITHE_LEASE_SECONDS",
        "lease_seconds",
        "30",
        "How long a worker keeps a job without renewing its lease, in seconds",
    )
    .same(),
    Setting::new(
        "TITHE_MAX_ATTEMPTS",
        "max_attempts",
        "5",
        "How often a step of a job is tried before the job fails and is refunded",
    )
    .same(),
];

/// Jobs and their invoices.
pub(super) struct Jobs {
    pub(super) invoice_expiry: Duration,
    pub(super) held_payments_max: u64,
    pub(super) hold_requests: bool,
    pub(super) max_unpaid_invoices: u64,
    pub(super) max_unpaid_per_address: usize,
    pub(super) max_unpaid_per_identity: usize,
    pub(super) late_payment_window: Duration,
    pub(super) retention: Duration,
    pub(super) text_retention: Option<Duration>,
    pub(super) poll_interval: Duration,
    pub(super) workers: usize,
    pub(super) lease: Duration,
    pub(super) max_attempts: u32,
}

impl Jobs {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            invoice_expiry: values.seconds("TITHE_INVOICE_EXPIRY_SECONDS")?,
            held_payments_max: values.number("TITHE_HELD_PAYMENTS_MAX", 0, 483)?,
            hold_requests: values.number("TITHE_HOLD_REQUESTS", 0, 1)? == 1,
            max_unpaid_invoices: values.number("TITHE_MAX_UNPAID_INVOICES", 1, u64::MAX)?,
            max_unpaid_per_address: values.count("TITHE_MAX_UNPAID_PER_ADDRESS", 1_000_000)?,
            max_unpaid_per_identity: values.count("TITHE_MAX_UNPAID_PER_IDENTITY", 1_000_000)?,
            late_payment_window: values.seconds("TITHE_LATE_PAYMENT_SECONDS")?,
            retention: values.seconds("TITHE_RETENTION_SECONDS")?,
            text_retention: values.parse("TITHE_TEXT_RETENTION_SECONDS", text_retention)?,
            poll_interval: values.seconds("TITHE_POLL_SECONDS")?,
            workers: values.count("TITHE_WORKERS", 10_000)?,
            lease: values.seconds("TITHE_LEASE_SECONDS")?,
            max_attempts: values.whole("TITHE_MAX_ATTEMPTS", 1_000)?,
        })
    }
}

/// The shortest time for which texts are kept, in seconds: as long as a request may be repeated under its idempotency key.
const TEXT_RETENTION_MIN: u64 = 24 * 60 * 60;

fn text_retention(text: &str) -> Result<Option<Duration>, String> {
    match text.parse() {
        Ok(seconds) if (TEXT_RETENTION_MIN..=3_153_600_000).contains(&seconds) => {
            Ok(Some(Duration::from_secs(seconds)))
        }
        _ if text == "none" => Ok(None),
        _ => Err(format!("expected `none` or a whole number of seconds from {TEXT_RETENTION_MIN}")),
    }
}
