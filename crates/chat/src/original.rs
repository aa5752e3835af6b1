//! A request as its client sent it.

use serde_json::value::RawValue;

/// The API of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI's chat completions: `POST /v1/chat/completions`.
    OpenAiChat,
    /// OpenAI's responses: `POST /v1/responses`.
    OpenAiResponses,
    /// Anthropic's messages: `POST /v1/messages`.
    AnthropicMessages,
}

/// A request as its client sent it. A backend that speaks the same API gets it unchanged, but for what the server decides: the model's
/// name, the output limit, and whether the answer is streamed.
#[derive(Debug, Clone)]
pub struct Original {
    /// The API.
    pub api: Api,
    /// The fields of the body, in order. A name that occurs several times is here once, with its last value, as other parsers read it.
    pub body: Vec<(String, Box<RawValue>)>,
    /// Headers that belong to the API, such as `anthropic-beta`: lower-case names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The types of tools that only backends of this API know, such as Anthropic's `bash_20250124`: the request goes to no others.
    pub own_tools: Vec<String>,
}

impl Original {
    /// The field of the body with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&RawValue> {
        self.body.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_ref())
    }
}
