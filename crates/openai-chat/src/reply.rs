//! Whole answers.

use crate::Spent;
use serde::Serialize;
use tithe_chat::{Finish, Part, Reply, ToolCall};

/// What every piece of an answer says of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta<'a> {
    /// The id of the answer, `chatcmpl-…`.
    pub id: &'a str,
    /// When the answer began, in seconds since 1970.
    pub created: i64,
    /// The model, as the client calls it.
    pub model: &'a str,
}

/// Appends a whole answer to `out`: the body of the response.
pub fn encode(out: &mut Vec<u8>, meta: &Meta<'_>, reply: &Reply, spent: &Spent) {
    let calls: Vec<WireCall<'_>> = reply.tool_calls().map(WireCall::of).collect();
    let text = reply.text();
    let reasoning = reasoning(&reply.parts);
    let message = WireMessage {
        role: "assistant",
        content: (!text.is_empty() || calls.is_empty()).then_some(&text),
        refusal: (),
        reasoning_content: (!reasoning.is_empty()).then_some(&reasoning),
        tool_calls: calls,
    };
    let completion = WireCompletion {
        id: meta.id,
        object: "chat.completion",
        created: meta.created,
        model: meta.model,
        choices: [WireChoice { index: 0, message, logprobs: (), finish_reason: finish_name(reply.finish) }],
        usage: spent.of_chat(),
    };
    crate::json::append(out, &completion);
}

/// OpenAI's name for why an answer ended. There is none for a reason that is not known, and strict clients read no other name than
/// these: such an answer may not be whole, so it must not look as if it were.
pub(crate) const fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length | Finish::Other => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// The arguments of a call. A model that has nothing to say writes nothing, and clients expect an object.
pub(crate) const fn arguments(call: &ToolCall) -> &str {
    if call.arguments.is_empty() { "{}" } else { call.arguments.as_str() }
}

fn reasoning(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Reasoning(reasoning) => Some(reasoning.text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[derive(Serialize)]
struct WireCompletion<'a, U> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [WireChoice<'a>; 1],
    usage: U,
}

#[derive(Serialize)]
struct WireChoice<'a> {
    index: u8,
    message: WireMessage<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<&'a String>,
    refusal: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

/// A call, as answers and earlier answers have it.
#[derive(Serialize)]
pub(crate) struct WireCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> WireCall<'a> {
    pub(crate) fn of(call: &'a ToolCall) -> Self {
        let function = WireFunction { name: &call.name, arguments: arguments(call) };
        Self { id: &call.id, kind: "function", function }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tithe_chat::{Charge, Reasoning};
    use tithe_money::{Msats, UsdMicros};
    use tithe_pricing::Usage;

    const META: Meta<'_> = Meta { id: "chatcmpl-1", created: 1_790_000_000, model: "m/large" };

    fn encoded(parts: Vec<Part>, finish: Finish, spent: &Spent) -> Value {
        let mut out = Vec::new();
        encode(&mut out, &META, &Reply { parts, finish }, spent);
        serde_json::from_slice(&out).unwrap()
    }

    fn call(arguments: &str) -> Part {
        Part::ToolCall(ToolCall { id: "c1".into(), name: "f".into(), arguments: arguments.into() })
    }

    #[test]
    fn an_answer_says_what_it_used_and_cost() {
        let usage = Usage {
            input_tokens: 100,
            cached_input_tokens: 40,
            cache_write_tokens: 20,
            cache_write_1h_tokens: 5,
            output_tokens: 50,
            reasoning_tokens: 30,
        };
        let charge = Charge {
            usd: UsdMicros::new(36_120).unwrap(),
            msats: Msats::new(36_121).unwrap(),
            absorbed: Msats::new(1).unwrap(),
        };
        let spent = Spent { usage, charge: Some(charge) };
        let parts = vec![
            Part::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() }),
            Part::Text("Say \"hi\"".into()),
        ];
        assert_eq!(
            encoded(parts, Finish::Stop, &spent),
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "m/large",
                "choices": [{
                    "index": 0, "logprobs": null, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "Say \"hi\"", "refusal": null, "reasoning_content": "hm"},
                }],
                "usage": {
                    "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
                    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 25},
                    "completion_tokens_details": {"reasoning_tokens": 30},
                    "cost": 0.03612, "cost_msats": 36_121, "absorbed_msats": 1,
                },
            })
        );
    }

    #[test]
    fn content_is_null_only_beside_calls() {
        let spent = Spent::of(Usage::ZERO);
        let only_calls = encoded(vec![call("{}")], Finish::ToolCalls, &spent);
        assert_eq!(only_calls["choices"][0]["message"]["content"], Value::Null);
        assert_eq!(only_calls["choices"][0]["finish_reason"], "tool_calls");
        let empty = encoded(vec![], Finish::Stop, &spent);
        assert_eq!(empty["choices"][0]["message"]["content"], "");
        assert!(empty["choices"][0]["message"].get("tool_calls").is_none());
        assert!(empty["usage"].get("cost").is_none());
    }

    #[test]
    fn a_call_without_arguments_has_an_object() {
        let answer = encoded(vec![call("")], Finish::ToolCalls, &Spent::of(Usage::ZERO));
        assert_eq!(
            answer["choices"][0]["message"]["tool_calls"],
            json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
        );
    }

    #[test]
    fn an_answer_that_may_not_be_whole_does_not_look_whole() {
        let answer = encoded(vec![Part::Text("ha".into())], Finish::Other, &Spent::of(Usage::ZERO));
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
}
