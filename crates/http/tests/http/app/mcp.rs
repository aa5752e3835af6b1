//! Agents, which call the tool of the server's MCP.

use super::jobs::text;
use super::{Answer, TestApp};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tithe_paywall::payment::Credential;

/// The key of credentials in `_meta`.
pub(crate) const CREDENTIAL: &str = "org.paymentauth/credential";

/// A message that calls the tool.
pub(crate) fn tool_call(id: impl Into<Value>, arguments: &Value) -> Value {
    let params = json!({ "name": "ask", "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": params })
}

/// The same with a credential where MCP has it.
pub(crate) fn with_credential(mut message: Value, credential: &Value) -> Value {
    message["params"]["_meta"] = json!({ "progressToken": 7, CREDENTIAL: credential });
    message
}

/// A challenge in the error of a call that was paid.
#[derive(Debug, Clone)]
pub(crate) struct PaidCall {
    pub(crate) challenge: Value,
    pub(crate) preimage: String,
}

impl PaidCall {
    /// What is sent in `_meta`.
    pub(crate) fn credential(&self) -> Value {
        json!({ "challenge": self.challenge, "payload": { "preimage": self.preimage } })
    }

    /// The same as a header.
    pub(crate) fn authorization(&self) -> String {
        Credential::authorization_of(&self.credential()).unwrap()
    }

    pub(crate) fn hash(&self) -> String {
        hash_of(&self.challenge)
    }

    /// What became of the payment.
    pub(crate) async fn state(&self, app: &TestApp) -> Value {
        app.payment(&self.hash(), &self.authorization()).await.ok(200)
    }
}

/// The payment hash of a charge.
pub(crate) fn hash_of(challenge: &Value) -> String {
    text(&challenge["request"]["methodDetails"]["paymentHash"])
}

/// The error of a response with this code, and its challenge of this intent.
pub(crate) fn challenged(answer: &Answer, code: i32, intent: &str) -> (Value, Value) {
    let body = answer.ok(200);
    let error = body["error"].clone();
    assert_eq!(error["code"], code, "{body}");
    assert_eq!(error["data"]["httpStatus"], 402, "{body}");
    assert_eq!(answer.header("www-authenticate"), "");
    assert!(answer.header("cache-control").contains("no-store"), "{answer:?}");
    let challenges = error["data"]["challenges"].as_array().unwrap();
    let challenge = challenges.iter().find(|challenge| challenge["intent"] == intent);
    let challenge = challenge.unwrap_or_else(|| panic!("no {intent} in {error}")).clone();
    assert!(challenge["request"].is_object() && challenge["method"] == "lightning", "{challenge}");
    (error, challenge)
}

/// The result of a call that was done: its text, and what else is known of it.
pub(crate) fn called(answer: &Answer) -> (String, Value) {
    let result = answer.ok(200)["result"].clone();
    assert_eq!(result["isError"], false, "{}", answer.text);
    (text(&result["content"][0]["text"]), result["structuredContent"].clone())
}

/// The text of a call that failed by itself.
pub(crate) fn call_failed(answer: &Answer) -> String {
    let result = answer.ok(200)["result"].clone();
    assert_eq!(result["isError"], true, "{}", answer.text);
    assert!(result.get("_meta").is_none(), "a receipt of nothing: {result}");
    text(&result["content"][0]["text"])
}

impl TestApp {
    /// A message for MCP.
    pub(crate) fn mcp(&self, message: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, "/mcp").body(message.to_string());
        request
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
    }

    /// Sends a message.
    pub(crate) async fn mcp_send(&self, message: &Value) -> Answer {
        self.ai_send(self.mcp(message)).await
    }

    /// Pays for this call.
    pub(crate) async fn mcp_bought(&self, arguments: &Value) -> PaidCall {
        let unpaid = self.mcp_send(&tool_call(1, arguments)).await;
        let (_, challenge) = challenged(&unpaid, -32_042, "charge");
        let preimage = text(&self.pay(&hash_of(&challenge)).await["preimage"]);
        PaidCall { challenge, preimage }
    }
}
