//! Reads the fields of requests, with phoenixd's words for what is wrong with them.

use std::str::FromStr;
use std::time::Duration;

use hyper::StatusCode;
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_money::{Msats, Sats};
use uuid::Uuid;

use crate::InvoiceDescription;
use crate::http::{Fields, HttpResponse, text};

/// The most characters in a description.
const DESCRIPTION: usize = 128;

/// The expiry of invoices whose maker did not choose one, as in the protocol (BOLT 11).
const EXPIRY: Duration = Duration::from_hours(1);

/// A request that is refused. The text is phoenixd's.
#[derive(Debug, PartialEq, Eq)]
pub struct BadRequest(pub String);

impl From<BadRequest> for HttpResponse {
    fn from(refusal: BadRequest) -> Self {
        text(StatusCode::BAD_REQUEST, &refusal.0)
    }
}

pub fn missing(name: &str) -> BadRequest {
    BadRequest(format!("Request parameter {name} is missing"))
}

/// A field that may be missing; `kind` is phoenixd's name for its type.
pub fn optional<T: FromStr>(fields: &Fields, name: &str, kind: &str) -> Result<Option<T>, BadRequest> {
    fields.get(name).map(|value| parse(value, name, kind)).transpose()
}

/// A value from the path, or of a field.
pub fn parse<T: FromStr>(value: &str, name: &str, kind: &str) -> Result<T, BadRequest> {
    let wrong = || BadRequest(format!("Request parameter {name} couldn't be parsed/converted to {kind}"));
    value.parse().map_err(|_| wrong())
}

pub fn hash(value: &str) -> Result<PaymentHash, BadRequest> {
    parse(value, "paymentHash", "hex32")
}

pub fn uuid(value: &str) -> Result<Uuid, BadRequest> {
    parse(value, "uuid", "uuid")
}

/// An optional amount in sats.
pub fn amount(fields: &Fields) -> Result<Option<Msats>, BadRequest> {
    let sats = optional::<u64>(fields, "amountSat", "integer")?;
    let amount = sats.map(Sats::new).transpose().map_err(|error| BadRequest(error.to_string()))?;
    Ok(amount.map(Sats::to_msats))
}

pub fn invoice(fields: &Fields) -> Result<Bolt11, BadRequest> {
    parse(fields.get("invoice").ok_or_else(|| missing("invoice"))?, "invoice", "bolt11invoice")
}

/// A description or its hash, and not both.
pub fn description(fields: &Fields) -> Result<InvoiceDescription, BadRequest> {
    match (fields.get("description"), optional::<PaymentHash>(fields, "descriptionHash", "hex32")?) {
        (Some(long), _) if long.chars().count() > DESCRIPTION => Err(BadRequest(format!(
            "Request parameter description is too long (max {DESCRIPTION} characters)"
        ))),
        (Some(text), None) => Ok(text.into()),
        (None, Some(hash)) => Ok(InvoiceDescription::Hash(*hash.as_bytes())),
        _ => Err(BadRequest("Must provide either a description or descriptionHash".to_owned())),
    }
}

pub fn expiry(fields: &Fields) -> Result<Duration, BadRequest> {
    let seconds = optional::<u64>(fields, "expirySeconds", "integer")?;
    Ok(seconds.map_or(EXPIRY, Duration::from_secs))
}

/// Which payments to list.
pub struct Page {
    /// Milliseconds since 1970, the first and the last that count.
    pub from: i64,
    pub to: i64,
    pub limit: usize,
    pub offset: usize,
    /// Also those that are not completed.
    pub all: bool,
}

impl Page {
    pub fn read(fields: &Fields, now: i64) -> Result<Self, BadRequest> {
        Ok(Self {
            from: optional(fields, "from", "integer")?.unwrap_or(0),
            to: optional(fields, "to", "integer")?.unwrap_or(now),
            limit: optional(fields, "limit", "integer")?.unwrap_or(20),
            offset: optional(fields, "offset", "integer")?.unwrap_or(0),
            all: fields.get("all").is_some_and(|all| all.eq_ignore_ascii_case("true")),
        })
    }

    /// The payments of the page; `at` is the time that counts, if the payment counts at all.
    pub fn of<T>(&self, payments: impl Iterator<Item = T>, at: impl Fn(&T) -> Option<i64>) -> Vec<T> {
        let counted =
            payments.filter(|payment| at(payment).is_some_and(|at| at >= self.from && at <= self.to));
        counted.skip(self.offset).take(self.limit).collect()
    }
}
