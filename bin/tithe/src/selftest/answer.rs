//! What a server answered, and how it is compared with the contract.

use super::excerpt;
use super::outcome::{Checked, Stop};
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::fmt::Display;
use tithe_clock::Timestamp;
use tithe_money::{BtcPrice, UsdMicros};

/// A whole answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The request, such as `GET /api/pool`.
    pub(super) request: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn new(request: String, status: u16, headers: HeaderMap, text: String) -> Self {
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { request, status, headers, text, body }
    }

    /// A difference between this answer and the contract.
    pub(super) fn fault(&self, expected: impl Display, got: impl Display) -> Stop {
        Stop::fault(self.request.clone(), expected, got)
    }

    /// The answer in a few words.
    pub(super) fn summary(&self) -> String {
        match (self.value("/code"), self.value("/detail")) {
            (Some(Value::String(code)), Some(Value::String(detail))) => {
                excerpt::short(&format!("{} {code}: {detail}", self.status))
            }
            _ => format!("{} with {}", self.status, excerpt::of_body(&self.text)),
        }
    }

    /// The answer itself, if its status is this one.
    pub(super) fn status(self, expected: u16) -> Checked<Self> {
        self.status_is(expected)?;
        Ok(self)
    }

    fn status_is(&self, expected: u16) -> Checked {
        if self.status == expected {
            return Ok(());
        }
        if self.code() == Some("too_many_unpaid") {
            return Err(Stop::skip(format!(
                "the server limits unpaid invoices, and this address has too many: {}",
                self.summary()
            )));
        }
        Err(self.fault(format!("status {expected}"), self.summary()))
    }

    /// The answer itself, if it is a problem with this status and code.
    pub(super) fn problem(self, status: u16, code: &str) -> Checked<Self> {
        if self.status != status || self.code() != Some(code) {
            return Err(self.fault(format!("status {status} with the code `{code}`"), self.summary()));
        }
        Ok(self)
    }

    /// The answer itself, if it is a 400 whose `detail` names a field.
    pub(super) fn names_field(self, field: &str) -> Checked<Self> {
        if self.status != 400 || !self.detail().contains(field) {
            let expected = format!("status 400 with a `detail` that names `{field}`");
            return Err(self.fault(expected, self.summary()));
        }
        Ok(self)
    }

    /// The stable code of a problem.
    pub(super) fn code(&self) -> Option<&str> {
        self.value("/code").and_then(Value::as_str)
    }

    /// The explanation of a problem; empty if there is none.
    pub(super) fn detail(&self) -> &str {
        self.value("/detail").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A header that the contract requires.
    pub(super) fn required_header(&self, name: &str) -> Checked<&str> {
        self.header(name).ok_or_else(|| self.fault(format!("a header {name}"), "none"))
    }

    /// The value at a JSON pointer; `None` if it is absent or null.
    pub(super) fn value(&self, pointer: &str) -> Option<&Value> {
        self.body.pointer(pointer).filter(|value| !value.is_null())
    }

    fn wrong(&self, pointer: &str, expected: impl Display) -> Stop {
        let got = match self.value(pointer) {
            Some(value) => excerpt::of_value(value),
            None => format!("none in {}", excerpt::of_body(&self.text)),
        };
        self.fault(format!("`{}` to be {expected}", name_of(pointer)), got)
    }

    pub(super) fn text_at(&self, pointer: &str) -> Checked<&str> {
        self.value(pointer).and_then(Value::as_str).ok_or_else(|| self.wrong(pointer, "a string"))
    }

    pub(super) fn owned(&self, pointer: &str) -> Checked<String> {
        self.text_at(pointer).map(str::to_owned)
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, pointer: &str) -> Checked<u64> {
        let number = self.value(pointer).and_then(Value::as_u64);
        number.ok_or_else(|| self.wrong(pointer, "a whole number, not negative"))
    }

    /// A whole number that is not negative, or null, which must be there.
    pub(super) fn number_or_null(&self, pointer: &str) -> Checked<Option<u64>> {
        match self.body.pointer(pointer) {
            Some(Value::Null) => Ok(None),
            Some(value) if value.is_u64() => Ok(value.as_u64()),
            _ => Err(self.wrong(pointer, "a whole number, not negative, or null")),
        }
    }

    pub(super) fn decimal(&self, pointer: &str) -> Checked<f64> {
        self.value(pointer).and_then(Value::as_f64).ok_or_else(|| self.wrong(pointer, "a number"))
    }

    /// An amount in dollars. The contract writes dollars as decimal numbers, with at most six places that count.
    pub(super) fn usd(&self, pointer: &str) -> Checked<UsdMicros> {
        let text = format!("{:.6}", self.decimal(pointer)?);
        UsdMicros::parse(&text).map_err(|_| self.wrong(pointer, "an amount in dollars, not negative"))
    }

    /// A price of bitcoin in dollars.
    pub(super) fn btc_price(&self, pointer: &str) -> Checked<BtcPrice> {
        BtcPrice::from_usd_micros(self.usd(pointer)?).map_err(|_| self.wrong(pointer, "a price above 0"))
    }

    pub(super) fn list(&self, pointer: &str) -> Checked<&[Value]> {
        let list = self.value(pointer).and_then(Value::as_array);
        list.map(Vec::as_slice).ok_or_else(|| self.wrong(pointer, "a list"))
    }

    /// A time in RFC 3339, in UTC.
    pub(super) fn time(&self, pointer: &str) -> Checked<Timestamp> {
        let text = self.text_at(pointer)?;
        let time = Timestamp::parse_rfc3339(text).ok().filter(|_| text.ends_with('Z'));
        time.ok_or_else(|| self.wrong(pointer, "a time in RFC 3339, in UTC"))
    }

    /// That a value is this one.
    pub(super) fn is(&self, pointer: &str, expected: impl Into<Value>) -> Checked {
        let expected = expected.into();
        if self.value(pointer) == Some(&expected) {
            return Ok(());
        }
        Err(self.wrong(pointer, excerpt::of_value(&expected)))
    }

    /// That a value is one of these texts.
    pub(super) fn is_one_of(&self, pointer: &str, expected: &[&str]) -> Checked {
        if self.value(pointer).and_then(Value::as_str).is_some_and(|text| expected.contains(&text)) {
            return Ok(());
        }
        Err(self.wrong(pointer, format!("one of {}", expected.join(", "))))
    }

    /// That there is no value.
    pub(super) fn is_absent(&self, pointer: &str) -> Checked {
        if self.value(pointer).is_none() { Ok(()) } else { Err(self.wrong(pointer, "absent")) }
    }

    /// That something holds.
    pub(super) fn holds(&self, holds: bool, expected: impl Display, got: impl Display) -> Checked {
        if holds { Ok(()) } else { Err(self.fault(expected, got)) }
    }

    /// That the answer may not be stored by caches.
    pub(super) fn is_private(&self) -> Checked {
        let control = self.required_header("Cache-Control")?;
        self.holds(control.contains("no-store"), "Cache-Control: no-store", excerpt::short(control))
    }
}

/// The name of a field at a JSON pointer.
fn name_of(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}
