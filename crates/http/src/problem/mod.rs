//! Problems: error responses in the shape of RFC 9457, with stable codes.

mod code;

pub use code::Code;

use crate::request_id;
use crate::wire::{InvoiceBody, ProblemCode};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use tithe_engine::{EngineError, InvalidCredential, PaymentNeeded};
use tithe_ledger::credits::CreditRefusal;
use tithe_lightning::TestPaymentError;
use tithe_money::{Msats, Sats};
use tithe_payouts::PayoutError;
use tithe_paywall::LimitReached;
use tithe_sessions::{SessionError, StateName};
use utoipa::ToSchema;

/// The maximum length of `detail`, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// An error response. `detail` is for people and never reveals the cause of a 5xx error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Map<String, Value>,
    format: ProblemFormat,
}

/// The format in which a problem is serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProblemFormat {
    /// Problem details (RFC 9457).
    #[default]
    ProblemDetails,
    /// The error object of the OpenAI API: `{"error":{"message","type","param","code"}}`.
    OpenAi,
}

impl Problem {
    /// The code.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// Creates a problem.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // The detail may quote the client's input; limit how much of it is sent back.
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
            detail.truncate(end);
            detail.push('…');
        }
        let (headers, extensions) = (Vec::new(), Map::new());
        Self { code, detail, headers, extensions, format: ProblemFormat::default() }
    }

    /// Adds a header to the response. The same header can be added several times.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds an extension field to the body (RFC 9457, section 3.2). It cannot replace a standard field.
    #[must_use]
    pub fn with_extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the format of the response.
    #[must_use]
    pub const fn in_format(mut self, format: ProblemFormat) -> Self {
        self.format = format;
        self
    }

    /// Says after how long to try again.
    fn with_retry_after(self, wait: Duration) -> Self {
        self.with_header(header::RETRY_AFTER, wait.as_secs().saturating_add(1).into())
    }

    /// Forbids caches to store the response: it is about what its receiver has.
    #[must_use]
    pub(crate) fn private(self) -> Self {
        self.with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// Creates a problem about an invalid field.
    pub(crate) fn field(name: &str, problem: impl fmt::Display) -> Self {
        Self::new(Code::InvalidField, format!("{name}: {problem}"))
    }

    /// Creates a problem about a method that the path does not support.
    pub(crate) fn method(method: &str, allowed: &str) -> Self {
        let detail = format!("unsupported method: this path supports {allowed}, got {method}");
        let problem = Self::new(Code::MethodNotAllowed, detail);
        match HeaderValue::from_str(allowed) {
            Ok(allowed) => problem.with_header(header::ALLOW, allowed),
            Err(_) => problem,
        }
    }

    /// The body as problem details, as text.
    pub(crate) fn body_text(&self) -> String {
        self.details(request_id::current()).to_string()
    }

    /// The body as problem details, as text, for another request than the current one.
    pub(crate) fn body_text_of(&self, request_id: &str) -> String {
        self.details(request_id.to_owned()).to_string()
    }

    /// The body as problem details.
    fn details(&self, request_id: String) -> Value {
        let (code, status, title, _) = self.code.facts();
        let body = ProblemBody {
            r#type: format!("/problems/{}", code.replace('_', "-")),
            title,
            status,
            detail: self.detail.clone(),
            code,
            error: self.detail.clone(),
            request_id,
        };
        let mut body = serde_json::to_value(&body).unwrap_or_default();
        if let Value::Object(fields) = &mut body {
            for (name, value) in &self.extensions {
                fields.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        body
    }

    /// The body as an error object of the OpenAI API, with the extension fields next to the standard ones.
    fn open_ai(&self) -> Value {
        let (code, status, ..) = self.code.facts();
        let kind = match status {
            401 => "authentication_error",
            402 => "insufficient_quota",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        let mut error = self.extensions.clone();
        for (name, value) in [
            ("message", Value::from(self.detail.clone())),
            ("type", kind.into()),
            ("param", Value::Null),
            ("code", code.into()),
            ("request_id", request_id::current().into()),
        ] {
            error.insert(name.to_owned(), value);
        }
        json!({ "error": error })
    }
}

/// The body of an error response.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemBody {
    /// The path on this server that documents the problem.
    #[schema(example = "/problems/invalid-field")]
    r#type: String,
    /// A short summary of the kind of problem.
    title: &'static str,
    /// The HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The explanation of this occurrence of the problem.
    #[schema(example = "request: missing field")]
    detail: String,
    /// The stable code of the problem.
    #[schema(value_type = ProblemCode, example = "invalid_field")]
    code: &'static str,
    /// The same as `detail`.
    error: String,
    /// The id of the request, to quote to the operator.
    #[schema(format = "uuid")]
    request_id: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.facts().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (content_type, body) = match self.format {
            ProblemFormat::ProblemDetails => {
                ("application/problem+json", self.details(request_id::current()))
            }
            ProblemFormat::OpenAi => ("application/json", self.open_ai()),
        };
        let mut response = HttpResponse::build(self.status_code());
        response.extensions_mut().insert(self.code);
        response.content_type(content_type);
        let has_own = self.headers.iter().any(|(name, _)| name == header::RETRY_AFTER);
        if let Some(seconds) = self.code.retry_after().filter(|_| !has_own) {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.code == Code::IdempotencyKeyReused {
            // OpenAI's clients repeat a 409 otherwise.
            response.insert_header(("x-should-retry", "false"));
        }
        if matches!(self.code, Code::InvalidIdentity | Code::IdentityRequired) {
            // The authentication scheme for signed requests (NIP-98) has no parameters.
            response.append_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Nostr")));
        }
        if matches!(self.code, Code::InvalidMacaroon | Code::MacaroonRequired | Code::InvalidAdminToken) {
            response.append_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.body(body.to_string())
    }
}

impl From<EngineError> for Problem {
    fn from(failure: EngineError) -> Self {
        let code = match &failure {
            EngineError::Request(invalid) => return Self::field(invalid.field(), invalid),
            EngineError::InvalidIdentity(
                InvalidCredential::Macaroon(_) | InvalidCredential::NotASession | InvalidCredential::Revoked,
            ) => Code::InvalidMacaroon,
            EngineError::InvalidIdentity(InvalidCredential::ClaimToken) => Code::InvalidClaimToken,
            EngineError::InvalidIdentity(
                InvalidCredential::Licence(_) | InvalidCredential::LicenceRevoked,
            ) => Code::InvalidLicence,
            EngineError::InvalidIdentity(_) => Code::InvalidIdentity,
            EngineError::InsufficientBalance { required, available } => {
                return insufficient_balance(&failure, *required, *available);
            }
            EngineError::PaymentNeeded(needed) => return payment_needed(&failure, needed),
            EngineError::TooManyInstalls(limit) => {
                return Self::new(Code::TooManyInstalls, failure.to_string())
                    .with_retry_after(limit.retry_after);
            }
            EngineError::HardwareUnavailable { retry_after } => {
                let problem = Self::new(Code::HardwareUnavailable, failure.to_string());
                return (*retry_after).into_iter().fold(problem, Self::with_retry_after);
            }
            EngineError::KeyLimit(reached) => return key_limit(*reached),
            EngineError::KeyModel { .. } => Code::ModelNotAllowed,
            EngineError::SessionState(SessionError::NotActive(StateName::AwaitingPayment)) => {
                return Self::new(Code::SessionUnpaid, failure.to_string())
                    .with_extension("reason", "no_payment");
            }
            EngineError::SessionState(_) => Code::SessionEnded,
            EngineError::TopUpPending(invoice) => {
                let pending = InvoiceBody::try_from(invoice.as_ref()).ok();
                let pending = pending.and_then(|invoice| serde_json::to_value(invoice).ok());
                return Self::new(Code::TopUpPending, failure.to_string())
                    .with_extension("pendingTopup", pending.unwrap_or_default());
            }
            EngineError::Payout(refused) => return payout(refused, &failure),
            EngineError::WorkFailed => Code::WorkFailed,
            EngineError::WorkRefused => Code::RequestRefused,
            EngineError::NotFound { .. } | EngineError::TestPayment(TestPaymentError::Unknown(_)) => {
                Code::NotFound
            }
            EngineError::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            EngineError::RequestInProgress => Code::RequestInProgress,
            EngineError::TooManyUnpaid => Code::TooManyUnpaid,
            EngineError::TooManyUnpaidOfYours { retry_after, .. } => {
                return Self::new(Code::TooManyUnpaid, failure.to_string()).with_retry_after(*retry_after);
            }
            EngineError::NoNodes => Code::NotOffered,
            EngineError::NoProvisioner => Code::NoProvisioner,
            EngineError::NoBackend => Code::NoBackend,
            EngineError::NoPrice(_) => Code::NoPrice,
            EngineError::NoWallet | EngineError::TestPayment(TestPaymentError::Wallet(_)) => Code::NoWallet,
            EngineError::Busy => Code::Busy,
            EngineError::OutcomeUnknown => Code::OutcomeUnknown,
            EngineError::TestPayment(TestPaymentError::AlreadyPaid(_) | TestPaymentError::Expired(_)) => {
                Code::NotPayable
            }
            EngineError::Internal => Code::Internal,
        };
        Self::new(code, failure.to_string())
    }
}

/// What a program needs to know that has nothing to pay with, so that it stops or opens a session.
fn payment_needed(failure: &EngineError, needed: &PaymentNeeded) -> Problem {
    let (code, reason) = match needed.credits {
        None => (Code::PaymentRequired, "no_payment"),
        Some(CreditRefusal::OutOfCredits) => (Code::OutOfCredits, "cap"),
        Some(CreditRefusal::CloudCapExceededNoHardware) => (Code::CloudCapExceededNoHardware, "cap"),
    };
    let required = needed.required.to_sats_rounding_up().map_or(u64::MAX, Sats::get);
    Problem::new(code, failure.to_string())
        .with_extension("reason", reason)
        .with_extension("requiredSats", required)
        .with_extension("requiredMsats", needed.required.get())
        .with_extension("balanceSats", 0)
        .with_extension(TOP_UP, deposit(required))
}

/// The name of the field that says how to pay.
pub(crate) const TOP_UP: &str = "topUp";

/// How to pay without having anything: with a session that has this deposit, in sats.
pub(crate) fn deposit(sats: u64) -> Value {
    json!({ "method": "POST", "path": "/api/sessions", "amountSats": sats })
}

/// What a program needs to know that has too little, so that it stops or tops up.
fn insufficient_balance(failure: &EngineError, required: Msats, available: Msats) -> Problem {
    let required = required.to_sats_rounding_up().map_or(u64::MAX, Sats::get);
    let available = available.to_sats_rounding_down().get();
    Problem::new(Code::InsufficientBalance, failure.to_string())
        .with_extension("reason", "balance")
        .with_extension("requiredSats", required)
        .with_extension("balanceSats", available)
        .with_extension(
            TOP_UP,
            json!({ "method": "POST", "path": "topup", "amountSats": required.saturating_sub(available) }),
        )
}

fn payout(refused: &PayoutError, failure: &EngineError) -> Problem {
    let code = match refused {
        PayoutError::NothingDue => Code::NothingDue,
        PayoutError::Dust { .. } => Code::RefundTooSmall,
        PayoutError::InFlight(_) => Code::PayoutInFlight,
        PayoutError::Invoice(mismatch) => return Problem::field("invoice", mismatch),
        PayoutError::Used(_) | PayoutError::InAdvance => return Problem::field("invoice", refused),
        _ => return Problem::new(Code::Internal, EngineError::Internal.to_string()),
    };
    Problem::new(code, failure.to_string())
}

fn key_limit(reached: LimitReached) -> Problem {
    let problem = Problem::new(Code::KeyLimitReached, reached.to_string()).with_extension("reason", "cap");
    match reached {
        LimitReached::Spend { left, amount, .. } => problem
            .with_extension("requiredSats", amount.to_sats_rounding_up().map_or(u64::MAX, Sats::get))
            .with_extension("balanceSats", left.to_sats_rounding_down().get()),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_their_statuses_are_errors() {
        let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.facts().1)));
    }

    #[test]
    fn retryable_problems_have_a_retry_after_header() {
        for code in Code::ALL {
            let status = code.facts().1;
            assert!(code.retry_after().is_some() || !matches!(status, 429 | 503), "{code:?}");
        }
    }

    #[test]
    fn a_problem_carries_headers_and_extension_fields_in_both_formats() {
        let problem = Problem::new(Code::Busy, "too busy")
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("L402 x"))
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Payment y"))
            .with_extension("balanceMsats", 5)
            .with_extension("code", "mine");
        let response = problem.error_response();
        let challenges: Vec<_> = response.headers().get_all(header::WWW_AUTHENTICATE).collect();
        assert_eq!(challenges, ["L402 x", "Payment y"]);
        let body = problem.details(String::new());
        assert_eq!((&body["balanceMsats"], &body["code"]), (&json!(5), &json!("busy")));
        let response = problem.clone().in_format(ProblemFormat::OpenAi).error_response();
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), "application/json");
        let error = &problem.open_ai()["error"];
        assert_eq!(
            (&error["message"], &error["type"], &error["code"], &error["balanceMsats"]),
            (&json!("too busy"), &json!("server_error"), &json!("busy"), &json!(5)),
        );
    }
}
