//! The wire format of the messages API (version 2023-06-01).

use crate::chat_stream::{Protocol, Step, reported};
use crate::failure::BackendFailure;
use crate::finish;
use crate::sse::Event;
use crate::transport::Delivery;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use tithe_chat::{Delta as ReplyDelta, Finish, Part, Reply, Role};
use tithe_engine::inference::{ChatEvent, ChatRequest, Completion, InferenceError};
use tithe_pricing::Usage;

#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    system: String,
    messages: Vec<WireMessage<'a>>,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<u8>,
    stream: bool,
}

#[derive(Debug, Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: String,
    #[serde(skip)]
    _of: std::marker::PhantomData<&'a ()>,
}

impl<'a> Body<'a> {
    /// System messages are sent in a separate field, regardless of their position in the chat.
    pub(super) fn new(request: &'a ChatRequest, delivery: Delivery, zero_temperature: bool) -> Self {
        let mut system = Vec::new();
        let mut messages = Vec::new();
        for message in &request.chat.messages {
            let content = message.own_text().unwrap_or_default();
            match message.role {
                Role::System => system.push(content),
                Role::User => messages.push(WireMessage { role: "user", content, _of: std::marker::PhantomData }),
                Role::Assistant => messages.push(WireMessage { role: "assistant", content, _of: std::marker::PhantomData }),
            }
        }
        Self {
            model: &request.model,
            system: system.join("\n\n"),
            messages,
            max_tokens: request.max_output_tokens,
            temperature: (request.deterministic && zero_temperature).then_some(0),
            stream: delivery == Delivery::Streamed,
        }
    }
}

/// A complete response, or an error.
#[derive(Debug, Deserialize)]
pub(super) struct Whole {
    content: Option<Vec<Block>>,
    stop_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Counts,
    #[serde(default)]
    error: Option<Value>,
}

/// A part of the model's output. Only text is shown to customers.
#[derive(Debug, Default, Deserialize)]
struct Block {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "absent")]
    text: String,
}

/// The token counts known so far, each for the whole completion.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Counts {
    #[serde(rename = "input_tokens")]
    fresh: Option<u64>,
    #[serde(rename = "cache_read_input_tokens")]
    cached: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens")]
    newly_cached: Option<u64>,
    #[serde(rename = "output_tokens")]
    output: Option<u64>,
}

impl Counts {
    /// These counts and the `older` ones: of two reports of one count, the larger is the total.
    fn and(self, older: Self) -> Self {
        Self {
            fresh: self.fresh.max(older.fresh),
            cached: self.cached.max(older.cached),
            newly_cached: self.newly_cached.max(older.newly_cached),
            output: self.output.max(older.output),
        }
    }

    /// Anthropic's `input_tokens` exclude the tokens read from or written to the cache; ours include them.
    fn usage(self) -> Option<Usage> {
        let cached = self.cached.unwrap_or(0);
        let newly_cached = self.newly_cached.unwrap_or(0);
        Some(Usage {
            input_tokens: self.fresh?.saturating_add(cached).saturating_add(newly_cached),
            cached_input_tokens: cached,
            output_tokens: self.output?,
            ..Usage::ZERO
        })
    }
}

/// What is `null` is as good as absent.
fn absent<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Inconsistent counts are ignored: the tokenizer then counts instead, and a good response is not discarded.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Counts, D::Error> {
    Ok(Counts::deserialize(Value::deserialize(deserializer)?).unwrap_or_default())
}

impl Whole {
    pub(super) fn completion(self) -> Result<Completion, InferenceError> {
        if let Some(error) = self.error {
            return Err(reported(&error, false));
        }
        let blocks = self.content.ok_or_else(|| BackendFailure::Wrong("it has no content").nonsense())?;
        let text: String = blocks.into_iter().filter(|block| block.kind == "text").map(|block| block.text).collect();
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] };
        // A whole answer without a reason is whole.
        let finish = self.stop_reason.as_deref().and_then(finish::reason).unwrap_or(Finish::Stop);
        Ok(Completion { reply: Reply { parts, finish }, usage: self.usage.usage() })
    }
}

/// The data of an event.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Data {
    MessageStart {
        #[serde(default, deserialize_with = "absent")]
        message: Start,
    },
    ContentBlockStart {
        #[serde(default, deserialize_with = "absent")]
        content_block: Block,
    },
    ContentBlockDelta {
        #[serde(default, deserialize_with = "absent")]
        delta: Delta,
    },
    MessageDelta {
        #[serde(default, deserialize_with = "absent")]
        delta: Change,
        #[serde(default, deserialize_with = "lenient")]
        usage: Counts,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// Pings, ends of blocks, and future events: Anthropic's documentation asks clients to ignore unknown events.
    #[serde(other)]
    Other,
}

#[derive(Debug, Default, Deserialize)]
struct Start {
    #[serde(default, deserialize_with = "lenient")]
    usage: Counts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta {
    TextDelta {
        #[serde(default, deserialize_with = "absent")]
        text: String,
    },
    /// Thinking and its signature, citations, tool input.
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Debug, Default, Deserialize)]
struct Change {
    stop_reason: Option<String>,
}

/// Parses the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    counts: Counts,
    finish: Option<Finish>,
}

impl Protocol for Events {
    fn step(&mut self, event: &Event, deltas: &mut VecDeque<ReplyDelta>) -> Result<Step, InferenceError> {
        // Servers in front of the API keep the connection alive with empty events.
        if matches!(event.data.trim(), "" | "null" | "[DONE]") {
            return Ok(Step::More);
        }
        let data: Data = serde_json::from_str(&event.data)
            .map_err(|source| BackendFailure::unreadable(event.data.as_bytes(), &source))?;
        Ok(match data {
            Data::MessageStart { message } => {
                // It is not done yet, so what it says of the output is not the count.
                self.counts = Counts { output: None, ..message.usage };
                Step::More
            }
            Data::ContentBlockStart { content_block } if content_block.kind == "text" => {
                deltas.push_back(ReplyDelta::Text(content_block.text));
                Step::More
            }
            Data::ContentBlockDelta { delta: Delta::TextDelta { text } } => {
                deltas.push_back(ReplyDelta::Text(text));
                Step::More
            }
            Data::MessageDelta { delta, usage } => {
                self.counts = usage.and(self.counts);
                self.finish = delta.stop_reason.as_deref().and_then(finish::reason).or(self.finish);
                Step::More
            }
            Data::MessageStop => {
                self.finish.get_or_insert(Finish::Stop);
                Step::Last
            }
            Data::Error { error } => Step::Error(error),
            Data::ContentBlockStart { .. }
            | Data::ContentBlockDelta { delta: Delta::Other }
            | Data::Other => Step::More,
        })
    }

    fn ending(&self) -> Option<ChatEvent> {
        Some(ChatEvent::Finished { finish: self.finish?, usage: self.counts.usage() })
    }

    fn used(&self) -> Option<Usage> {
        Counts { output: self.counts.output.or(Some(0)), ..self.counts }.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tithe_engine::inference::Message;

    fn completion(value: Value) -> Completion {
        Whole::deserialize(value).unwrap().completion().unwrap()
    }

    #[test]
    fn all_input_is_counted_wherever_the_cache_put_it() {
        let usage = json!({
            "input_tokens": 1, "cache_read_input_tokens": 24, "cache_creation_input_tokens": 5, "output_tokens": 8,
        });
        let whole =
            json!({"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "usage": usage});
        let expected = Usage { input_tokens: 30, cached_input_tokens: 24, output_tokens: 8, ..Usage::ZERO };
        assert_eq!(completion(whole).usage, Some(expected));
    }

    #[test]
    fn usage_of_zeros_is_usage_and_half_a_usage_is_none() {
        for (usage, expected) in [
            (json!({"input_tokens": 0, "output_tokens": 0}), Some(Usage::default())),
            (json!({"input_tokens": 3}), None),
            (json!({"input_tokens": -3, "output_tokens": 0}), None),
            (json!(null), None),
        ] {
            assert_eq!(completion(json!({"content": [], "usage": usage})).usage, expected);
        }
    }

    #[test]
    fn only_text_is_said() {
        let content = json!([
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "one "},
            {"type": "tool_use", "id": "t", "name": "n", "input": {}},
            {"type": "text", "text": "two"},
        ]);
        assert_eq!(completion(json!({"content": content, "stop_reason": "end_turn"})).text, "one two");
    }

    #[test]
    fn reasons_to_stop_are_told_apart() {
        for (name, finish) in [
            (json!("end_turn"), Finish::Stop),
            (json!("stop_sequence"), Finish::Stop),
            (json!("max_tokens"), Finish::Length),
            (json!("model_context_window_exceeded"), Finish::Length),
            (json!("refusal"), Finish::Filtered),
            (json!("pause_turn"), Finish::Other),
            (json!(""), Finish::Stop),
            (json!(null), Finish::Stop),
        ] {
            assert_eq!(completion(json!({"content": [], "stop_reason": name})).finish, finish);
        }
    }

    #[test]
    fn system_messages_get_a_field_of_their_own() {
        let message = |role, text: &str| Message { role, text: text.to_owned() };
        let request = ChatRequest {
            model: "m".to_owned(),
            messages: vec![
                message(Role::System, "be brief"),
                message(Role::User, "hello"),
                message(Role::Assistant, "hi"),
                message(Role::System, "be kind"),
                message(Role::User, "bye"),
            ],
            max_output_tokens: 7,
            deterministic: true,
        };
        let body = serde_json::to_value(Body::new(&request, Delivery::Streamed, true)).unwrap();
        let expected = json!({
            "model": "m", "system": "be brief\n\nbe kind", "max_tokens": 7, "temperature": 0, "stream": true,
            "messages": [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "hi"},
                {"role": "user", "content": "bye"},
            ],
        });
        assert_eq!(body, expected);
    }
}
