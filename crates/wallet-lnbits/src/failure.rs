//! What a failed exchange with LNbits means.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::error::Error;
use tithe_lightning::WalletError;

/// The maximum length of an LNbits message in our errors.
const DETAIL_CHARS_MAX: usize = 200;

/// LNbits' own error status for payments and invoices.
const LNBITS_ERROR: u16 = 520;

/// The cause of an error.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// A request that got no response.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The request has not left this machine: there is no connection.
    NotSent(Cause),
    /// The request may have arrived.
    NoReply(Cause),
}

impl Lost {
    /// What it means for a request that changes nothing, or nothing that matters.
    pub fn of_read(self) -> WalletError {
        match self {
            Self::NotSent(cause) | Self::NoReply(cause) => WalletError::Unavailable(Some(cause)),
        }
    }

    /// What it means for a request that sends a payment.
    pub fn of_payment(self) -> WalletError {
        match self {
            Self::NotSent(cause) => WalletError::Unavailable(Some(cause)),
            Self::NoReply(cause) => WalletError::OutcomeUnknown(Some(cause)),
        }
    }
}

/// LNbits' error response.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ErrorBody {
    /// A text, or the list of the fields that failed validation.
    #[serde(default)]
    detail: Option<Value>,
    /// The status of the payment or invoice that the request was about.
    #[serde(default)]
    pub status: Option<String>,
}

impl ErrorBody {
    /// Reads a body; `None` if LNbits did not write it.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().filter(|body: &Self| body.detail.is_some())
    }

    /// Whether a field of the request failed validation, which LNbits does before anything else.
    pub fn is_invalid_field(&self) -> bool {
        self.detail.as_ref().is_some_and(Value::is_array)
    }

    /// The message, for errors and logs.
    pub fn message(&self) -> String {
        let text = match &self.detail {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(fields)) => fields.iter().map(field_message).collect::<Vec<_>>().join(", "),
            _ => String::new(),
        };
        text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
    }
}

fn field_message(field: &Value) -> String {
    let name = field.get("loc").and_then(Value::as_array).and_then(|path| path.last());
    let message = field.get("msg").and_then(Value::as_str).unwrap_or("invalid");
    format!("{}: {message}", name.and_then(Value::as_str).unwrap_or("request"))
}

/// A response that LNbits did not write, or that says nothing.
#[derive(Debug, thiserror::Error)]
#[error("unexpected response: status {status}{}{message}", if message.is_empty() { "" } else { ": " })]
pub(crate) struct UnexpectedReply {
    /// The HTTP status.
    pub status: u16,
    /// LNbits' message, if it has one.
    pub message: String,
}

impl UnexpectedReply {
    /// The response with this status and body.
    pub fn new(status: StatusCode, body: &[u8]) -> Self {
        let message = ErrorBody::parse(body).map(|body| body.message()).unwrap_or_default();
        Self { status: status.as_u16(), message }
    }
}

/// What an error response means for a request that sends no payment.
pub(crate) fn of_read(status: StatusCode, body: &[u8]) -> WalletError {
    let reply = UnexpectedReply::new(status, body);
    let refuses = ErrorBody::parse(body).is_some_and(|body| body.status.as_deref() == Some("failed"));
    match status.as_u16() {
        LNBITS_ERROR if refuses => WalletError::Refused(reply.message),
        408 | 429 | 500.. => WalletError::Unavailable(Some(reply.into())),
        300..=399 => {
            WalletError::Refused(format!("redirect: expected the API of LNbits, got status {status}"))
        }
        _ if reply.message.is_empty() => WalletError::Refused(reply.to_string()),
        _ => WalletError::Refused(reply.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> WalletError {
        of_read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn trouble_that_passes_is_unavailable_and_everything_else_refused() {
        for (status, body) in [
            (429, r#"{"error":"Rate limit exceeded: 200 per 1 minute"}"#),
            (500, r#"{"detail":"Unexpected error! ID: MLZEfMi7Wfpc6rWs5DLPdy"}"#),
            (502, "<html>Bad Gateway</html>"),
            (503, ""),
            (504, ""),
            (520, r#"{"detail":"unexpected backend error.","status":"pending"}"#),
            (520, "<html>Web server is returning an unknown error</html>"),
        ] {
            let error = read(status, body);
            assert!(matches!(error, WalletError::Unavailable(_)), "{status} {body}: {error:?}");
        }
        for (status, body, message) in [
            (404, r#"{"detail":"Wallet not found."}"#, "Wallet not found."),
            (404, "<html>Not Found</html>", "unexpected response: status 404"),
            (401, r#"{"detail":"No Api Key provided."}"#, "No Api Key provided."),
            (
                520,
                r#"{"detail":"Amountless invoices not supported.","status":"failed"}"#,
                "Amountless invoices not supported.",
            ),
            (307, "", "redirect: expected the API of LNbits, got status 307 Temporary Redirect"),
            (
                400,
                r#"{"detail":[{"loc":["body","amount"],"msg":"ensure this value is greater than or equal to 0","type":"value_error.number.not_ge"}]}"#,
                "amount: ensure this value is greater than or equal to 0",
            ),
        ] {
            let error = read(status, body);
            assert!(
                matches!(&error, WalletError::Refused(text) if text == message),
                "{status} {body}: {error:?}"
            );
        }
    }

    #[test]
    fn a_message_is_short_and_of_one_line() {
        let body = format!(r#"{{"detail":"a\nb{}"}}"#, "x".repeat(1_000));
        let message = ErrorBody::parse(body.as_bytes()).unwrap().message();
        assert!(message.starts_with("abx") && message.chars().count() == DETAIL_CHARS_MAX, "{message}");
        for other in ["", "[]", "{}", r#"{"error":"x"}"#, "<html>"] {
            assert!(ErrorBody::parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
