//! Anthropic's messages.

use super::frames::frames;
use super::reply::{Reply, ToolCall, Usage};
use crate::selftest::answer::Answer;
use crate::selftest::excerpt;
use crate::selftest::outcome::Checked;
use serde_json::Value;

/// Why a message has ended, in the words of OpenAI's chat completions.
fn finish(answer: &Answer, pointer: &str) -> Checked<String> {
    answer.is_one_of(pointer, &["end_turn", "stop_sequence", "max_tokens", "tool_use", "refusal"])?;
    let finish = match answer.text_at(pointer)? {
        "max_tokens" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    };
    Ok(finish.to_owned())
}

/// Reads a whole message.
pub(super) fn whole(answer: &Answer) -> Checked<Reply> {
    answer.is("/type", "message")?;
    answer.is("/role", "assistant")?;
    let mut reply = Reply {
        id: answer.owned("/id")?,
        model: answer.owned("/model")?,
        finish: finish(answer, "/stop_reason")?,
        usage: Some(Usage::of_anthropic(answer, "/usage")?),
        ..Reply::default()
    };
    for n in 0..answer.list("/content")?.len() {
        let at = |field: &str| format!("/content/{n}/{field}");
        match answer.text_at(&at("type"))? {
            "text" => reply.text.push_str(answer.text_at(&at("text"))?),
            "tool_use" => reply.calls.push(ToolCall {
                id: answer.owned(&at("id"))?,
                name: answer.owned(&at("name"))?,
                arguments: answer.value(&at("input")).map(Value::to_string).unwrap_or_default(),
            }),
            _ => {}
        }
    }
    Ok(reply)
}

/// The blocks of a stream, which come one after the other.
#[derive(Default)]
struct Blocks {
    begun: u64,
    is_open: bool,
    is_call: bool,
}

/// Reads a stream as Anthropic's SDK does.
pub(super) fn streamed(stream: &Answer) -> Checked<Reply> {
    let frames = frames(stream)?;
    let (mut reply, mut blocks) = (Reply::default(), Blocks::default());
    for (n, frame) in frames.iter().enumerate() {
        let (kind, event) = frame.typed(stream)?;
        let is_first = n == 0;
        event.holds(is_first == (kind == "message_start"), "`message_start` first, and only there", &kind)?;
        let is_end = matches!(kind.as_str(), "message_delta" | "message_stop" | "ping");
        event.holds(reply.finish.is_empty() || is_end, "no block after `message_delta`", &kind)?;
        match kind.as_str() {
            "message_start" => {
                event.is("/message/role", "assistant")?;
                let input = event.number("/message/usage/input_tokens")?;
                event.holds(input > 0, "`message.usage.input_tokens` above 0", input)?;
                (reply.id, reply.model) = (event.owned("/message/id")?, event.owned("/message/model")?);
            }
            "content_block_start" | "content_block_delta" | "content_block_stop" => {
                blocks.read(&kind, &event, &mut reply)?;
            }
            "message_delta" => {
                event.holds(!blocks.is_open, "`content_block_stop` before `message_delta`", "none")?;
                reply.finish = finish(&event, "/delta/stop_reason")?;
                reply.usage = Some(Usage::of_anthropic(&event, "/usage")?);
            }
            "message_stop" => {
                let is_last = n + 1 == frames.len() && !reply.finish.is_empty();
                event.holds(is_last, "`message_stop` last, after `message_delta`", "another order")?;
                return Ok(reply);
            }
            "ping" => {}
            "error" => return Err(event.fault("an answer", excerpt::of_body(&event.text))),
            _ => return Err(event.fault("the events of Anthropic's API and no other", excerpt::short(&kind))),
        }
    }
    Err(stream.fault("`message_stop` at the end", "the end of the stream"))
}

impl Blocks {
    fn read(&mut self, kind: &str, event: &Answer, reply: &mut Reply) -> Checked {
        let is_begin = kind == "content_block_start";
        if is_begin {
            event.holds(!self.is_open, "one block after the other", "one in another")?;
            event.is("/index", self.begun)?;
            self.begun += 1;
            (self.is_open, self.is_call) = (true, event.text_at("/content_block/type")? == "tool_use");
            if self.is_call {
                let (id, name) = (event.owned("/content_block/id")?, event.owned("/content_block/name")?);
                reply.calls.push(ToolCall { id, name, arguments: String::new() });
            }
            return Ok(());
        }
        event.holds(self.is_open, format!("`content_block_start` before `{kind}`"), "none")?;
        event.is("/index", self.begun.saturating_sub(1))?;
        if kind == "content_block_stop" {
            self.is_open = false;
            return Ok(());
        }
        match event.text_at("/delta/type")? {
            "text_delta" => reply.text.push_str(event.text_at("/delta/text")?),
            "input_json_delta" if self.is_call => {
                let json = event.text_at("/delta/partial_json")?;
                if let Some(call) = reply.calls.last_mut() {
                    call.arguments.push_str(json);
                }
            }
            "thinking_delta" | "signature_delta" => {}
            other => return Err(event.fault("a delta that belongs to its block", excerpt::short(other))),
        }
        Ok(())
    }
}
