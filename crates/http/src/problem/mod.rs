//! Problems: error responses in the shape of RFC 9457, with stable codes.

mod code;
mod shape;

pub use code::Code;
pub(crate) use shape::Shape;

use crate::answer_headers::X_TITHE_BALANCE_MSATS;
use crate::limits::UnpaidRequest;
use crate::request_id;
use crate::wire::{InvoiceBody, ProblemCode};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use tithe_anthropic_messages::{ErrorBody, encode_error};
use tithe_engine::sessions::PaymentSessionError;
use tithe_engine::{EngineError, InvalidCredential, PaidRequestError, PaymentNeeded};
use tithe_ledger::credits::CreditRefusal;
use tithe_lightning::{Invoice, TestPaymentError};
use tithe_money::{Msats, Sats};
use tithe_openai_chat::{ApiError, kind_of_status};
use tithe_payouts::PayoutError;
use tithe_paywall::LimitReached;
use tithe_paywall::payment;
use tithe_sessions::{SessionError, SessionId, StateName};
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
    unpaid: Option<Box<UnpaidRequest>>,
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
        Self { code, detail, headers, extensions, unpaid: None }
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

    /// The HTTP status.
    pub(crate) const fn status(&self) -> u16 {
        self.code.facts().1
    }

    /// Creates a problem about a model that is not offered.
    pub(crate) fn unknown_model(name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        let detail = format!("unknown model: expected one that GET /v1/models lists, got {name:?}");
        Self::new(Code::ModelNotFound, detail).about_parameter(Some("model".to_owned()))
    }

    /// Names the session in what the problem says of paying, which is never less than the `least` that a top-up can be.
    pub(crate) fn about_session(mut self, session: SessionId, least: Sats) -> Self {
        let top_up = match self.code {
            Code::InsufficientBalance => {
                let lacking = self.extensions.get(TOP_UP).and_then(|top_up| top_up.get("amountSats"));
                let amount = lacking.and_then(Value::as_u64).unwrap_or_default().max(least.get());
                json!({ "method": "POST", "path": format!("/api/sessions/{session}/topup"), "amountSats": amount })
            }
            // Reading the session shows the invoice that is to be paid.
            Code::SessionUnpaid => json!({ "method": "GET", "path": format!("/api/sessions/{session}") }),
            _ => return self,
        };
        self.extensions.insert(TOP_UP.to_owned(), top_up);
        self
    }

    /// Offers an invoice that tops the session up.
    pub(crate) fn offering(mut self, top_up: &Invoice) -> Self {
        let offered =
            InvoiceBody::try_from(top_up).ok().and_then(|invoice| serde_json::to_value(invoice).ok());
        if let (Some(Value::Object(fields)), Some(offered)) = (self.extensions.get_mut(TOP_UP), offered) {
            fields.insert("invoice".to_owned(), offered);
        }
        self
    }

    /// Says for what nobody has paid, if that is the problem. Repetitions of the request are answered more slowly.
    pub(crate) fn if_unpaid(mut self, request: UnpaidRequest) -> Self {
        self.unpaid = (self.status() == 402).then(|| Box::new(request));
        self
    }

    /// What the request needs, in whole sats, if the problem says it.
    pub(crate) fn required(&self) -> Option<Sats> {
        let required = self.extensions.get("requiredSats").and_then(Value::as_u64)?;
        Sats::new(required).ok().filter(|sats| *sats >= Sats::ONE)
    }

    /// Says how a session of the scheme `Payment` is paid into: on the path of the request.
    pub(crate) fn about_payment_session(mut self, path: &str) -> Self {
        let lacking = self.extensions.get(TOP_UP).and_then(|top_up| top_up.get("amountSats")).cloned();
        let mut top_up = json!({ "method": "GET", "path": path });
        if let (Value::Object(fields), Some(lacking)) = (&mut top_up, lacking) {
            fields.insert("amountSats".to_owned(), lacking);
        }
        self.extensions.insert(TOP_UP.to_owned(), top_up);
        let of_draft = match self.code {
            Code::InsufficientBalance => payment::Problem::InsufficientBalance,
            _ => payment::Problem::PaymentRequired,
        };
        self.with_extension(DRAFT_PROBLEM, of_draft.uri())
    }

    /// Says more precisely what is wrong.
    #[must_use]
    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Self::new(self.code, detail).detail, ..self }
    }

    /// Whether an invoice for just this request can be offered: not for a session's, and not to somebody whose payment is in our way.
    pub(crate) fn is_offerable(&self) -> bool {
        let is_ours = self.extensions.get(REASON).is_some_and(|reason| reason == UNUSABLE);
        !is_ours
            && matches!(
                self.code,
                Code::PaymentRequired
                    | Code::OutOfCredits
                    | Code::CloudCapExceededNoHardware
                    | Code::ProofForAnotherRequest
                    | Code::PaymentEnded
            )
    }

    /// Says which parameter of the AI API is wrong.
    pub(crate) fn about_parameter(self, param: Option<String>) -> Self {
        match param {
            Some(param) => self.with_extension(PARAM, param),
            None => self,
        }
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

    /// A method with which clients of sessions of the scheme `Payment` come without a request, and this one did not come for that.
    pub(crate) fn method_without_request(method: &str, allowed: &str) -> Self {
        let others: Vec<&str> =
            allowed.split(", ").filter(|other| *other != method && *other != "HEAD").collect();
        let detail = format!(
            "unsupported method: with {method}, this path only tops sessions of the scheme Payment up and closes them; expected {} for a request",
            others.join(", ")
        );
        Self { detail, ..Self::method(method, allowed) }
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

    /// The body as an error object of OpenAI's APIs. What Tithe says beyond that is its `metadata`.
    fn open_ai(&self) -> Vec<u8> {
        let status = self.status();
        let metadata = self.metadata();
        let error = ApiError {
            message: &self.detail,
            kind: kind_of_status(status),
            param: self.extensions.get(PARAM).and_then(Value::as_str),
            // Agents match the code of an empty account.
            code: Some(if status == 402 { kind_of_status(status) } else { self.code.as_str() }),
            metadata: metadata.as_deref(),
        };
        let mut body = Vec::new();
        error.encode(&mut body);
        body
    }

    /// The body as an error object of Anthropic's API.
    fn anthropic(&self) -> Vec<u8> {
        let (message, metadata, id) = (&self.detail, self.metadata(), request_id::current());
        let error = ErrorBody {
            status: self.status(),
            message,
            metadata: metadata.as_deref(),
            request_id: Some(&id),
        };
        let mut body = Vec::new();
        encode_error(&mut body, &error);
        body
    }

    /// The code and the extension fields, for clients of the AI API.
    fn metadata(&self) -> Option<Box<RawValue>> {
        let mut fields = self.extensions.clone();
        fields.remove(PARAM);
        fields.insert("code".to_owned(), self.code.as_str().into());
        fields.insert("requestId".to_owned(), request_id::current().into());
        serde_json::value::to_raw_value(&fields).ok()
    }
}

/// The name of the field that says which parameter of the AI API is wrong.
const PARAM: &str = "param";

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
        let (content_type, body) = match Shape::current() {
            Shape::ProblemDetails => {
                ("application/problem+json", self.details(request_id::current()).to_string().into_bytes())
            }
            Shape::OpenAi => ("application/json", self.open_ai()),
            Shape::Anthropic => ("application/json", self.anthropic()),
        };
        let mut response = HttpResponse::build(self.status_code());
        response.extensions_mut().insert(self.code);
        if let Some(unpaid) = &self.unpaid {
            response.extensions_mut().insert(**unpaid);
        }
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
        if matches!(
            self.code,
            Code::InvalidMacaroon
                | Code::MacaroonRequired
                | Code::InvalidAdminToken
                | Code::InvalidPaymentProof
        ) {
            response.append_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.body(body)
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
            EngineError::InvalidProof(_) => Code::InvalidPaymentProof,
            EngineError::PaidRequest(refused) => return paid_request(refused),
            EngineError::PaymentSession(refused) => return payment_session(refused),
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
                return Self::new(Code::SessionUnpaid, "the deposit of the session is not paid")
                    .with_extension("reason", "no_payment")
                    .with_extension("balanceSats", 0);
            }
            EngineError::SessionState(_) => Code::SessionEnded,
            EngineError::TopUpPending(invoice) => {
                let pending = InvoiceBody::try_from(invoice.as_ref()).ok();
                let pending = pending.and_then(|invoice| serde_json::to_value(invoice).ok());
                return Self::new(Code::TopUpPending, failure.to_string())
                    .with_extension("pendingTopup", pending.unwrap_or_default());
            }
            EngineError::Payout(refused) => return payout(refused, &failure),
            EngineError::WorkFailed | EngineError::UpstreamFailed(_) | EngineError::CallLost => {
                Code::WorkFailed
            }
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
            EngineError::TestPayment(
                TestPaymentError::AlreadyPaid(_)
                | TestPaymentError::Expired(_)
                | TestPaymentError::Held(_)
                | TestPaymentError::Returned(_),
            ) => Code::NotPayable,
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

/// Why a request that was paid for by itself is not done.
fn paid_request(refused: &PaidRequestError) -> Problem {
    let (code, reason) = match refused {
        PaidRequestError::AnotherRequest => (Code::ProofForAnotherRequest, "another_request"),
        PaidRequestError::Used => (Code::PaymentEnded, "used"),
        PaidRequestError::Returned => (Code::PaymentEnded, "returned"),
        PaidRequestError::Expired => (Code::PaymentEnded, "expired"),
        PaidRequestError::Running | PaidRequestError::BeingPaid => {
            return Problem::new(Code::RequestInProgress, refused.to_string());
        }
        PaidRequestError::NotArrived => return Problem::new(Code::PaymentPending, refused.to_string()),
        // Whoever has paid is not asked to pay again for what is not their fault.
        _ => (Code::PaymentEnded, UNUSABLE),
    };
    Problem::new(code, refused.to_string()).with_extension(REASON, reason).with_extension("balanceSats", 0)
}

/// Why a session of the scheme `Payment` is not opened, used, topped up or closed.
fn payment_session(refused: &PaymentSessionError) -> Problem {
    let reason = match refused {
        PaymentSessionError::NotArrived => return Problem::new(Code::PaymentPending, refused.to_string()),
        PaymentSessionError::NotOffered => return Problem::new(Code::NotOffered, refused.to_string()),
        // The deposit was paid, and can still be opened: no other is offered.
        PaymentSessionError::ReturnInvoice(_) => {
            let uri = payment::Problem::InvalidReturnInvoice.uri();
            return Problem::field("payload.returnInvoice", refused).with_extension(DRAFT_PROBLEM, uri);
        }
        PaymentSessionError::NotFound | PaymentSessionError::NotOpened => "session_not_found",
        PaymentSessionError::DepositEnded => "deposit_ended",
        PaymentSessionError::ChallengeExpired => "expired",
        PaymentSessionError::UsedForAnotherRequest => "another_request",
        _ => "session_closed",
    };
    let problem = Problem::new(Code::PaymentEnded, refused.to_string()).with_extension(REASON, reason);
    let problem = problem.with_extension("balanceSats", 0);
    refused
        .problem()
        .iter()
        .fold(problem, |problem, of_draft| problem.with_extension(DRAFT_PROBLEM, of_draft.uri()))
}

/// The name of the field with the problem type of the drafts of the scheme `Payment`, a URI. `type` is Tithe's own, or the API's.
pub(crate) const DRAFT_PROBLEM: &str = "problem";

/// The name of the field that says why nobody pays.
const REASON: &str = "reason";

/// The reason when a payment was made that can be claimed, but not used.
const UNUSABLE: &str = "unusable";

/// The name of the field that says how to pay.
pub(crate) const TOP_UP: &str = "topUp";

/// How to pay without having anything: with a session of any deposit.
pub(crate) fn session() -> Value {
    json!({ "method": "POST", "path": "/api/sessions" })
}

/// How to pay without having anything: with a session that has this deposit, in sats.
pub(crate) fn deposit(sats: u64) -> Value {
    json!({ "method": "POST", "path": "/api/sessions", "amountSats": sats })
}

/// What a program needs to know that has too little, so that it stops or tops up.
fn insufficient_balance(failure: &EngineError, required: Msats, available: Msats) -> Problem {
    let required = required.to_sats_rounding_up().map_or(u64::MAX, Sats::get);
    let balance = HeaderValue::from(available.get());
    let available = available.to_sats_rounding_down().get();
    Problem::new(Code::InsufficientBalance, failure.to_string())
        .with_header(X_TITHE_BALANCE_MSATS.clone(), balance)
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
        PayoutError::Session(_) => return Problem::field("sessionId", refused),
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
    fn a_problem_carries_headers_and_extension_fields_in_every_shape() {
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
        let error: Value = serde_json::from_slice(&problem.open_ai()).unwrap();
        let error = &error["error"];
        assert_eq!(
            (&error["message"], &error["type"], &error["code"]),
            (&json!("too busy"), &json!("server_error"), &json!("busy"))
        );
        assert_eq!(
            (&error["metadata"]["balanceMsats"], &error["metadata"]["code"]),
            (&json!(5), &json!("busy"))
        );
        let error: Value = serde_json::from_slice(&problem.anthropic()).unwrap();
        assert_eq!(error["error"]["type"], "overloaded_error");
        assert_eq!(error["error"]["metadata"]["balanceMsats"], 5);
    }
}
