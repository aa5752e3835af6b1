//! The simulation's responses.

use super::directive::{Directives, Task, Verdict};
use super::example::example;
use serde_json::{Value, json};
use tithe_chat::{Chat, Delta, Finish, Part, ReplyFormat, Tool, ToolChoice, ToolResult};
use tithe_engine::inference::ChatRequest;
use tithe_pricing::{Tokenizer, Usage};

pub(super) const TOKENIZER: Tokenizer = Tokenizer::O200kBase;
/// The length of the quoted part of the question.
const ECHO_CHARS_MAX: usize = 200;
/// What an image counts for.
const IMAGE_TOKENS: u64 = 1_000;

const REASONING: &str = "The question is read, and nothing is thought about it: this is a simulation.";

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its parts, as single pieces.
    pub(super) deltas: Vec<Delta>,
    pub(super) finish: Finish,
    pub(super) usage: Usage,
}

impl Answer {
    pub(super) fn to(request: &ChatRequest, directives: &Directives) -> Self {
        let (mut deltas, finish) = match directives.task {
            Task::Work => work(&request.chat, directives),
            Task::Evaluation(verdict) => (vec![Delta::Text(evaluation(verdict))], Finish::Stop),
        };
        let written: String = deltas.iter().map(Delta::written).collect();
        let (end, finish) = match cut(&written, request.max_output_tokens) {
            Some(beginning) => (beginning.len(), Finish::Length),
            None => (written.len(), finish),
        };
        truncate(&mut deltas, end);
        let reasoning = deltas.iter().map(|delta| match delta {
            Delta::Reasoning(text) => TOKENIZER.count(text),
            _ => 0,
        });
        let output_tokens = TOKENIZER.count(written.get(..end).unwrap_or_default());
        let images = u64::try_from(request.chat.images().count()).unwrap_or(u64::MAX);
        let usage = Usage {
            input_tokens: request.chat.texts().map(|text| TOKENIZER.count(text)).sum::<u64>()
                + images.saturating_mul(IMAGE_TOKENS),
            output_tokens,
            reasoning_tokens: reasoning.sum::<u64>().min(output_tokens),
            ..Usage::ZERO
        };
        Self { deltas, finish, usage }
    }
}

/// Cuts what is written after so many bytes.
fn truncate(deltas: &mut Vec<Delta>, mut bytes: usize) {
    deltas.retain_mut(|delta| {
        let length = delta.written().len();
        let left = bytes;
        bytes = bytes.saturating_sub(length);
        match delta {
            Delta::Text(text) | Delta::Reasoning(text) | Delta::Arguments { json: text, .. } => {
                text.truncate(left.min(length));
                !text.is_empty()
            }
            // What is called is not cut.
            Delta::ToolCall { .. } => left >= length,
            Delta::ReasoningSignature(_) | Delta::RedactedReasoning(_) => true,
        }
    });
}

fn work(chat: &Chat, directives: &Directives) -> (Vec<Delta>, Finish) {
    let reasoning = directives.reasons.then(|| Delta::Reasoning(REASONING.to_owned()));
    let mut deltas: Vec<Delta> = reasoning.into_iter().collect();
    let calls = calls(chat, directives);
    if !calls.is_empty() {
        for (index, tool) in calls.into_iter().enumerate() {
            let (id, name) = (format!("call_sim{index}"), tool.name.clone());
            deltas.push(Delta::ToolCall { index, id, name });
            deltas.push(Delta::Arguments { index, json: instance(tool.parameters.as_deref()).to_string() });
        }
        return (deltas, Finish::ToolCalls);
    }
    let text = match &chat.format {
        ReplyFormat::Text => text(chat),
        ReplyFormat::Json => json!({ "answer": text(chat) }).to_string(),
        ReplyFormat::Schema(schema) => instance(Some(&schema.schema)).to_string(),
    };
    deltas.push(Delta::Text(text));
    (deltas, Finish::Stop)
}

/// The functions that are called: those that a directive names, or what must be called. What was called has been answered: then none is.
fn calls<'a>(chat: &'a Chat, directives: &Directives) -> Vec<&'a Tool> {
    let is_answered =
        chat.messages.last().is_some_and(|last| last.parts.iter().any(|part| result(part).is_some()));
    if is_answered || chat.tool_choice == ToolChoice::None {
        return Vec::new();
    }
    let named = |name: &str| chat.tools.iter().find(|tool| tool.name == name);
    match &chat.tool_choice {
        ToolChoice::Named(name) => named(name).into_iter().collect(),
        ToolChoice::Required if directives.calls.is_empty() => chat.tools.iter().take(1).collect(),
        _ => directives.calls.iter().filter_map(|name| named(name)).collect(),
    }
}

const fn result(part: &Part) -> Option<&ToolResult> {
    match part {
        Part::ToolResult(result) => Some(result),
        _ => None,
    }
}

/// A value that fits a schema.
fn instance(schema: Option<&serde_json::value::RawValue>) -> Value {
    let schema = schema.and_then(|schema| serde_json::from_str(schema.get()).ok()).unwrap_or(Value::Null);
    example(&schema)
}

fn text(chat: &Chat) -> String {
    let question = chat.last_user_text();
    let question = question.trim();
    let words = question.split_whitespace().count();
    let mut echo: String = question.chars().take(ECHO_CHARS_MAX).collect();
    if echo.len() < question.len() {
        echo.push('…');
    }
    let results = chat.messages.last().into_iter().flat_map(|last| last.parts.iter().filter_map(result));
    let results: Vec<&str> = results.flat_map(|result| result.parts.iter().flat_map(Part::texts)).collect();
    let results = if results.is_empty() {
        String::new()
    } else {
        format!("The functions returned: {}\n\n", results.join(" "))
    };
    let images = match chat.images().count() {
        0 => String::new(),
        1 => "You sent an image.\n\n".to_owned(),
        images => format!("You sent {images} images.\n\n"),
    };
    format!(
        "You asked: {echo}\n\n{results}{images}Here is a simulated answer. No model has run: your question of {words} words was read, \
         its tokens were counted, and this text was put together from it. The same question gets the same answer each \
         time, which makes it fit for trying out payments, streams and refunds, and for nothing else. A real backend \
         would have more to say."
    )
}

fn evaluation(verdict: Verdict) -> String {
    match verdict {
        Verdict::Accept => json!({"accept": true}).to_string(),
        Verdict::Reject => {
            json!({"accept": false, "reason": "The simulated evaluator was told to reject this."}).to_string()
        }
        Verdict::Nonsense => "Well, it depends on how you look at it.".to_owned(),
    }
}

/// The longest prefix of `text` with at most `tokens_max` tokens; `None` if all of `text` fits.
///
/// A character adds at most as many tokens as it has bytes, so ASCII text uses the whole limit.
fn cut(text: &str, tokens_max: u64) -> Option<&str> {
    let fits = |beginning: &str| TOKENIZER.count(beginning) <= tokens_max;
    if fits(text) {
        return None;
    }
    let beginnings: Vec<&str> = text.char_indices().filter_map(|(end, _)| text.get(..end)).collect();
    let fitting = beginnings.partition_point(|beginning| fits(beginning));
    Some(fitting.checked_sub(1).and_then(|last| beginnings.get(last)).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use tithe_chat::{Message, Role};

    fn request(text: &str, max_output_tokens: u64) -> ChatRequest {
        let messages = vec![Message::text(Role::System, "Be kind."), Message::text(Role::User, text)];
        let chat = Arc::new(Chat { messages, ..Chat::default() });
        ChatRequest { model: "any".to_owned(), chat, max_output_tokens, deterministic: false }
    }

    fn written(answer: &Answer) -> String {
        answer.deltas.iter().map(Delta::written).collect()
    }

    fn answer(text: &str, max_output_tokens: u64) -> Answer {
        Answer::to(&request(text, max_output_tokens), &Directives::default())
    }

    #[test]
    fn an_answer_shows_the_question_and_is_the_same_each_time() {
        let first = answer("Why is the sky blue?", 1_000);
        assert!(written(&first).starts_with("You asked: Why is the sky blue?\n"), "{first:?}");
        assert!(written(&first).contains("your question of 5 words"), "{first:?}");
        assert_eq!(first.finish, Finish::Stop);
        assert_eq!(first, answer("Why is the sky blue?", 1_000));
    }

    #[test]
    fn all_messages_are_input() {
        let usage = answer("Why?", 1_000).usage;
        assert_eq!(usage.input_tokens, TOKENIZER.count("Be kind.") + TOKENIZER.count("Why?"));
    }

    #[test]
    fn a_long_question_is_not_repeated_in_full() {
        let text = written(&answer(&"word ".repeat(10_000), 1_000));
        assert!(text.len() < 1_000, "{}", text.len());
    }

    #[test]
    fn every_limit_is_used_up_to_the_token() {
        let full = answer("Why is the sky blue?", 1_000).usage.output_tokens;
        for limit in 0..full {
            let cut = answer("Why is the sky blue?", limit);
            assert_eq!((cut.usage.output_tokens, cut.finish), (limit, Finish::Length), "{cut:?}");
        }
        assert_eq!(answer("Why is the sky blue?", full).finish, Finish::Stop);
    }

    #[test]
    fn verdicts_are_what_the_engine_reads() {
        assert_eq!(evaluation(Verdict::Accept), r#"{"accept":true}"#);
        assert_eq!(
            evaluation(Verdict::Reject),
            r#"{"accept":false,"reason":"The simulated evaluator was told to reject this."}"#
        );
    }

    proptest! {
        #[test]
        fn no_limit_is_ever_exceeded(text in "\\PC{0,60}", limit in 0u64..60) {
            let answer = answer(&text, limit);
            prop_assert!(answer.usage.output_tokens <= limit);
            prop_assert_eq!(answer.usage.output_tokens, TOKENIZER.count(&written(&answer)));
        }
    }
}
