//! OpenAI's responses.

use super::frames::frames;
use super::reply::{Reply, ToolCall, Usage};
use crate::selftest::answer::Answer;
use crate::selftest::excerpt;
use crate::selftest::outcome::Checked;
use serde_json::Value;

/// Reads a whole response, which is at a JSON pointer.
pub(super) fn whole(answer: &Answer, pointer: &str) -> Checked<Reply> {
    let at = |field: &str| format!("{pointer}/{field}");
    answer.is(&at("object"), "response")?;
    answer.is(&at("store"), false)?;
    answer.is_one_of(&at("status"), &["completed", "incomplete"])?;
    let usage = Usage::of_openai(answer, &at("usage"), "input_tokens", "output_tokens")?;
    let mut reply = Reply {
        id: answer.owned(&at("id"))?,
        model: answer.owned(&at("model"))?,
        usage: Some(usage),
        ..Reply::default()
    };
    for n in 0..answer.list(&at("output"))?.len() {
        let item = |field: &str| at(&format!("output/{n}/{field}"));
        match answer.text_at(&item("type"))? {
            "message" => {
                answer.is(&item("role"), "assistant")?;
                for part in 0..answer.list(&item("content"))?.len() {
                    reply.text.push_str(answer.text_at(&item(&format!("content/{part}/text")))?);
                }
            }
            "function_call" => reply.calls.push(ToolCall {
                id: answer.owned(&item("call_id"))?,
                name: answer.owned(&item("name"))?,
                arguments: answer.owned(&item("arguments"))?,
            }),
            _ => {}
        }
    }
    let finish = if answer.text_at(&at("status"))? == "incomplete" {
        answer.is_one_of(&at("incomplete_details/reason"), &["max_output_tokens", "content_filter"])?;
        "length"
    } else if reply.calls.is_empty() {
        "stop"
    } else {
        "tool_calls"
    };
    finish.clone_into(&mut reply.finish);
    Ok(reply)
}

/// Reads a stream as Codex does: what an event is from its `type`, the items as they are done, the usage from the end.
pub(super) fn streamed(stream: &Answer) -> Checked<Reply> {
    let frames = frames(stream)?;
    let (mut text, mut items, mut id) = (String::new(), Vec::new(), String::new());
    for (n, frame) in frames.iter().enumerate() {
        let (kind, event) = frame.typed(stream)?;
        event.is("/sequence_number", n)?;
        let is_first = n == 0;
        event.holds(
            is_first == (kind == "response.created"),
            "`response.created` first, and only there",
            &kind,
        )?;
        match kind.as_str() {
            "response.created" => id = event.owned("/response/id")?,
            "response.output_text.delta" => text.push_str(event.text_at("/delta")?),
            "response.output_item.done" => items.extend(event.value("/item").cloned()),
            "response.completed" | "response.incomplete" => {
                let is_last = n + 1 == frames.len();
                event.holds(is_last, format!("`{kind}` to be the last event"), "another one after it")?;
                let status = kind.trim_start_matches("response.");
                event.is("/response/status", status)?;
                let reply = whole(&event, "/response")?;
                event.is("/response/id", id)?;
                let is_same = reply.text == text;
                event.holds(is_same, "the text that was streamed", excerpt::short(&reply.text))?;
                // Clients do what a call says as soon as it is done: one that was cut off never is.
                let is_cut = |item: &&Value| {
                    let is = |field, text| item.get(field).and_then(Value::as_str) == Some(text);
                    is("type", "function_call") && !is("status", "completed")
                };
                let output = event.list("/response/output")?.iter().filter(|item| !is_cut(item));
                let are_same = output.eq(items.iter());
                event.holds(
                    are_same,
                    "`output` to have the items that were done",
                    excerpt::of_body(&event.text),
                )?;
                return Ok(reply);
            }
            "response.failed" | "error" => {
                return Err(event.fault("an answer", excerpt::of_body(&event.text)));
            }
            _ => {}
        }
    }
    Err(stream.fault("`response.completed` or `response.incomplete` at the end", "the end of the stream"))
}
