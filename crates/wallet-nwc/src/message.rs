//! The JSON of requests, responses and notifications.
//!
//! These types are more lenient than those of the crate `nostr`: an error code or a state that is not in the standard must
//! not make a whole response unreadable.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// The number of characters of a wallet's message that are kept.
const MESSAGE_CHARS_MAX: usize = 200;

/// A wallet's error code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    RateLimited,
    NotImplemented,
    InsufficientBalance,
    QuotaExceeded,
    Restricted,
    Unauthorized,
    Internal,
    Other,
    PaymentFailed,
    NotFound,
    UnsupportedEncryption,
    /// Of the proposal for `max_fee` (nips pull request 2444).
    FeeLimitExceeded,
    /// Not in the standard.
    Unknown(String),
}

impl ErrorCode {
    fn parse(text: &str) -> Self {
        match text {
            "RATE_LIMITED" => Self::RateLimited,
            "NOT_IMPLEMENTED" => Self::NotImplemented,
            "INSUFFICIENT_BALANCE" => Self::InsufficientBalance,
            "QUOTA_EXCEEDED" => Self::QuotaExceeded,
            "RESTRICTED" => Self::Restricted,
            "UNAUTHORIZED" => Self::Unauthorized,
            "INTERNAL" => Self::Internal,
            "OTHER" => Self::Other,
            "PAYMENT_FAILED" => Self::PaymentFailed,
            "NOT_FOUND" => Self::NotFound,
            "UNSUPPORTED_ENCRYPTION" => Self::UnsupportedEncryption,
            "FEE_LIMIT_EXCEEDED" => Self::FeeLimitExceeded,
            other => Self::Unknown(tidy(other)),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RateLimited => "RATE_LIMITED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InsufficientBalance => "INSUFFICIENT_BALANCE",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Restricted => "RESTRICTED",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Internal => "INTERNAL",
            Self::Other => "OTHER",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::NotFound => "NOT_FOUND",
            Self::UnsupportedEncryption => "UNSUPPORTED_ENCRYPTION",
            Self::FeeLimitExceeded => "FEE_LIMIT_EXCEEDED",
            Self::Unknown(text) => text,
        })
    }
}

/// The error of a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Fault {
    pub code: ErrorCode,
    /// The wallet's words, shortened and without control characters.
    pub message: String,
}

/// A text from outside, fit for a log line.
pub(crate) fn tidy(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    error: Option<FaultBody>,
    #[serde(default)]
    result: Option<Value>,
}

#[derive(Deserialize)]
struct FaultBody {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// What a decrypted response says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Response {
    Result(Value),
    Fault(Fault),
    /// Not a response to this method. The text says why.
    Unreadable(&'static str),
}

impl Response {
    /// Reads the response to a request of `method`.
    pub fn parse(method: &str, json: &str) -> Self {
        let Ok(envelope) = serde_json::from_str::<Envelope>(json) else {
            return Self::Unreadable("expected a JSON object with `result` or `error`");
        };
        if let Some(body) = envelope.error {
            return Self::Fault(Fault {
                code: ErrorCode::parse(body.code.as_deref().unwrap_or_default()),
                message: tidy(body.message.as_deref().unwrap_or_default()),
            });
        }
        match envelope.result {
            _ if envelope.result_type.as_deref() != Some(method) => {
                Self::Unreadable("expected the requested method in `result_type`")
            }
            Some(result) => Self::Result(result),
            None => Self::Unreadable("expected `result` or `error`, got neither"),
        }
    }
}

/// The result of `make_invoice`.
#[derive(Deserialize)]
pub(crate) struct MadeInvoice {
    #[serde(default)]
    pub invoice: Option<String>,
    #[serde(default)]
    pub payment_hash: Option<String>,
}

/// The result of `pay_invoice`.
#[derive(Deserialize)]
pub(crate) struct PaidInvoice {
    #[serde(default)]
    pub preimage: Option<String>,
    #[serde(default)]
    pub fees_paid: Option<u64>,
}

/// The result of `get_balance`, in millisats.
#[derive(Deserialize)]
pub(crate) struct Balance {
    pub balance: u64,
}

/// The result of `get_info`, as far as it is used.
#[derive(Deserialize)]
pub(crate) struct NodeInfo {
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub block_height: Option<u32>,
    /// The methods that the connection may use.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
}

impl NodeInfo {
    /// Whether the connection may make, settle and cancel hold invoices.
    pub fn has_hold_invoices(&self) -> bool {
        let offered = self.methods.as_deref().unwrap_or_default();
        let needed = ["make_hold_invoice", "settle_hold_invoice", "cancel_hold_invoice"];
        needed.iter().all(|method| offered.iter().any(|offered| offered == method))
    }
}

#[derive(Deserialize)]
struct Notification {
    notification_type: String,
    notification: NotifiedPayment,
}

#[derive(Deserialize)]
struct NotifiedPayment {
    payment_hash: String,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    /// A payment was received.
    Received,
    /// The payment of a hold invoice has arrived.
    Held,
}

/// What a notification says, with the payment hash as text; `None` for kinds that are not used.
pub(crate) fn read_notice(json: &str) -> Option<(NoticeKind, String)> {
    let parsed: Notification = serde_json::from_str(json).ok()?;
    let kind = match parsed.notification_type.as_str() {
        "payment_received" => NoticeKind::Received,
        "hold_invoice_accepted" => NoticeKind::Held,
        _ => return None,
    };
    Some((kind, parsed.notification.payment_hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_code_of_the_standard_is_known_and_others_are_kept() {
        for code in [
            "RATE_LIMITED",
            "NOT_IMPLEMENTED",
            "INSUFFICIENT_BALANCE",
            "QUOTA_EXCEEDED",
            "RESTRICTED",
            "UNAUTHORIZED",
            "INTERNAL",
            "OTHER",
            "PAYMENT_FAILED",
            "NOT_FOUND",
            "UNSUPPORTED_ENCRYPTION",
            "FEE_LIMIT_EXCEEDED",
        ] {
            let parsed = ErrorCode::parse(code);
            assert!(!matches!(parsed, ErrorCode::Unknown(_)), "{code}");
            assert_eq!(parsed.to_string(), code);
        }
        let response =
            json!({ "result_type": "pay_invoice", "error": { "code": "BAD_REQUEST", "message": "a\nb" } });
        let fault = Fault { code: ErrorCode::Unknown("BAD_REQUEST".into()), message: "ab".into() };
        assert_eq!(Response::parse("pay_invoice", &response.to_string()), Response::Fault(fault));
    }

    #[test]
    fn a_result_must_name_the_requested_method_and_an_error_need_not() {
        let unreadable = |json: &str| matches!(Response::parse("get_balance", json), Response::Unreadable(_));
        assert!(unreadable(r#"{"result_type":"get_info","error":null,"result":{"balance":1}}"#));
        assert!(unreadable(r#"{"result":{"balance":1}}"#));
        assert!(unreadable(r#"{"result_type":"get_balance","result":null,"error":null}"#));
        assert!(unreadable("not JSON"));
        let good = r#"{"result_type":"get_balance","error":null,"result":{"balance":1}}"#;
        assert_eq!(Response::parse("get_balance", good), Response::Result(json!({ "balance": 1 })));
        let error = r#"{"result_type":"","error":{"code":"UNSUPPORTED_ENCRYPTION"}}"#;
        let fault = Fault { code: ErrorCode::UnsupportedEncryption, message: String::new() };
        assert_eq!(Response::parse("get_balance", error), Response::Fault(fault));
    }

    #[test]
    fn only_received_and_held_payments_are_taken_from_notifications() {
        let json = |kind: &str| {
            json!({ "notification_type": kind, "notification": { "payment_hash": "ab", "amount": 1 } })
                .to_string()
        };
        let notice = |kind| Some((kind, "ab".to_owned()));
        assert_eq!(read_notice(&json("payment_received")), notice(NoticeKind::Received));
        assert_eq!(read_notice(&json("hold_invoice_accepted")), notice(NoticeKind::Held));
        assert_eq!(read_notice(&json("payment_sent")), None);
        assert_eq!(read_notice("[]"), None);
    }

    #[test]
    fn hold_invoices_need_all_three_methods() {
        let has = |methods: Value| {
            let info: NodeInfo = serde_json::from_value(json!({ "methods": methods })).unwrap();
            info.has_hold_invoices()
        };
        let all = ["make_hold_invoice", "settle_hold_invoice", "cancel_hold_invoice", "get_info"];
        assert!(has(json!(all)));
        for missing in 0..3 {
            let rest: Vec<_> = (0..4).filter(|index| *index != missing).map(|index| all[index]).collect();
            assert!(!has(json!(rest)), "{rest:?}");
        }
        assert!(!has(Value::Null));
    }
}
