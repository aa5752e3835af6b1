//! Messages of JSON-RPC 2.0, as MCP has them: one in a body, and never a batch.

use super::error::RpcError;
use serde_json::{Map, Value};

/// A message of a client.
#[derive(Debug)]
pub(super) enum Message {
    /// A request, which gets a response.
    Call(Call),
    /// A notification, or the response to a request that was never made. Nothing is done for it: whoever cannot be told that a call costs
    /// something cannot pay for it.
    Notice,
}

/// A request of a client.
#[derive(Debug)]
pub(super) struct Call {
    /// The id: a text or a number.
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Map<String, Value>,
    /// `_meta` of the message itself, where clients of other protocols put theirs.
    root_meta: Option<Value>,
}

/// A body that is no message, with the id that it has, if it has one.
#[derive(Debug)]
pub(super) struct NoMessage {
    pub(super) id: Option<Value>,
    pub(super) error: RpcError,
}

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// [`NoMessage`].
    pub(super) fn read(body: &[u8]) -> Result<Self, NoMessage> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|wrong| NoMessage { id: None, error: RpcError::parse(&wrong) })?;
        let Value::Object(mut fields) = value else {
            return Err(invalid(None, "expected one message, an object; batches are not supported"));
        };
        let id = match fields.remove("id") {
            None => None,
            Some(id @ (Value::String(_) | Value::Number(_))) => Some(id),
            Some(_) => return Err(invalid(None, "id: expected a string or a number")),
        };
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid(id, "jsonrpc: expected \"2.0\""));
        }
        let method = match fields.remove("method") {
            Some(Value::String(method)) => method,
            None if fields.contains_key("result") || fields.contains_key("error") => return Ok(Self::Notice),
            _ => return Err(invalid(id, "method: expected a string")),
        };
        let Some(id) = id else { return Ok(Self::Notice) };
        let params = match fields.remove("params") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                let error = RpcError::invalid_params("params: expected an object");
                return Err(NoMessage { id: Some(id), error });
            }
        };
        Ok(Self::Call(Call { id, method, params, root_meta: fields.remove("_meta") }))
    }
}

fn invalid(id: Option<Value>, detail: &str) -> NoMessage {
    NoMessage { id, error: RpcError::invalid_request(detail) }
}

impl Call {
    /// What is in `_meta` under this key: of the parameters first, where MCP has it, then of the message.
    pub(super) fn meta<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Value> {
        let metas = [self.params.get("_meta"), self.root_meta.as_ref()].into_iter().flatten();
        metas.filter_map(move |meta| meta.get(key)).filter(|value| !value.is_null())
    }

    /// The name of the tool that is called.
    pub(super) fn name(&self) -> Option<&str> {
        self.params.get("name").and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn call(body: &Value) -> Call {
        match Message::read(body.to_string().as_bytes()) {
            Ok(Message::Call(call)) => call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_has_an_id_and_a_method() {
        for id in [json!("a"), json!(0), json!(-1), json!(1.5)] {
            let read = call(&json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
            assert_eq!((read.id, read.method.as_str(), read.params.len()), (id, "ping", 0));
        }
        let read = call(&json!({ "jsonrpc": "2.0", "id": 1, "method": "a", "params": { "name": "ask" } }));
        assert_eq!(read.name(), Some("ask"));
    }

    #[test]
    fn nothing_is_done_for_what_expects_no_response() {
        for notice in [
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": "ask" } }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            json!({ "jsonrpc": "2.0", "id": 1, "error": {} }),
        ] {
            let read = Message::read(notice.to_string().as_bytes());
            assert!(matches!(read, Ok(Message::Notice)), "{notice}: {read:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (body, code, id) in [
            ("", -32_700, None),
            ("{", -32_700, None),
            ("[]", -32_600, None),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32_600, None),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32_600, Some(json!(1))),
            (r#"{"id":1,"method":"ping"}"#, -32_600, Some(json!(1))),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32_600, None),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32_600, None),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32_600, Some(json!(1))),
            (r#"{"jsonrpc":"2.0","id":1,"method":2}"#, -32_600, Some(json!(1))),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[]}"#, -32_602, Some(json!(1))),
        ] {
            let refused = Message::read(body.as_bytes()).unwrap_err();
            assert_eq!((refused.error.code(), refused.id), (code, id), "{body}");
        }
    }

    #[test]
    fn meta_is_read_in_both_places() {
        let read = call(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "a", "params": { "_meta": { "k": 1, "n": null } }, "_meta": { "k": 2 },
        }));
        assert_eq!(read.meta("k").collect::<Vec<_>>(), [&json!(1), &json!(2)]);
        assert_eq!(read.meta("n").count(), 0);
    }

    proptest! {
        #[test]
        fn any_body_is_judged_without_a_panic(text in "[\\[\\]{}\":,a0. -]{0,40}|\\PC*") {
            let _ = Message::read(text.as_bytes());
        }
    }
}
