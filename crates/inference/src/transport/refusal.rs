//! Classification of error responses.

use super::excerpt::excerpt;
use super::{Answer, ApiKey, retry_after};
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
    /// The backend has a temporary problem.
    Unavailable,
    /// The request is invalid.
    Refused,
    /// The operator must act.
    Misconfigured,
}

impl ErrorKind {
    /// Classifies by status. The operator configures the model name and the endpoint, so 404 and 405 are theirs, and so
    /// is a redirect, which is never followed.
    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401..=405 | 300..=399 => Self::Misconfigured,
            408 | 409 | 425 | 429 | 500..=599 => Self::Unavailable,
            400..=499 => Self::Refused,
            _ => Self::Unavailable,
        }
    }

    /// Classifies by the `type` and `code` of an error object, as in OpenAI's and Anthropic's APIs; `None` if they add
    /// nothing.
    pub(crate) fn of_object(error: &Value) -> Option<Self> {
        let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
        // An unpaid bill is a 429 from OpenAI and a 400 from Anthropic.
        if text("message").contains("credit balance is too low") {
            return Some(Self::Misconfigured);
        }
        [text("code"), text("type")].into_iter().find_map(|name| match name {
            "insufficient_quota"
            | "billing_error"
            | "model_not_found"
            | "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "not_found_error" => Some(Self::Misconfigured),
            "overloaded_error"
            | "rate_limit_error"
            | "rate_limit_exceeded"
            | "server_error"
            | "api_error"
            | "timeout_error"
            | "unavailable_error" => Some(Self::Unavailable),
            "invalid_request_error"
            | "request_too_large"
            | "context_length_exceeded"
            | "exceed_context_size_error" => Some(Self::Refused),
            _ => None,
        })
    }
}

/// Reads the error body and classifies the error.
pub(super) async fn read(answer: Answer, status: StatusCode, key: Option<&ApiKey>) -> InferenceError {
    let retry_after = retry_after::read(answer.headers());
    let body = answer.beginning(READ_BYTES_MAX, READ_WAIT).await;
    let object: Option<Value> = serde_json::from_slice(&body).ok();
    let by_object = object.as_ref().and_then(|body| body.get("error")).and_then(ErrorKind::of_object);
    let kind = match (ErrorKind::of_status(status), by_object) {
        // The error object can reveal that the operator must act; otherwise the status is more reliable.
        (_, Some(ErrorKind::Misconfigured)) => ErrorKind::Misconfigured,
        (by_status, _) => by_status,
    };
    let body = match key {
        // Some backends repeat the rejected key in the error message.
        Some(key) => excerpt(String::from_utf8_lossy(&body).replace(key.expose(), "[key]").as_bytes()),
        None => excerpt(&body),
    };
    let failure = BackendFailure::Status { status, body };
    match kind {
        ErrorKind::Unavailable => failure.unavailable(retry_after),
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
            (ErrorKind::Refused, &[400, 406, 413, 422, 451][..]),
            (ErrorKind::Misconfigured, &[301, 307, 401, 402, 403, 404, 405]),
            (ErrorKind::Unavailable, &[408, 409, 429, 500, 502, 503, 504, 529]),
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
            (None, json!({"code": null, "type": "something_new"})),
            (None, json!("just text")),
        ] {
            assert_eq!(ErrorKind::of_object(&object), kind, "{object}");
        }
    }
}
