//! Problems: error responses in the shape of RFC 9457, with stable codes.

use crate::request_id;
use crate::wire::{InvoiceBody, ProblemCode};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use tithe_engine::{EngineError, InvalidCredential};
use tithe_lightning::TestPaymentError;
use tithe_money::{Msats, Sats};
use tithe_paywall::LimitReached;
use tithe_sessions::{SessionError, StateName};
use utoipa::ToSchema;

/// The kind of a problem, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The body is missing, is not UTF-8, or is not a JSON object.
    InvalidBody,
    /// A field of the body, the path or the query is missing or invalid.
    InvalidField,
    /// The `Idempotency-Key` is invalid.
    InvalidIdempotencyKey,
    /// The `Idempotency-Key` of a request without credentials can be guessed.
    WeakIdempotencyKey,
    /// The credentials are invalid.
    InvalidIdentity,
    /// The endpoint requires an identity.
    IdentityRequired,
    /// The macaroon is invalid, expired or revoked.
    InvalidMacaroon,
    /// The endpoint requires a macaroon.
    MacaroonRequired,
    /// The session has less than the request may cost.
    InsufficientBalance,
    /// A limit of the macaroon is reached.
    KeyLimitReached,
    /// The deposit of the session is not paid.
    SessionUnpaid,
    /// The macaroon is of another session.
    WrongSession,
    /// Only the session's own macaroon allows this.
    OwnerRequired,
    /// The macaroon is not for this model.
    ModelNotAllowed,
    /// There is no such job, session, invoice or route.
    NotFound,
    /// The route does not support this method.
    MethodNotAllowed,
    /// The invoice is already paid or has expired.
    NotPayable,
    /// The idempotency key was already used with a different request.
    IdempotencyKeyReused,
    /// The first request with this idempotency key is still in progress.
    RequestInProgress,
    /// A top-up of the session is unpaid.
    TopUpPending,
    /// The session is closed or has expired.
    SessionEnded,
    /// The body is too large.
    BodyTooLarge,
    /// The URL is too long.
    UrlTooLong,
    /// The body is of a type, or in an encoding, that the server does not read.
    UnsupportedMediaType,
    /// The evaluation rejected the request.
    RequestRejected,
    /// The backend refused the request.
    RequestRefused,
    /// There are too many unpaid invoices.
    TooManyUnpaid,
    /// The address sends too many requests.
    RateLimited,
    /// There are too many event streams.
    TooManyStreams,
    /// An internal error occurred.
    Internal,
    /// The work could not be done.
    WorkFailed,
    /// No current BTC price is available.
    NoPrice,
    /// The Lightning wallet is unavailable.
    NoWallet,
    /// The AI backend is unavailable.
    NoBackend,
    /// The server is too busy.
    Busy,
    /// The database connection was lost during a commit.
    OutcomeUnknown,
    /// The server is shutting down and accepts no new work.
    ShuttingDown,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 37] = [
        Self::InvalidBody,
        Self::InvalidField,
        Self::InvalidIdempotencyKey,
        Self::WeakIdempotencyKey,
        Self::InvalidIdentity,
        Self::IdentityRequired,
        Self::InvalidMacaroon,
        Self::MacaroonRequired,
        Self::InsufficientBalance,
        Self::KeyLimitReached,
        Self::SessionUnpaid,
        Self::WrongSession,
        Self::OwnerRequired,
        Self::ModelNotAllowed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotPayable,
        Self::IdempotencyKeyReused,
        Self::RequestInProgress,
        Self::TopUpPending,
        Self::SessionEnded,
        Self::BodyTooLarge,
        Self::UrlTooLong,
        Self::UnsupportedMediaType,
        Self::RequestRejected,
        Self::RequestRefused,
        Self::TooManyUnpaid,
        Self::RateLimited,
        Self::TooManyStreams,
        Self::Internal,
        Self::WorkFailed,
        Self::NoPrice,
        Self::NoWallet,
        Self::NoBackend,
        Self::Busy,
        Self::OutcomeUnknown,
        Self::ShuttingDown,
    ];

    /// The code as text, its HTTP status, its title, and its help text.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub const fn facts(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::InvalidBody => (
                "invalid_body",
                400,
                "Invalid body",
                "Send a JSON object in UTF-8. See `detail` for the error.",
            ),
            Self::InvalidField => (
                "invalid_field",
                400,
                "Invalid field",
                "See `detail` for the name of the field and the expected value.",
            ),
            Self::InvalidIdempotencyKey => (
                "invalid_idempotency_key",
                400,
                "Invalid idempotency key",
                "Send 1 to 255 printable ASCII characters. Use a random UUID for each new request.",
            ),
            Self::WeakIdempotencyKey => (
                "weak_idempotency_key",
                400,
                "Weak idempotency key",
                "Without credentials the key alone protects the stored response. Use a random UUID.",
            ),
            Self::InvalidIdentity => (
                "invalid_identity",
                401,
                "Invalid identity",
                "Send valid credentials, or send none to make the request anonymously.",
            ),
            Self::IdentityRequired => (
                "identity_required",
                401,
                "Identity required",
                "Log in with POST /api/identity/challenge and /api/identity/verify, or sign the request (NIP-98).",
            ),
            Self::InvalidMacaroon => (
                "invalid_macaroon",
                401,
                "Invalid macaroon",
                "Send a macaroon of this server that has neither expired nor been revoked.",
            ),
            Self::MacaroonRequired => (
                "macaroon_required",
                401,
                "Macaroon required",
                "Send the macaroon that POST /api/sessions returned, or one that was narrowed from it, as Authorization: Bearer.",
            ),
            Self::InsufficientBalance => (
                "insufficient_balance",
                402,
                "Insufficient balance",
                "Top the session up, or ask for less output (maxOutputTokens). Nothing was charged.",
            ),
            Self::KeyLimitReached => (
                "key_limit_reached",
                402,
                "Limit of the macaroon reached",
                "Ask the owner of the session for another macaroon, or try again in the next period. Nothing was charged.",
            ),
            Self::SessionUnpaid => (
                "session_unpaid",
                402,
                "Session unpaid",
                "Pay the invoice of the session. Reading the session shows it.",
            ),
            Self::WrongSession => {
                ("wrong_session", 403, "Wrong session", "Send the macaroon of the session in the path.")
            }
            Self::OwnerRequired => (
                "owner_required",
                403,
                "Owner required",
                "Send the macaroon that POST /api/sessions returned, as it was returned.",
            ),
            Self::ModelNotAllowed => {
                ("model_not_allowed", 403, "Model not allowed", "Use a model that the macaroon is for.")
            }
            Self::NotFound => ("not_found", 404, "Not found", "Check the path and the id that it contains."),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                405,
                "Method not allowed",
                "Use one of the methods in the Allow header.",
            ),
            Self::NotPayable => (
                "not_payable",
                409,
                "Invoice not payable",
                "The invoice is already paid or has expired. Read it to see its state.",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency_key_reused",
                409,
                "Idempotency key reused",
                "A key belongs to one method, path and body. Use a new key for a new request.",
            ),
            Self::RequestInProgress => (
                "request_in_progress",
                409,
                "Request in progress",
                "Repeat the request with the same key after the time in Retry-After to get its response.",
            ),
            Self::TopUpPending => (
                "top_up_pending",
                409,
                "Top-up pending",
                "Pay the invoice in pendingTopup, or wait until it expires.",
            ),
            Self::SessionEnded => (
                "session_ended",
                409,
                "Session ended",
                "Create another session. What this one had left is refunded.",
            ),
            Self::BodyTooLarge => ("body_too_large", 413, "Body too large", "Send at most 1 MiB."),
            Self::UrlTooLong => (
                "url_too_long",
                414,
                "URL too long",
                "Send long texts in the body, such as to POST /api/estimate.",
            ),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                415,
                "Unsupported media type",
                "Send JSON (Content-Type: application/json), plain or compressed with gzip.",
            ),
            Self::RequestRejected => {
                ("request_rejected", 422, "Request rejected", "See reason. Only the evaluation was charged.")
            }
            Self::RequestRefused => (
                "request_refused",
                422,
                "Request refused",
                "The AI backend refused the request for its content or its length. Nothing was charged.",
            ),
            Self::TooManyUnpaid => (
                "too_many_unpaid",
                429,
                "Too many unpaid invoices",
                "Pay an open invoice, or try again after the time in Retry-After.",
            ),
            Self::RateLimited => (
                "rate_limited",
                429,
                "Too many requests",
                "Try again after the time in Retry-After. Follow a job by its events instead of reading it in a loop.",
            ),
            Self::TooManyStreams => (
                "too_many_streams",
                429,
                "Too many event streams",
                "Close an event stream, or try again after the time in Retry-After.",
            ),
            Self::Internal => (
                "internal",
                500,
                "Internal error",
                "Report the request id to the operator. Repeating the request with its Idempotency-Key is safe.",
            ),
            Self::WorkFailed => {
                ("work_failed", 502, "Work failed", "Repeating the request is safe: nothing was charged.")
            }
            Self::NoPrice => ("no_price", 503, "No BTC price", "Try again after the time in Retry-After."),
            Self::NoWallet => {
                ("no_wallet", 503, "Wallet unavailable", "Try again after the time in Retry-After.")
            }
            Self::NoBackend => (
                "no_backend",
                503,
                "AI backend unavailable",
                "Try again after the time in Retry-After. Nothing was charged.",
            ),
            Self::Busy => ("busy", 503, "Server busy", "Try again after the time in Retry-After."),
            Self::OutcomeUnknown => (
                "outcome_unknown",
                503,
                "Outcome unknown",
                "The database failed during a commit. Repeat the request with its Idempotency-Key to get its result.",
            ),
            Self::ShuttingDown => (
                "shutting_down",
                503,
                "Shutting down",
                "Try again after the time in Retry-After. Jobs can still be read.",
            ),
        }
    }

    /// The code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The `Retry-After` value in seconds; `None` if a retry does not help.
    pub(crate) const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::TooManyUnpaid => Some("60"),
            Self::NoBackend => Some("30"),
            Self::NoPrice | Self::NoWallet | Self::ShuttingDown | Self::TooManyStreams => Some("10"),
            Self::Busy | Self::OutcomeUnknown | Self::RequestInProgress | Self::RateLimited => Some("1"),
            _ => None,
        }
    }
}

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
        if matches!(self.code, Code::InvalidMacaroon | Code::MacaroonRequired) {
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
            EngineError::InvalidIdentity(_) => Code::InvalidIdentity,
            EngineError::InsufficientBalance { required, available } => {
                return insufficient_balance(&failure, *required, *available);
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
            EngineError::WorkFailed => Code::WorkFailed,
            EngineError::WorkRefused => Code::RequestRefused,
            EngineError::NotFound { .. } | EngineError::TestPayment(TestPaymentError::Unknown(_)) => {
                Code::NotFound
            }
            EngineError::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            EngineError::RequestInProgress => Code::RequestInProgress,
            EngineError::TooManyUnpaid => Code::TooManyUnpaid,
            EngineError::TooManyUnpaidOfYours { retry_after, .. } => {
                let seconds = retry_after.as_secs().saturating_add(1);
                return Self::new(Code::TooManyUnpaid, failure.to_string())
                    .with_header(header::RETRY_AFTER, seconds.into());
            }
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

/// What a program needs to know that has too little, so that it stops or tops up.
fn insufficient_balance(failure: &EngineError, required: Msats, available: Msats) -> Problem {
    let required = required.to_sats_rounding_up().map_or(u64::MAX, Sats::get);
    let available = available.to_sats_rounding_down().get();
    Problem::new(Code::InsufficientBalance, failure.to_string())
        .with_extension("reason", "balance")
        .with_extension("requiredSats", required)
        .with_extension("balanceSats", available)
        .with_extension(
            "topUp",
            json!({ "method": "POST", "path": "topup", "amountSats": required.saturating_sub(available) }),
        )
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
