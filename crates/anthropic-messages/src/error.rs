//! Errors, as bodies and as events of streams.

use crate::json;
use serde_json::value::RawValue;

/// An error as clients read it.
#[derive(Debug, Clone, Copy)]
pub struct ErrorBody<'a> {
    /// The HTTP status that it has, or would have if the stream had not begun.
    pub status: u16,
    /// What has happened.
    pub message: &'a str,
    /// More about it, a JSON object: for a 402 `reason`, `balanceSats`, `requiredSats` and `topUp`. It becomes `error.metadata`. The
    /// official SDKs keep fields that they do not know; `error.details` is theirs.
    pub metadata: Option<&'a RawValue>,
    /// The id of the request; the SDKs read it from the header `request-id` too.
    pub request_id: Option<&'a str>,
}

/// The type of error that goes with a status.
#[must_use]
pub const fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// Appends an error as the body of a response.
pub fn encode_error(out: &mut Vec<u8>, error: &ErrorBody<'_>) {
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
    json::string(out, error_type(error.status));
    out.extend_from_slice(b",\"message\":");
    json::string(out, error.message);
    // A line break within would end the event of a stream.
    if let Some(metadata) = error.metadata.filter(|metadata| !metadata.get().contains(['\n', '\r'])) {
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(metadata.get().as_bytes());
    }
    out.extend_from_slice(b"},\"request_id\":");
    match error.request_id {
        Some(id) => json::string(out, id),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_402_is_a_billing_error_and_says_why_in_its_metadata() {
        let metadata =
            RawValue::from_string("{\"reason\":\"balance\",\"balanceSats\":3}".to_owned()).unwrap();
        let error = ErrorBody {
            status: 402,
            message: "insufficient balance: expected 10 sats, got 3",
            metadata: Some(&metadata),
            request_id: Some("req_1"),
        };
        let mut out = Vec::new();
        encode_error(&mut out, &error);
        let expected = json!({
            "type": "error",
            "error": {
                "type": "billing_error", "message": error.message,
                "metadata": {"reason": "balance", "balanceSats": 3},
            },
            "request_id": "req_1",
        });
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn each_status_has_a_type_of_the_api() {
        for (status, expected) in [
            (400, "invalid_request_error"),
            (409, "conflict_error"),
            (422, "invalid_request_error"),
            (401, "authentication_error"),
            (402, "billing_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
            (529, "overloaded_error"),
        ] {
            assert_eq!(error_type(status), expected, "{status}");
        }
    }
}
