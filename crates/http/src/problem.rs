//! Problems: errors as RFC 9457 writes them, with stable codes.

use crate::request_id;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;
use tithe_engine::EngineError;
use tithe_lightning::TestPaymentError;
use utoipa::ToSchema;

/// What is wrong, by a code that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The body is not JSON, or not UTF-8, or missing.
    InvalidBody,
    /// A field of the body, the path or the query is missing or has a wrong value.
    InvalidField,
    /// The `Idempotency-Key` is not one.
    InvalidIdempotencyKey,
    /// An identity was presented that is not valid.
    InvalidIdentity,
    /// No identity was presented where one is needed.
    IdentityRequired,
    /// There is no such job, invoice or route.
    NotFound,
    /// The route does not take this method.
    MethodNotAllowed,
    /// The invoice has been paid or has expired.
    NotPayable,
    /// The key came with another request before.
    IdempotencyKeyReused,
    /// The first request of this key still runs.
    RequestInProgress,
    /// The body is too large.
    BodyTooLarge,
    /// Too many invoices wait to be paid.
    TooManyUnpaid,
    /// Something on the server went wrong.
    Internal,
    /// No current BTC price is known.
    NoPrice,
    /// The Lightning wallet cannot be reached.
    NoWallet,
    /// The server is too busy.
    Busy,
    /// The database went away while it wrote.
    OutcomeUnknown,
    /// The server is about to stop and takes on no new work.
    ShuttingDown,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Self; 18] = [
        Self::InvalidBody,
        Self::InvalidField,
        Self::InvalidIdempotencyKey,
        Self::InvalidIdentity,
        Self::IdentityRequired,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotPayable,
        Self::IdempotencyKeyReused,
        Self::RequestInProgress,
        Self::BodyTooLarge,
        Self::TooManyUnpaid,
        Self::Internal,
        Self::NoPrice,
        Self::NoWallet,
        Self::Busy,
        Self::OutcomeUnknown,
        Self::ShuttingDown,
    ];

    /// The code's text, its status, its title, and what to do about it.
    #[must_use]
    pub const fn facts(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::InvalidBody => (
                "invalid_body",
                400,
                "Invalid body",
                "Send a JSON object in UTF-8; the detail says what was found.",
            ),
            Self::InvalidField => {
                ("invalid_field", 400, "Invalid field", "The detail names the field and what it must be.")
            }
            Self::InvalidIdempotencyKey => (
                "invalid_idempotency_key",
                400,
                "Invalid idempotency key",
                "Send 1 to 255 printable ASCII characters, best a random UUID for each new request.",
            ),
            Self::InvalidIdentity => (
                "invalid_identity",
                401,
                "Invalid identity",
                "Leave the identity out to be anonymous, or present one that is valid here.",
            ),
            Self::IdentityRequired => (
                "identity_required",
                401,
                "Identity required",
                "Log in with POST /api/identity/challenge and /api/identity/verify, or sign the request (NIP-98).",
            ),
            Self::NotFound => ("not_found", 404, "Not found", "Check the path and the id in it."),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                405,
                "Method not allowed",
                "The Allow header lists what the path takes.",
            ),
            Self::NotPayable => (
                "not_payable",
                409,
                "Invoice not payable",
                "It was paid before, or it has expired; ask for its state.",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency_key_reused",
                409,
                "Idempotency key reused",
                "A key belongs to one request: same method, path and body. Use a new key for a new request.",
            ),
            Self::RequestInProgress => (
                "request_in_progress",
                409,
                "Request in progress",
                "Repeat the request with the same key in a moment to get its answer.",
            ),
            Self::BodyTooLarge => ("body_too_large", 413, "Body too large", "Send at most 1 MiB."),
            Self::TooManyUnpaid => (
                "too_many_unpaid",
                429,
                "Too many unpaid invoices",
                "Try again after the time in Retry-After.",
            ),
            Self::Internal => (
                "internal",
                500,
                "Internal error",
                "Tell the operator the request id. Repeating the request with the same Idempotency-Key is safe.",
            ),
            Self::NoPrice => ("no_price", 503, "No BTC price", "Try again after the time in Retry-After."),
            Self::NoWallet => ("no_wallet", 503, "No wallet", "Try again after the time in Retry-After."),
            Self::Busy => ("busy", 503, "Too busy", "Try again after the time in Retry-After."),
            Self::OutcomeUnknown => (
                "outcome_unknown",
                503,
                "Outcome unknown",
                "The database went away while it wrote. Repeat the request with the same Idempotency-Key to learn how it ended.",
            ),
            Self::ShuttingDown => (
                "shutting_down",
                503,
                "Shutting down",
                "Try again after the time in Retry-After; jobs can still be read.",
            ),
        }
    }

    /// The code's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// Seconds to wait before trying again, where that helps.
    const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::TooManyUnpaid => Some("60"),
            Self::NoPrice | Self::NoWallet | Self::ShuttingDown => Some("10"),
            Self::Busy | Self::OutcomeUnknown | Self::RequestInProgress => Some("1"),
            _ => None,
        }
    }
}

/// The longest detail, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// An error answer. `detail` is for people and never shows what a 5xx was caused by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: String,
    allow: Option<HeaderValue>,
}

impl Problem {
    /// A problem of that code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // What the client has sent is quoted, but not sent back whole.
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
            detail.truncate(end);
            detail.push('…');
        }
        Self { code, detail, allow: None }
    }

    /// A field that is wrong.
    pub(crate) fn field(name: &str, problem: impl fmt::Display) -> Self {
        Self::new(Code::InvalidField, format!("{name}: {problem}"))
    }

    /// A method that the path does not take.
    pub(crate) fn method(method: &str, allowed: &'static str) -> Self {
        let detail = format!("this path does not take {method}; it takes {allowed}");
        Self { code: Code::MethodNotAllowed, detail, allow: Some(HeaderValue::from_static(allowed)) }
    }
}

/// The body of an error answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemBody {
    /// Where the problem is explained: a path on this server.
    #[schema(example = "/problems/invalid-field")]
    r#type: String,
    /// What the problem is, in general.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What the problem is, this time.
    #[schema(example = "request: missing field")]
    detail: String,
    /// The problem's stable code.
    #[schema(example = "invalid_field")]
    code: &'static str,
    /// The same as `detail`.
    error: String,
    /// What to tell the operator.
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
        let (code, status, title, _) = self.code.facts();
        let body = ProblemBody {
            r#type: format!("/problems/{}", code.replace('_', "-")),
            title,
            status,
            detail: self.detail.clone(),
            code,
            error: self.detail.clone(),
            request_id: request_id::current(),
        };
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        if let Some(seconds) = self.code.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if matches!(self.code, Code::InvalidIdentity | Code::IdentityRequired) {
            // The scheme that a request can be signed with (NIP-98); it has no parameters.
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Nostr")));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.clone()));
        }
        response.body(serde_json::to_string(&body).unwrap_or_default())
    }
}

impl From<EngineError> for Problem {
    fn from(failure: EngineError) -> Self {
        let code = match &failure {
            EngineError::Request(wrong) if !wrong.to_string().starts_with(wrong.field()) => {
                return Self::field(wrong.field(), wrong);
            }
            EngineError::Request(_) => Code::InvalidField,
            EngineError::InvalidIdentity(_) => Code::InvalidIdentity,
            EngineError::NoSuchJob(_) | EngineError::NoSuchInvoice(_) => Code::NotFound,
            EngineError::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            EngineError::RequestInProgress => Code::RequestInProgress,
            EngineError::TooManyUnpaid => Code::TooManyUnpaid,
            EngineError::NoPrice(_) => Code::NoPrice,
            EngineError::NoWallet => Code::NoWallet,
            EngineError::Busy => Code::Busy,
            EngineError::OutcomeUnknown => Code::OutcomeUnknown,
            EngineError::TestPayment(TestPaymentError::Unknown(_)) => Code::NotFound,
            EngineError::TestPayment(TestPaymentError::AlreadyPaid(_) | TestPaymentError::Expired(_)) => {
                Code::NotPayable
            }
            EngineError::TestPayment(_) => Code::NoWallet,
            _ => Code::Internal,
        };
        Self::new(code, failure.to_string())
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
    fn what_may_be_tried_again_says_when() {
        for code in Code::ALL {
            let status = code.facts().1;
            assert!(code.retry_after().is_some() || !matches!(status, 429 | 503), "{code:?}");
        }
    }
}
