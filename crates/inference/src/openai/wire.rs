//! The wire format of the chat completions API.
//!
//! Only the required fields are parsed, and leniently: there are many servers with small differences.

use crate::chat_stream::{Protocol, Step, reported};
use crate::failure::BackendFailure;
use crate::sse::Event;
use crate::transport::{Delivery, excerpt};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tithe_engine::inference::{
    ChatEvent, ChatRequest, Completion, FinishReason, InferenceError, Message, Role,
};
use tithe_pricing::Usage;

/// The request body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) max_completion_tokens: bool,
    pub(super) zero_temperature: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<u8>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> From<&'a Message> for WireMessage<'a> {
    fn from(message: &'a Message) -> Self {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Self { role, content: &message.text }
    }
}

impl Dialect {
    pub(super) fn body(self, request: &ChatRequest, delivery: Delivery) -> Body<'_> {
        let limit = Some(request.max_output_tokens);
        let (max_tokens, max_completion_tokens) =
            if self.max_completion_tokens { (None, limit) } else { (limit, None) };
        let stream = delivery == Delivery::Streamed;
        Body {
            model: &request.model,
            messages: request.messages.iter().map(WireMessage::from).collect(),
            max_tokens,
            max_completion_tokens,
            temperature: (request.deterministic && self.zero_temperature).then_some(0),
            stream,
            stream_options: stream.then_some(StreamOptions { include_usage: true }),
        }
    }
}

/// A complete response.
#[derive(Debug, Deserialize)]
pub(super) struct Whole {
    #[serde(default)]
    choices: Vec<WholeChoice>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct WholeChoice {
    message: Said,
    finish_reason: Option<String>,
}

/// One chunk of a streamed response.
#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<ChunkChoice>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
struct ChunkChoice {
    #[serde(default)]
    delta: Said,
    finish_reason: Option<String>,
}

/// The model's output: text, or a refusal. Reasoning, which some servers add, is not shown to customers.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
}

impl Said {
    fn text(self) -> String {
        let content = match self.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
            None => String::new(),
        };
        if content.is_empty() { self.refusal.unwrap_or_default() } else { content }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            cached_input_tokens: usage.prompt_tokens_details.and_then(|it| it.cached_tokens).unwrap_or(0),
            output_tokens: usage.completion_tokens,
        }
    }
}

/// Incomplete usage is ignored: the tokenizer then counts instead, and a good response is not discarded.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WireUsage>, D::Error> {
    Ok(WireUsage::deserialize(Value::deserialize(deserializer)?).ok())
}

fn finish_reason(name: Option<&str>) -> FinishReason {
    match name {
        Some("stop") => FinishReason::Stop,
        Some("length") => FinishReason::Length,
        Some("content_filter") => FinishReason::Filtered,
        _ => FinishReason::Other,
    }
}

impl Whole {
    pub(super) fn completion(self) -> Result<Completion, InferenceError> {
        if let Some(error) = self.error {
            return Err(reported(&error, false));
        }
        let no_choice = || BackendFailure::Wrong("it has no choices").nonsense();
        let choice = self.choices.into_iter().next().ok_or_else(no_choice)?;
        Ok(Completion {
            finish: finish_reason(choice.finish_reason.as_deref()),
            text: choice.message.text(),
            usage: self.usage.map(Usage::from),
        })
    }
}

/// Parses the chunks of one stream.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

impl Protocol for Chunks {
    fn step(&mut self, event: &Event) -> Result<Step, InferenceError> {
        if event.data == "[DONE]" {
            // Servers that never report a finish reason at least send this.
            self.finish.get_or_insert(FinishReason::Other);
            return Ok(Step::Last);
        }
        let unreadable = |source| {
            BackendFailure::Unreadable { excerpt: excerpt(event.data.as_bytes()), source }.nonsense()
        };
        let value: Value = serde_json::from_str(&event.data).map_err(unreadable)?;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Ok(Step::Error(error.clone()));
        }
        if event.name == "error" || value.get("object").is_some_and(|object| object == "error") {
            return Ok(Step::Error(value));
        }
        let chunk = Chunk::deserialize(value).map_err(unreadable)?;
        // Some servers report running counts; the last one is the total.
        self.usage = chunk.usage.map(Usage::from).or(self.usage);
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(Step::Silent) };
        if let Some(name) = choice.finish_reason {
            self.finish = Some(finish_reason(Some(&name)));
        }
        Ok(Step::Delta(choice.delta.text()))
    }

    fn ending(&self) -> Option<ChatEvent> {
        Some(ChatEvent::Finished { finish: self.finish?, usage: self.usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn completion(value: Value) -> Completion {
        Whole::deserialize(value).unwrap().completion().unwrap()
    }

    #[test]
    fn usage_of_zeros_is_usage_and_half_a_usage_is_none() {
        for (usage, expected) in [
            (json!({"prompt_tokens": 0, "completion_tokens": 0}), Some(Usage::default())),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}),
                Some(Usage { input_tokens: 9, cached_input_tokens: 4, output_tokens: 2 }),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": null}}),
                Some(Usage { input_tokens: 9, cached_input_tokens: 0, output_tokens: 2 }),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": null}),
                Some(Usage { input_tokens: 9, cached_input_tokens: 0, output_tokens: 2 }),
            ),
            (json!({"prompt_tokens": 9}), None),
            (json!({"prompt_tokens": -1, "completion_tokens": 2}), None),
            (json!(null), None),
        ] {
            let whole =
                json!({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage});
            assert_eq!(completion(whole.clone()).usage, expected, "{whole}");
        }
        assert_eq!(completion(json!({"choices": [{"message": {}, "finish_reason": null}]})).usage, None);
    }

    #[test]
    fn text_is_found_wherever_servers_put_it() {
        for (message, text) in [
            (json!({"role": "assistant", "content": "plain"}), "plain"),
            (
                json!({"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}),
                "in parts",
            ),
            (json!({"content": null, "refusal": "I would rather not."}), "I would rather not."),
            (json!({"content": "yes", "refusal": null, "reasoning_content": "hm"}), "yes"),
            (json!({"content": null}), ""),
        ] {
            let whole = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
            assert_eq!(completion(whole).text, text);
        }
    }

    #[test]
    fn reasons_to_finish_are_told_apart() {
        for (name, finish) in [
            (json!("stop"), FinishReason::Stop),
            (json!("length"), FinishReason::Length),
            (json!("content_filter"), FinishReason::Filtered),
            (json!("tool_calls"), FinishReason::Other),
            (json!(null), FinishReason::Other),
        ] {
            let whole = json!({"choices": [{"message": {"content": "x"}, "finish_reason": name}]});
            assert_eq!(completion(whole).finish, finish);
        }
    }

    #[test]
    fn an_error_in_a_successful_answer_is_an_error() {
        let whole = json!({"error": {"type": "overloaded_error", "message": "later"}});
        let error = Whole::deserialize(whole).unwrap().completion().unwrap_err();
        assert!(matches!(error, InferenceError::Unavailable { .. }), "{error:?}");
    }
}
