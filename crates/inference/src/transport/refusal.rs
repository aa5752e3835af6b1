//! Classification of error responses.

use super::excerpt::BackendText;
use super::{Answer, retry_after};
use crate::failure::BackendFailure;
use reqwest::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tithe_engine::inference::InferenceError;

/// The maximum size of an error body: enough for the error object of any known backend.
const READ_BYTES_MAX: usize = 64 * 1024;
/// The time to wait for the error body. After that, only the status is used.
const READ_WAIT: Duration = Duration::from_secs(5);

/// The party that must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The backend does not take requests now.
    Unavailable,
    /// The backend failed at this request.
    Failed,
    /// The content or the length of the request is refused.
    Refused,
    /// The operator must act.
    Misconfigured,
}

impl ErrorKind {
    /// Classifies by status. Most of a request is the operator's: the endpoint, the model, the parameters. So a 400 is theirs,
    /// unless the body says that the content or the length is at fault; and so is a redirect, which is never followed.
    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            413 | 451 => Self::Refused,
            408 | 409 | 425 | 429 | 503 | 529 => Self::Unavailable,
            300..=499 => Self::Misconfigured,
            _ => Self::Failed,
        }
    }

    /// Whether an error of this status is explained by its body, rather than the other way round.
    fn is_vague(status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 403 | 422)
    }

    /// Classifies by the `type` and `code` of an error object, as in OpenAI's and Anthropic's APIs; `None` if they add
    /// nothing.
    pub(crate) fn of_object(error: &Value) -> Option<Self> {
        let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
        let message = text("message").to_ascii_lowercase();
        // An unpaid bill is a 429 from OpenAI and a 400 from Anthropic.
        if message.contains("credit balance is too low") {
            return Some(Self::Misconfigured);
        }
        let by_name = [text("code"), text("type")].into_iter().find_map(|name| match name {
            "insufficient_quota"
            | "billing_error"
            | "model_not_found"
            | "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "not_found_error"
            | "unsupported_parameter"
            | "unsupported_value"
            | "unknown_parameter" => Some(Self::Misconfigured),
            "overloaded_error" | "rate_limit_error" | "rate_limit_exceeded" | "unavailable_error" => {
                Some(Self::Unavailable)
            }
            "server_error" | "api_error" | "timeout_error" => Some(Self::Failed),
            "request_too_large"
            | "context_length_exceeded"
            | "exceed_context_size_error"
            | "string_above_max_length"
            | "content_policy_violation"
            | "content_filter"
            | "moderation_blocked"
            | "data_inspection_failed"
            | "invalid_prompt" => Some(Self::Refused),
            _ => None,
        });
        by_name.or_else(|| {
            CONTENT_OR_LENGTH.iter().any(|words| message.contains(words)).then_some(Self::Refused)
        })
    }
}

/// What backends say of a request whose content or length they refuse.
const CONTENT_OR_LENGTH: [&str; 10] = [
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "input is too long",
    "too many input tokens",
    "content policy",
    "content management policy",
    "usage policy",
    "flagged",
];

/// Reads the error body and classifies the error.
pub(super) async fn read(answer: Answer, status: StatusCode) -> InferenceError {
    let retry_after = retry_after::read(answer.headers());
    let body = answer.beginning(READ_BYTES_MAX, READ_WAIT).await;
    let object: Option<Value> = serde_json::from_slice(&body).ok();
    let by_object = object.as_ref().and_then(|body| body.get("error")).and_then(ErrorKind::of_object);
    let kind = match (ErrorKind::of_status(status), by_object) {
        // The error object can reveal that the operator must act; otherwise a clear status is more reliable.
        (_, Some(ErrorKind::Misconfigured)) => ErrorKind::Misconfigured,
        (_, Some(by_object)) if ErrorKind::is_vague(status) => by_object,
        (by_status, _) => by_status,
    };
    let body = BackendText::of(&body);
    let failure = BackendFailure::Status { status, body };
    match kind {
        ErrorKind::Unavailable => failure.unavailable(retry_after),
        ErrorKind::Failed => failure.failed(),
        ErrorKind::Refused => failure.refused(),
        ErrorKind::Misconfigured => failure.misconfigured(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_tells_who_must_act() {
        for (kind, statuses) in [
            (ErrorKind::Refused, &[413, 451][..]),
            (ErrorKind::Misconfigured, &[301, 307, 400, 401, 402, 403, 404, 405, 406, 422]),
            (ErrorKind::Unavailable, &[408, 409, 429, 503, 529]),
            (ErrorKind::Failed, &[500, 501, 502, 504, 520]),
        ] {
            for &status in statuses {
                assert_eq!(ErrorKind::of_status(StatusCode::from_u16(status).unwrap()), kind, "{status}");
            }
        }
    }

    #[test]
    fn an_error_object_tells_what_its_status_hides() {
        for (kind, object) in [
            (
                Some(ErrorKind::Misconfigured),
                json!({"code": "insufficient_quota", "type": "insufficient_quota"}),
            ),
            (
                Some(ErrorKind::Misconfigured),
                json!({"code": "model_not_found", "type": "invalid_request_error"}),
            ),
            (
                Some(ErrorKind::Misconfigured),
                json!({"type": "invalid_request_error", "message": "Your credit balance is too low to access it."}),
            ),
            (Some(ErrorKind::Unavailable), json!({"type": "overloaded_error", "message": "Overloaded"})),
            (Some(ErrorKind::Refused), json!({"code": 400, "type": "exceed_context_size_error"})),
            (
                Some(ErrorKind::Misconfigured),
                json!({"code": "unsupported_parameter", "type": "invalid_request_error", "param": "max_tokens",
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this model."}),
            ),
            (None, json!({"type": "invalid_request_error", "message": "max_tokens is too large: 100000."})),
            (
                None,
                json!({"type": "invalid_request_error", "message": "stream_options: extra inputs are not permitted"}),
            ),
            (
                Some(ErrorKind::Refused),
                json!({"code": "context_length_exceeded", "type": "invalid_request_error", "param": "messages"}),
            ),
            (
                Some(ErrorKind::Refused),
                json!({"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}),
            ),
            (
                Some(ErrorKind::Refused),
                json!({"type": "BadRequestError", "message": "This model's maximum context length is 8192 tokens."}),
            ),
            (
                Some(ErrorKind::Refused),
                json!({"code": "content_filter", "message": "The response was filtered due to the content management policy."}),
            ),
            (Some(ErrorKind::Failed), json!({"type": "server_error", "message": "The server had an error."})),
            (None, json!({"code": null, "type": "something_new"})),
            (None, json!("just text")),
        ] {
            assert_eq!(ErrorKind::of_object(&object), kind, "{object}");
        }
    }
}
