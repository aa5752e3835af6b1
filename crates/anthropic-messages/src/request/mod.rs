//! What clients send.

mod content;
mod error;
pub(crate) mod fields;
mod settings;
mod tools;

pub use error::RequestError;

use fields::Fields;
use tithe_chat::{Api, Chat, Original};

/// A request to `POST /v1/messages`.
#[derive(Debug, Clone)]
pub struct MessagesRequest {
    /// The name of the model, as the client wrote it.
    pub model: String,
    /// The chat.
    pub chat: Chat,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The types of the tools that Anthropic defines and the client runs, such as `bash_20250124`. Only a backend of this API knows
    /// what they take: the request cannot go to another one if there are any. They are functions without a schema in `chat`.
    pub anthropic_tools: Vec<String>,
}

/// A request to `POST /v1/messages/count_tokens`.
#[derive(Debug, Clone)]
pub struct CountTokensRequest {
    /// The name of the model, as the client wrote it.
    pub model: String,
    /// The chat whose tokens are counted.
    pub chat: Chat,
}

impl MessagesRequest {
    /// Reads a body. `headers` are those whose name begins with `anthropic-`, in lower case.
    ///
    /// # Errors
    /// [`RequestError`] for a body that is not of the API's form, and for what cannot be priced.
    pub fn decode(body: &[u8], headers: Vec<(String, String)>) -> Result<Self, RequestError> {
        let fields = Fields::decode(body)?;
        let model = model(&fields)?;
        let max_tokens = settings::max_tokens(&fields)?;
        let (mut chat, anthropic_tools) = chat(&fields, headers)?;
        chat.max_output_tokens = Some(max_tokens);
        chat.sampling = settings::sampling(&fields)?;
        let stream = fields.read("stream", "a boolean")?.unwrap_or(false);
        Ok(Self { model, chat, stream, anthropic_tools })
    }
}

impl CountTokensRequest {
    /// Reads a body, which has no `max_tokens`. `headers` are those whose name begins with `anthropic-`, in lower case.
    ///
    /// # Errors
    /// As [`MessagesRequest::decode`].
    pub fn decode(body: &[u8], headers: Vec<(String, String)>) -> Result<Self, RequestError> {
        let fields = Fields::decode(body)?;
        let model = model(&fields)?;
        let (chat, _) = chat(&fields, headers)?;
        Ok(Self { model, chat })
    }
}

fn model(fields: &Fields<'_>) -> Result<String, RequestError> {
    let value = fields.required("model")?;
    let model: String = fields::read(value, "model", "the name of a model")?;
    if model.is_empty() {
        return Err(RequestError::expected("model", "the name of a model", value));
    }
    Ok(model)
}

fn chat(fields: &Fields<'_>, headers: Vec<(String, String)>) -> Result<(Chat, Vec<String>), RequestError> {
    let messages = content::messages(fields.required("messages")?)?;
    let system = fields.get("system").map(content::system).transpose()?.flatten();
    let tools = fields.get("tools").map(tools::tools).transpose()?.unwrap_or_default();
    let choice = fields.get("tool_choice").map(tools::choice).transpose()?;
    let (tool_choice, parallel_tool_calls) = choice.unwrap_or_default();
    let (format, effort) = settings::output(fields)?;
    settings::refuse_unpriced(fields)?;
    let chat = Chat {
        messages: system.into_iter().chain(messages).collect(),
        tools: tools.functions,
        tool_choice,
        parallel_tool_calls,
        format,
        effort,
        original: Some(Original {
            api: Api::AnthropicMessages,
            body: fields.to_owned(),
            headers,
            own_tools: tools.defined_by_anthropic.clone(),
        }),
        ..Chat::default()
    };
    Ok((chat, tools.defined_by_anthropic))
}

#[cfg(test)]
mod tests;
