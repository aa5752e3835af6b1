//! Errors, as clients read them.

use crate::request_error::RequestError;
use serde::Serialize;
use serde_json::value::RawValue;

/// An error, as clients read it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ApiError<'a> {
    /// What is wrong, for people. Of an error with status 402, it must not speak of the length of the request: agents would shorten
    /// their chat and try again.
    pub message: &'a str,
    /// The kind of error, which SDKs and agents match; see [`kind_of_status`].
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The field of the request that is wrong.
    pub param: Option<&'a str>,
    /// The error, for programs; see [`code_of_status`].
    pub code: Option<&'a str>,
    /// What the server says beyond OpenAI's fields, a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
}

impl<'a> ApiError<'a> {
    /// An error with this HTTP status, with the `type` and `code` that belong to it.
    #[must_use]
    pub const fn of_status(status: u16, message: &'a str) -> Self {
        let (kind, code) = (kind_of_status(status), code_of_status(status));
        Self { message, kind, param: None, code, metadata: None }
    }

    /// Appends the body of the response.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":");
        crate::json::append(out, self);
        out.push(b'}');
    }
}

impl<'a> From<&'a RequestError> for ApiError<'a> {
    /// The error belongs into a response with status 400.
    fn from(error: &'a RequestError) -> Self {
        let kind = kind_of_status(400);
        Self {
            message: &error.message,
            kind,
            param: error.param.as_deref(),
            code: Some(error.code),
            metadata: None,
        }
    }
}

/// OpenAI's `type` of an error with this HTTP status.
#[must_use]
pub const fn kind_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// OpenAI's `code` of an error with this HTTP status, if the status says enough.
#[must_use]
pub const fn code_of_status(status: u16) -> Option<&'static str> {
    match status {
        401 => Some("invalid_api_key"),
        402 => Some("insufficient_quota"),
        429 => Some("rate_limit_exceeded"),
        500.. => Some("server_error"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn encoded(error: &ApiError<'_>) -> Value {
        let mut out = Vec::new();
        error.encode(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn an_error_always_has_the_four_fields_of_openai() {
        let error = ApiError::of_status(404, "unknown model: \"x\"");
        assert_eq!(
            encoded(&error),
            json!({"error": {"message": "unknown model: \"x\"", "type": "not_found_error", "param": null, "code": null}})
        );
    }

    #[test]
    fn an_empty_balance_is_what_agents_take_for_final() {
        let metadata = RawValue::from_string(r#"{"reason":"balance"}"#.to_owned()).unwrap();
        let error =
            ApiError { metadata: Some(&metadata), ..ApiError::of_status(402, "the balance is used up") };
        let error = encoded(&error);
        assert_eq!(error["error"]["type"], "insufficient_quota");
        assert_eq!(error["error"]["code"], "insufficient_quota");
        assert_eq!(error["error"]["metadata"]["reason"], "balance");
    }

    #[test]
    fn every_status_has_a_kind() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (409, "invalid_request_error"),
            (413, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "server_error"),
            (503, "server_error"),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }
}
