//! What is asked in each of the APIs.

use super::reply::{Reply, ToolCall};
use super::{chat, messages, responses};
use crate::selftest::answer::Answer;
use crate::selftest::api::{Api, Call};
use crate::selftest::outcome::Checked;
use serde_json::{Value, json};

/// The APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::selftest) enum Wire {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
}

/// The name of a function.
pub(in crate::selftest) const TOOL: &str = "weather";

/// The version that Anthropic's clients name.
const ANTHROPIC_VERSION: &str = "2023-06-01";

impl Wire {
    pub(in crate::selftest) const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    pub(in crate::selftest) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// The name of the field with what is asked.
    pub(in crate::selftest) const fn input(self) -> &'static str {
        match self {
            Self::Responses => "input",
            Self::Chat | Self::Messages => "messages",
        }
    }

    /// A request for an answer of so many tokens at most.
    pub(in crate::selftest) fn body(self, model: &str, text: &str, tokens_max: u64) -> Value {
        let most = match self {
            Self::Responses => "max_output_tokens",
            Self::Chat | Self::Messages => "max_tokens",
        };
        let question = json!([{ "role": "user", "content": text }]);
        json!({ "model": model, self.input(): question, most: tokens_max })
    }

    /// A request with a function that must be called.
    pub(in crate::selftest) fn body_with_tool(self, model: &str, text: &str, tokens_max: u64) -> Value {
        let schema =
            json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
        let (tool, choice) = match self {
            Self::Chat => (
                json!({ "type": "function", "function": { "name": TOOL, "parameters": schema } }),
                json!({ "type": "function", "function": { "name": TOOL } }),
            ),
            Self::Responses => (
                json!({ "type": "function", "name": TOOL, "parameters": schema }),
                json!({ "type": "function", "name": TOOL }),
            ),
            Self::Messages => {
                (json!({ "name": TOOL, "input_schema": schema }), json!({ "type": "tool", "name": TOOL }))
            }
        };
        with(with(self.body(model, text, tokens_max), "tools", json!([tool])), "tool_choice", choice)
    }

    /// The request that goes on after a call, with its result.
    pub(in crate::selftest) fn with_result(self, body: Value, call: &ToolCall, result: &str) -> Value {
        let ToolCall { id, name, arguments } = call;
        let more = match self {
            Self::Chat => vec![
                json!({ "role": "assistant", "content": null, "tool_calls": [
                    { "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }
                ]}),
                json!({ "role": "tool", "tool_call_id": id, "content": result }),
            ],
            Self::Responses => vec![
                json!({ "type": "function_call", "call_id": id, "name": name, "arguments": arguments }),
                json!({ "type": "function_call_output", "call_id": id, "output": result }),
            ],
            Self::Messages => {
                let input: Value = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
                vec![
                    json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": id, "name": name, "input": input }] }),
                    json!({ "role": "user", "content": [
                        { "type": "tool_result", "tool_use_id": id, "content": result }
                    ]}),
                ]
            }
        };
        let mut body = body;
        if let Value::Object(fields) = &mut body {
            fields.remove("tool_choice");
            if let Some(Value::Array(said)) = fields.get_mut(self.input()) {
                said.extend(more);
            }
        }
        body
    }

    /// A request of nobody.
    pub(in crate::selftest) fn request<'a>(self, api: &'a Api, body: &Value) -> Call<'a> {
        let call = api.post(self.path()).json(body);
        if self == Self::Messages { call.header("anthropic-version", ANTHROPIC_VERSION) } else { call }
    }

    /// A request with a key, where clients of this API have it.
    pub(in crate::selftest) fn request_with<'a>(self, api: &'a Api, key: &str, body: &Value) -> Call<'a> {
        let call = self.request(api, body);
        if self == Self::Messages { call.header("x-api-key", key) } else { call.bearer(key) }
    }

    /// Reads an answer: a whole one, or a stream, as the request wants it.
    pub(in crate::selftest) fn read(self, answer: &Answer, is_stream: bool) -> Checked<Reply> {
        match (self, is_stream) {
            (Self::Chat, false) => chat::whole(answer),
            (Self::Chat, true) => chat::streamed(answer),
            (Self::Responses, false) => responses::whole(answer, ""),
            (Self::Responses, true) => responses::streamed(answer),
            (Self::Messages, false) => messages::whole(answer),
            (Self::Messages, true) => messages::streamed(answer),
        }
    }
}

/// The same body with another field.
pub(in crate::selftest) fn with(mut body: Value, field: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.insert(field.to_owned(), value);
    }
    body
}
