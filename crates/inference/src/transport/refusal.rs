//! What an answer that is not a success means.

use super::excerpt::excerpt;
use super::{Answer, ApiKey, retry_after};
use crate::failure::BackendFailure;
use reqwest::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tithe_engine::inference::InferenceError;

/// Enough for the whole error object of any known backend.
const READ_BYTES_MAX: usize = 64 * 1024;
/// An error that is not told by then is known by its status alone.
const READ_WAIT: Duration = Duration::from_secs(5);

/// Whose fault an error is, by which it is decided what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The backend's, for now.
    Unavailable,
    /// The request's.
    Refused,
    /// The operator's.
    Misconfigured,
}

impl ErrorKind {
    /// By status. What a model is called and where the endpoint lies is the operator's to set, so 404 and 405 are theirs,
    /// and so is a redirect, which is never followed.
    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401..=405 | 300..=399 => Self::Misconfigured,
            408 | 409 | 425 | 429 | 500..=599 => Self::Unavailable,
            400..=499 => Self::Refused,
            _ => Self::Unavailable,
        }
    }

    /// By the `type` and `code` of an error object, as OpenAI and Anthropic name them; `None` when they say nothing new.
    pub(crate) fn of_object(error: &Value) -> Option<Self> {
        let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
        // An unpaid bill comes as 429 from OpenAI and as 400 from Anthropic.
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

/// Reads what the backend said and tells what it means.
pub(super) async fn read(answer: Answer, status: StatusCode, key: Option<&ApiKey>) -> InferenceError {
    let retry_after = retry_after::read(answer.headers());
    let body = answer.beginning(READ_BYTES_MAX, READ_WAIT).await;
    let object: Option<Value> = serde_json::from_slice(&body).ok();
    let by_object = object.as_ref().and_then(|body| body.get("error")).and_then(ErrorKind::of_object);
    let kind = match (ErrorKind::of_status(status), by_object) {
        // The object may tell that it is the operator who must act; otherwise the status is the clearer of the two.
        (_, Some(ErrorKind::Misconfigured)) => ErrorKind::Misconfigured,
        (by_status, _) => by_status,
    };
    let body = match key {
        // Some backends repeat the key that they refuse.
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
