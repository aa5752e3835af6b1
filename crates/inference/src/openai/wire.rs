//! The wire format of the chat completions API.
//!
//! Only the required fields are parsed, and leniently: there are many servers with small differences.

use crate::chat_stream::{Protocol, Step, reported};
use crate::counts::larger;
use crate::failure::BackendFailure;
use crate::finish;
use crate::sse::Event;
use crate::transport::Delivery;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use tithe_chat::{Delta, Finish, Message, Part as ReplyPart, Reply, Role};
use tithe_engine::inference::{ChatEvent, ChatRequest, Completion, InferenceError};
use tithe_pricing::Usage;

/// What differs between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Whether the output limit is `max_completion_tokens`, not `max_tokens`.
    pub(super) max_completion_tokens: bool,
    /// Whether a temperature of zero may be requested.
    pub(super) zero_temperature: bool,
    /// Whether usage is requested by `stream_options`.
    pub(super) stream_options: bool,
}

impl Dialect {
    /// The dialect to try instead after this error, if it names a parameter that can be left out or written otherwise.
    pub(super) fn adapted(self, failure: &BackendFailure) -> Option<Self> {
        let names = |parameter: &str| failure.names_parameter(parameter);
        if names("stream_options") && self.stream_options {
            return Some(Self { stream_options: false, ..self });
        }
        if names("temperature") && self.zero_temperature {
            return Some(Self { zero_temperature: false, ..self });
        }
        // Servers that want the newer field name it; those that do not know it name it as well.
        if names("max_completion_tokens") || names("max_tokens") && self.max_completion_tokens {
            return Some(Self { max_completion_tokens: !self.max_completion_tokens, ..self });
        }
        None
    }
}

/// The request body.
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
    content: String,
    #[serde(skip)]
    _of: std::marker::PhantomData<&'a ()>,
}

impl<'a> From<&'a Message> for WireMessage<'a> {
    fn from(message: &'a Message) -> Self {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Self { role, content: message.own_text().unwrap_or_default(), _of: std::marker::PhantomData }
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
            messages: request.chat.messages.iter().map(WireMessage::from).collect(),
            max_tokens,
            max_completion_tokens,
            temperature: (request.deterministic && self.zero_temperature).then_some(0),
            stream,
            stream_options: (stream && self.stream_options).then_some(StreamOptions { include_usage: true }),
        }
    }
}

/// A complete response.
#[derive(Debug, Deserialize)]
pub(super) struct Whole {
    #[serde(default, deserialize_with = "absent")]
    choices: Vec<WholeChoice>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct WholeChoice {
    #[serde(default, deserialize_with = "absent")]
    message: Said,
    finish_reason: Option<String>,
}

/// One chunk of a streamed response.
#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default, deserialize_with = "absent")]
    choices: Vec<ChunkChoice>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
struct ChunkChoice {
    #[serde(default, deserialize_with = "absent")]
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
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// The name of the cached part in `DeepSeek`'s reports.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot's name for it.
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let reasoning = usage.completion_tokens_details.and_then(|it| it.reasoning_tokens).unwrap_or(0);
        let shown = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        // Some vendors (xAI, and servers in front of Gemini) count reasoning beside the completion. The total shows which.
        let apart = reasoning > usage.completion_tokens
            || usage.total_tokens == Some(shown.saturating_add(reasoning)) && reasoning > 0;
        let cached = usage.prompt_tokens_details.and_then(|it| it.cached_tokens);
        Self {
            input_tokens: usage.prompt_tokens,
            cached_input_tokens: cached
                .or(usage.prompt_cache_hit_tokens)
                .or(usage.cached_tokens)
                .unwrap_or(0),
            output_tokens: usage.completion_tokens.saturating_add(if apart { reasoning } else { 0 }),
            reasoning_tokens: reasoning,
            ..Self::ZERO
        }
    }
}

/// What is `null` is as good as absent.
fn absent<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Incomplete usage is ignored: the tokenizer then counts instead, and a good response is not discarded.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WireUsage>, D::Error> {
    Ok(WireUsage::deserialize(Value::deserialize(deserializer)?).ok())
}

impl Whole {
    pub(super) fn completion(self) -> Result<Completion, InferenceError> {
        if let Some(error) = self.error {
            return Err(reported(&error, false));
        }
        let no_choice = || BackendFailure::Wrong("it has no choices").nonsense();
        let choice = self.choices.into_iter().next().ok_or_else(no_choice)?;
        let name = choice.finish_reason.unwrap_or_default();
        if finish::is_failure(&name) {
            return Err(reported(&Value::String(name), false));
        }
        // A whole answer without a reason is whole.
        let finish = finish::reason(&name).unwrap_or(Finish::Stop);
        let text = choice.message.text();
        let parts = if text.is_empty() { Vec::new() } else { vec![ReplyPart::Text(text)] };
        Ok(Completion { reply: Reply { parts, finish }, usage: self.usage.map(Usage::from) })
    }
}

/// Parses the chunks of one stream.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Protocol for Chunks {
    fn step(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Step, InferenceError> {
        if event.data == "[DONE]" {
            // Servers that never report a finish reason at least send this.
            self.finish.get_or_insert(Finish::Stop);
            return Ok(Step::Last);
        }
        let unreadable = |source| BackendFailure::unreadable(event.data.as_bytes(), &source);
        // Some servers keep the connection alive with empty events.
        if event.data.trim().is_empty() {
            return Ok(Step::More);
        }
        let value: Value = serde_json::from_str(&event.data).map_err(unreadable)?;
        if value.is_null() {
            return Ok(Step::More);
        }
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Ok(Step::Error(error.clone()));
        }
        if event.name == "error" || value.get("object").is_some_and(|object| object == "error") {
            return Ok(Step::Error(value));
        }
        let chunk = Chunk::deserialize(value).map_err(unreadable)?;
        self.usage = larger(chunk.usage.map(Usage::from), self.usage);
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(Step::More) };
        let name = choice.finish_reason.unwrap_or_default();
        if finish::is_failure(&name) {
            return Ok(Step::Error(Value::String(name)));
        }
        self.finish = finish::reason(&name).or(self.finish);
        deltas.push_back(Delta::Text(choice.delta.text()));
        Ok(Step::More)
    }

    fn used(&self) -> Option<Usage> {
        self.usage
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
                Some(Usage { input_tokens: 9, cached_input_tokens: 4, output_tokens: 2, ..Usage::ZERO }),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": null}}),
                Some(Usage { input_tokens: 9, output_tokens: 2, ..Usage::ZERO }),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": null}),
                Some(Usage { input_tokens: 9, output_tokens: 2, ..Usage::ZERO }),
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

    /// Each vendor's habits: what its report looks like, and what was used.
    #[test]
    fn every_dialect_of_usage_is_normalised() {
        for (vendor, usage, expected) in [
            (
                "OpenAI: reasoning is part of the completion",
                json!({"prompt_tokens": 32, "completion_tokens": 909, "total_tokens": 941, "completion_tokens_details": {"reasoning_tokens": 900}}),
                (32, 0, 909, 900),
            ),
            (
                "xAI, Gemini: reasoning beside the completion",
                json!({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 941, "completion_tokens_details": {"reasoning_tokens": 900}}),
                (32, 0, 909, 900),
            ),
            (
                "more reasoning than completion, without a total",
                json!({"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 900}}),
                (32, 0, 909, 900),
            ),
            (
                "little reasoning beside the completion",
                json!({"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 65, "completion_tokens_details": {"reasoning_tokens": 5}}),
                (10, 0, 55, 5),
            ),
            (
                "no reasoning, a total that counts something else",
                json!({"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 99, "completion_tokens_details": {"reasoning_tokens": 0}}),
                (10, 0, 50, 0),
            ),
            (
                "DeepSeek",
                json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}),
                (10, 8, 5, 0),
            ),
            (
                "Moonshot",
                json!({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 7}),
                (10, 7, 5, 0),
            ),
        ] {
            let whole =
                json!({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage});
            let (input_tokens, cached_input_tokens, output_tokens, reasoning_tokens) = expected;
            let expected =
                Usage { input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, ..Usage::ZERO };
            assert_eq!(completion(whole).usage, Some(expected), "{vendor}");
        }
    }

    /// The events of a stream, until its end.
    fn streamed(data: &[&str]) -> (String, Option<ChatEvent>) {
        let (mut chunks, mut text) = (Chunks::default(), String::new());
        for data in data {
            match chunks.step(&Event { name: String::new(), data: (*data).to_owned() }).unwrap() {
                Step::Delta(delta) => text.push_str(&delta),
                Step::More => {}
                Step::Last => break,
                Step::Error(error) => panic!("{error}"),
            }
        }
        (text, chunks.ending())
    }

    #[test]
    fn odd_but_real_streams_are_read() {
        let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        for odd in [
            "null",
            "",
            " ",
            r#"{"choices":null}"#,
            r#"{"choices":[],"usage":null}"#,
            r#"{"choices":[{"delta":null}]}"#,
            r#"{"choices":[{"delta":{"content":null,"role":"assistant"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":""},"finish_reason":""}]}"#,
            r#"{"choices":[{"finish_reason":null,"index":0}],"error":null}"#,
        ] {
            let hello = r#"{"choices":[{"delta":{"content":"Hello"}}]}"#;
            let (text, end) = streamed(&[odd, hello, odd, stop, odd, "[DONE]"]);
            assert_eq!(text, "Hello", "{odd}");
            let stopped = ChatEvent::Finished { finish: Finish::Stop, usage: None };
            assert_eq!(end, Some(stopped), "{odd}");
        }
    }

    #[test]
    fn an_empty_finish_reason_does_not_end_an_answer() {
        let cut = streamed(&[r#"{"choices":[{"delta":{"content":"half"},"finish_reason":""}]}"#]);
        assert_eq!(cut, ("half".to_owned(), None));
    }

    #[test]
    fn a_trailing_report_of_zeros_does_not_replace_the_count() {
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":70}}"#;
        let zeros = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
        let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        for order in [[usage, zeros], [zeros, usage], [usage, usage]] {
            let (_, end) = streamed(&[stop, order[0], order[1], "[DONE]"]);
            let usage = Some(Usage { input_tokens: 9, output_tokens: 70, ..Usage::ZERO });
            assert_eq!(end, Some(ChatEvent::Finished { finish: Finish::Stop, usage }));
        }
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
            (json!("stop"), Finish::Stop),
            (json!("length"), Finish::Length),
            (json!("content_filter"), Finish::Filtered),
            (json!("max_tokens"), Finish::Length),
            (json!("tool_calls"), Finish::Stop),
            (json!("STOP"), Finish::Stop),
            (json!("MAX_TOKENS"), Finish::Length),
            (json!("something new"), Finish::Other),
            (json!(""), Finish::Stop),
            (json!(null), Finish::Stop),
        ] {
            let whole = json!({"choices": [{"message": {"content": "x"}, "finish_reason": name}]});
            assert_eq!(completion(whole).finish, finish);
        }
    }

    #[test]
    fn a_failure_that_is_reported_as_a_reason_is_a_failure() {
        for name in ["error", "abort", "insufficient_system_resource"] {
            let whole = json!({"choices": [{"message": {"content": "half"}, "finish_reason": name}]});
            let error = Whole::deserialize(whole).unwrap().completion().unwrap_err();
            assert!(matches!(error, InferenceError::Failed(_)), "{error:?}");
            let data =
                json!({"choices": [{"delta": {"content": "half"}, "finish_reason": name}]}).to_string();
            let step = Chunks::default().step(&Event { name: String::new(), data }).unwrap();
            assert!(matches!(step, Step::Error(_)), "{step:?}");
        }
    }

    #[test]
    fn an_error_in_a_successful_answer_is_an_error() {
        let whole = json!({"error": {"type": "overloaded_error", "message": "later"}});
        let error = Whole::deserialize(whole).unwrap().completion().unwrap_err();
        assert!(matches!(error, InferenceError::Unavailable { .. }), "{error:?}");
    }
}
