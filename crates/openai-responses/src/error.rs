//! Errors: of requests that cannot be read, and as bodies of responses.

use crate::json;
use serde_json::value::RawValue;

/// Why a request is refused (status 400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// What is wrong: the field, what was expected, and what it is.
    pub message: String,
    /// The field, such as `input[2].content[0].image_url`; `None` if it is the whole body.
    pub param: Option<String>,
    /// What is wrong, for programs: `invalid_json`, `invalid_type`, `invalid_value`, `missing_required_parameter`,
    /// `unsupported_parameter` or `unsupported_value`.
    pub code: &'static str,
}

impl RequestError {
    pub(crate) fn body(got: &str) -> Self {
        Self {
            message: format!("invalid body: expected a JSON object, got {got}"),
            param: None,
            code: "invalid_json",
        }
    }

    pub(crate) fn missing(param: &str, expected: &str) -> Self {
        Self {
            message: format!("missing field `{param}`: expected {expected}"),
            param: Some(param.to_owned()),
            code: "missing_required_parameter",
        }
    }

    pub(crate) fn kind(param: &str, expected: &str, got: &str) -> Self {
        Self {
            message: format!("invalid type of `{param}`: expected {expected}, got {got}"),
            param: Some(param.to_owned()),
            code: "invalid_type",
        }
    }

    pub(crate) fn value(param: &str, expected: &str, got: &str) -> Self {
        Self {
            message: format!("invalid value of `{param}`: expected {expected}, got {}", shortened(got)),
            param: Some(param.to_owned()),
            code: "invalid_value",
        }
    }

    /// A field that the server does not offer at all.
    pub(crate) fn unsupported_field(param: &str, expected: &str) -> Self {
        Self {
            message: format!("unsupported field `{param}`: expected {expected}"),
            param: Some(param.to_owned()),
            code: "unsupported_parameter",
        }
    }

    /// A value that is valid, but that the server does not offer.
    pub(crate) fn unsupported(param: &str, expected: &str, got: &str) -> Self {
        Self {
            message: format!("unsupported value of `{param}`: expected {expected}, got {}", shortened(got)),
            param: Some(param.to_owned()),
            code: "unsupported_value",
        }
    }
}

/// The beginning of a text, quoted, for a message.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The body of a response that is an error. All of OpenAI's APIs have this shape.
#[derive(Debug, Clone, Copy)]
pub struct ErrorBody<'a> {
    /// What is wrong, for people.
    pub message: &'a str,
    /// The group of the error: `invalid_request_error`, `insufficient_quota`, `server_error`, …
    pub kind: &'a str,
    /// The field of the request that is wrong.
    pub param: Option<&'a str>,
    /// The error, for programs.
    pub code: Option<&'a str>,
    /// What else there is to say, a JSON object.
    pub metadata: Option<&'a RawValue>,
}

impl<'a> From<&'a RequestError> for ErrorBody<'a> {
    fn from(error: &'a RequestError) -> Self {
        Self {
            message: &error.message,
            kind: "invalid_request_error",
            param: error.param.as_deref(),
            code: Some(error.code),
            metadata: None,
        }
    }
}

impl ErrorBody<'_> {
    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let optional = |out: &mut Vec<u8>, text: Option<&str>| match text {
            Some(text) => json::string(out, text),
            None => json::text(out, "null"),
        };
        json::text(out, "{\"error\":{\"message\":");
        json::string(out, self.message);
        json::text(out, ",\"type\":");
        json::string(out, self.kind);
        json::text(out, ",\"param\":");
        optional(out, self.param);
        json::text(out, ",\"code\":");
        optional(out, self.code);
        if let Some(metadata) = self.metadata {
            json::text(out, ",\"metadata\":");
            json::raw(out, metadata.get());
        }
        json::text(out, "}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_shape_that_the_clients_of_openai_read() {
        let mut out = Vec::new();
        let error = RequestError::kind("input[0].role", "a string", "a number");
        ErrorBody::from(&error).write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"error":{"message":"invalid type of `input[0].role`: expected a string, got a number","type":"invalid_request_error","param":"input[0].role","code":"invalid_type"}}"#
        );

        let mut out = Vec::new();
        let metadata = serde_json::value::to_raw_value(&serde_json::json!({"balance_msats": 7})).unwrap();
        ErrorBody {
            message: "balance used up",
            kind: "insufficient_quota",
            param: None,
            code: Some("insufficient_quota"),
            metadata: Some(&metadata),
        }
        .write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"error":{"message":"balance used up","type":"insufficient_quota","param":null,"code":"insufficient_quota","metadata":{"balance_msats":7}}}"#
        );
    }
}
