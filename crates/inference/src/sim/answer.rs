//! The simulation's responses.

use super::directive::{Directives, Task, Verdict, last_user_message};
use serde_json::json;
use tithe_engine::inference::{ChatRequest, FinishReason};
use tithe_pricing::{Tokenizer, Usage};

const TOKENIZER: Tokenizer = Tokenizer::O200kBase;
/// The length of the quoted part of the question.
const ECHO_CHARS_MAX: usize = 200;

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) finish: FinishReason,
    pub(super) usage: Usage,
}

impl Answer {
    pub(super) fn to(request: &ChatRequest, directives: &Directives) -> Self {
        let full = match directives.task {
            Task::Work => work(last_user_message(request)),
            Task::Evaluation(verdict) => evaluation(verdict),
        };
        let (text, finish) = match cut(&full, request.max_output_tokens) {
            Some(beginning) => (beginning.to_owned(), FinishReason::Length),
            None => (full, FinishReason::Stop),
        };
        let usage = Usage {
            input_tokens: request.messages.iter().map(|message| TOKENIZER.count(&message.text)).sum(),
            cached_input_tokens: 0,
            output_tokens: TOKENIZER.count(&text),
            ..Usage::ZERO
        };
        Self { text, finish, usage }
    }
}

fn work(question: &str) -> String {
    let question = question.trim();
    let words = question.split_whitespace().count();
    let mut echo: String = question.chars().take(ECHO_CHARS_MAX).collect();
    if echo.len() < question.len() {
        echo.push('…');
    }
    format!(
        "You asked: {echo}\n\nHere is a simulated answer. No model has run: your question of {words} words was read, \
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
    use tithe_engine::inference::{Message, Role};

    fn request(text: &str, max_output_tokens: u64) -> ChatRequest {
        let messages = vec![
            Message { role: Role::System, text: "Be kind.".to_owned() },
            Message { role: Role::User, text: text.to_owned() },
        ];
        ChatRequest { model: "any".to_owned(), messages, max_output_tokens, deterministic: false }
    }

    fn answer(text: &str, max_output_tokens: u64) -> Answer {
        Answer::to(&request(text, max_output_tokens), &Directives::default())
    }

    #[test]
    fn an_answer_shows_the_question_and_is_the_same_each_time() {
        let first = answer("Why is the sky blue?", 1_000);
        assert!(first.text.starts_with("You asked: Why is the sky blue?\n"), "{}", first.text);
        assert!(first.text.contains("your question of 5 words"), "{}", first.text);
        assert_eq!(first.finish, FinishReason::Stop);
        assert_eq!(first, answer("Why is the sky blue?", 1_000));
    }

    #[test]
    fn all_messages_are_input() {
        let usage = answer("Why?", 1_000).usage;
        assert_eq!(usage.input_tokens, TOKENIZER.count("Be kind.") + TOKENIZER.count("Why?"));
    }

    #[test]
    fn a_long_question_is_not_repeated_in_full() {
        let text = answer(&"word ".repeat(10_000), 1_000).text;
        assert!(text.len() < 1_000, "{}", text.len());
    }

    #[test]
    fn every_limit_is_used_up_to_the_token() {
        let full = answer("Why is the sky blue?", 1_000).usage.output_tokens;
        for limit in 0..full {
            let cut = answer("Why is the sky blue?", limit);
            assert_eq!(
                (cut.usage.output_tokens, cut.finish),
                (limit, FinishReason::Length),
                "{:?}",
                cut.text
            );
        }
        assert_eq!(answer("Why is the sky blue?", full).finish, FinishReason::Stop);
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
            prop_assert_eq!(answer.usage.output_tokens, TOKENIZER.count(&answer.text));
        }
    }
}
