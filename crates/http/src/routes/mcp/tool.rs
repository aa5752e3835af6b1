//! The tool `ask`.

use super::message::Call;
use crate::body;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tithe_paywall::canonical_json;

/// The name of the tool.
const NAME: &str = "ask";

const DESCRIPTION: &str = "Has a language model answer a request. The call costs sats: unless a session, an install or an identity of the \
    client pays, the error -32042 says what it costs at most, and has a Lightning invoice. What a call does not use is refunded.";

/// The tool as `tools/list` describes it.
pub(super) fn definition() -> Value {
    json!({
        "name": NAME,
        "title": "Ask a model",
        "description": DESCRIPTION,
        "inputSchema": {
            "type": "object",
            "properties": {
                "request": {
                    "type": "string", "minLength": 1, "maxLength": 262_144,
                    "description": "The text of the request.",
                },
                "model": {
                    "type": "string",
                    "description": "The model, one that GET /v1/models lists. Defaults to the server's choice.",
                },
                "maxOutputTokens": {
                    "type": "integer", "minimum": 1,
                    "description": "The maximum length of the answer, in tokens. The price depends on it.",
                },
            },
            "required": ["request"],
            "additionalProperties": false,
        },
        // Nothing in the client's world changes, and money is spent each time.
        "annotations": {
            "readOnlyHint": true, "destructiveHint": false, "idempotentHint": false, "openWorldHint": false,
        },
    })
}

/// The arguments of a call. One that is unknown would be paid for and ignored, so it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) request: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_output_tokens: Option<u64>,
}

/// Why nothing can be done for a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InvalidCall {
    /// There is no such tool.
    Tool(String),
    /// The arguments are wrong. The model that wrote them reads why.
    Arguments(String),
}

impl Asked {
    /// Reads the call of the tool.
    ///
    /// # Errors
    /// [`InvalidCall`].
    pub(super) fn read(call: &Call) -> Result<Self, InvalidCall> {
        match call.name() {
            Some(NAME) => {}
            Some(other) => {
                let other: String = other.chars().take(100).collect();
                return Err(InvalidCall::Tool(format!("unknown tool: expected {NAME:?}, got {other:?}")));
            }
            None => return Err(InvalidCall::Tool(format!("name: expected a string, {NAME:?}"))),
        }
        let arguments = match call.params.get("arguments") {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(arguments @ Value::Object(_)) => arguments.clone(),
            Some(_) => return Err(InvalidCall::Arguments("arguments: expected an object".to_owned())),
        };
        body::fields(arguments).map_err(|problem| InvalidCall::Arguments(problem.to_string()))
    }

    /// What a payment for the call is bound to: canonical JSON of its name and arguments. The message around them is another each time.
    ///
    /// # Errors
    /// [`InvalidCall::Arguments`] if a number is not one that JSON expresses everywhere.
    pub(super) fn canonical(&self) -> Result<String, InvalidCall> {
        canonical_json(&json!({ "name": NAME, "arguments": self })).map_err(|_| {
            InvalidCall::Arguments("maxOutputTokens: expected at most 9007199254740991".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;

    fn read(params: &Value) -> Result<Asked, InvalidCall> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let Ok(Message::Call(call)) = Message::read(body.as_bytes()) else { panic!("{body}") };
        Asked::read(&call)
    }

    #[test]
    fn calls_that_say_the_same_are_one_call() {
        let canonical = |params: Value| read(&params).unwrap().canonical().unwrap();
        let least = canonical(json!({ "name": "ask", "arguments": { "request": "a" } }));
        assert_eq!(least, r#"{"arguments":{"request":"a"},"name":"ask"}"#);
        let same =
            json!({ "_meta": { "x": 1 }, "arguments": { "model": null, "request": "a" }, "name": "ask" });
        assert_eq!(canonical(same), least);
        let more =
            json!({ "name": "ask", "arguments": { "request": "a", "model": "m", "maxOutputTokens": 5 } });
        let whole = r#"{"arguments":{"maxOutputTokens":5,"model":"m","request":"a"},"name":"ask"}"#;
        assert_eq!(canonical(more), whole);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (params, problem) in [
            (json!({}), InvalidCall::Tool("name: expected a string, \"ask\"".to_owned())),
            (
                json!({ "name": "tell" }),
                InvalidCall::Tool("unknown tool: expected \"ask\", got \"tell\"".to_owned()),
            ),
            (json!({ "name": "ask" }), InvalidCall::Arguments("request: missing field".to_owned())),
            (
                json!({ "name": "ask", "arguments": [] }),
                InvalidCall::Arguments("arguments: expected an object".to_owned()),
            ),
            (
                json!({ "name": "ask", "arguments": { "request": 5 } }),
                InvalidCall::Arguments("request: invalid type: integer `5`, expected a string".to_owned()),
            ),
        ] {
            assert_eq!(read(&params), Err(problem), "{params}");
        }
        let unknown = json!({ "name": "ask", "arguments": { "request": "a", "temperature": 1 } });
        let Err(InvalidCall::Arguments(problem)) = read(&unknown) else { panic!("{unknown}") };
        assert!(problem.contains("temperature"), "{problem}");
        let huge = Asked { request: "a".to_owned(), model: None, max_output_tokens: Some(u64::MAX) };
        assert!(huge.canonical().is_err());
    }

    #[test]
    fn the_schema_describes_the_arguments() {
        let schema = definition();
        let whole =
            Asked { request: "a".to_owned(), model: Some("m".to_owned()), max_output_tokens: Some(1) };
        let arguments = serde_json::to_value(whole).unwrap();
        let named = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(named(&schema["inputSchema"]["properties"]), named(&arguments));
    }
}
