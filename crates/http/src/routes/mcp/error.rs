//! Errors of JSON-RPC.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use serde_json::{Value, json};
use std::fmt;

/// An error of JSON-RPC, with the HTTP status that it comes with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RpcError {
    code: i32,
    message: String,
    data: Option<Value>,
    status: StatusCode,
}

impl RpcError {
    /// The code.
    #[cfg(test)]
    pub(super) const fn code(&self) -> i32 {
        self.code
    }

    fn new(code: i32, message: impl Into<String>, status: StatusCode) -> Self {
        Self { code, message: message.into(), data: None, status }
    }

    /// The body is not JSON.
    pub(super) fn parse(wrong: &impl fmt::Display) -> Self {
        Self::new(-32_700, format!("Parse error: {wrong}"), StatusCode::BAD_REQUEST)
    }

    /// The body is JSON, and no message.
    pub(super) fn invalid_request(detail: &str) -> Self {
        Self::new(-32_600, format!("Invalid Request: {detail}"), StatusCode::BAD_REQUEST)
    }

    /// The origin is not one that may call.
    pub(super) fn origin() -> Self {
        let message = "Invalid Request: the origin is not one of TITHE_CORS_ORIGINS";
        Self::new(-32_600, message, StatusCode::FORBIDDEN)
    }

    /// There is no such method.
    pub(super) fn method_not_found(method: &str, status: StatusCode) -> Self {
        let method: String = method.chars().take(100).collect();
        Self::new(-32_601, format!("Method not found: {method}"), status)
    }

    /// The parameters are wrong: the tool's name, or the credential (`draft-payment-transport-mcp-00`, "Protocol Errors").
    pub(super) fn invalid_params(detail: &str) -> Self {
        let error = Self::new(-32_602, format!("Invalid params: {detail}"), StatusCode::OK);
        error.with_data(json!({ "detail": detail }))
    }

    /// A member of `_meta` is missing that every request must have.
    pub(super) fn missing_meta(key: &str) -> Self {
        let detail = format!("params._meta[{key:?}]: expected an object");
        Self { status: StatusCode::BAD_REQUEST, ..Self::invalid_params(&detail) }
    }

    /// A header differs from the body.
    pub(super) fn header_mismatch(detail: &str) -> Self {
        Self::new(-32_020, format!("Header mismatch: {detail}"), StatusCode::BAD_REQUEST)
    }

    /// The revision is not one of those that are spoken.
    pub(super) fn unsupported_version(requested: &str, supported: &[&str]) -> Self {
        let requested: String = requested.chars().take(100).collect();
        let data = json!({ "supported": supported, "requested": requested });
        Self::new(-32_022, "Unsupported protocol version", StatusCode::BAD_REQUEST).with_data(data)
    }

    /// Nobody pays for the call (`draft-payment-transport-mcp-00`, "Signaling Payment Required"). The status is not 402: clients look for
    /// the error in other responses only.
    pub(super) fn payment_required(data: Value) -> Self {
        Self::new(-32_042, "Payment Required", StatusCode::OK).with_data(data)
    }

    /// The credential does not pay for the call ("Payment Verification Failure").
    pub(super) fn payment_failed(data: Value) -> Self {
        Self::new(-32_043, "Payment Verification Failed", StatusCode::OK).with_data(data)
    }

    fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The message and its status.
    pub(super) fn message(self, id: Option<&Value>) -> (StatusCode, String) {
        let Self { code, message, data, status } = self;
        let mut error = json!({ "code": code, "message": message });
        if let (Value::Object(error), Some(data)) = (&mut error, data) {
            error.insert("data".to_owned(), data);
        }
        let mut response = json!({ "jsonrpc": "2.0", "error": error });
        // MCP leaves the id out where none is known.
        if let (Value::Object(response), Some(id)) = (&mut response, id) {
            response.insert("id".to_owned(), id.clone());
        }
        (status, response.to_string())
    }

    /// The response.
    pub(super) fn respond(self, id: Option<&Value>) -> HttpResponse {
        let (status, message) = self.message(id);
        HttpResponse::build(status)
            .content_type("application/json")
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(message)
    }
}
