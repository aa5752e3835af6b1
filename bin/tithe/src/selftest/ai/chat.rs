//! OpenAI's chat completions.

use super::frames::frames;
use super::reply::{Reply, ToolCall, Usage};
use crate::selftest::answer::Answer;
use crate::selftest::excerpt;
use crate::selftest::outcome::Checked;
use serde_json::Value;

const FINISHES: &[&str] = &["stop", "length", "tool_calls", "content_filter"];

fn usage(answer: &Answer) -> Checked<Usage> {
    Usage::of_openai(answer, "/usage", "prompt_tokens", "completion_tokens")
}

/// Reads a whole answer.
pub(super) fn whole(answer: &Answer) -> Checked<Reply> {
    answer.is("/object", "chat.completion")?;
    answer.number("/created")?;
    answer.is("/choices/0/index", 0)?;
    answer.is("/choices/0/message/role", "assistant")?;
    answer.is_one_of("/choices/0/finish_reason", FINISHES)?;
    let calls = answer.value("/choices/0/message/tool_calls").and_then(Value::as_array).map_or(0, Vec::len);
    let calls = (0..calls).map(|n| {
        let at = |field: &str| answer.owned(&format!("/choices/0/message/tool_calls/{n}/{field}"));
        answer.is(&format!("/choices/0/message/tool_calls/{n}/type"), "function")?;
        Ok(ToolCall { id: at("id")?, name: at("function/name")?, arguments: at("function/arguments")? })
    });
    Ok(Reply {
        id: answer.owned("/id")?,
        model: answer.owned("/model")?,
        text: answer.owned("/choices/0/message/content").unwrap_or_default(),
        calls: calls.collect::<Checked<_>>()?,
        finish: answer.owned("/choices/0/finish_reason")?,
        usage: Some(usage(answer)?),
    })
}

/// Reads a stream.
pub(super) fn streamed(stream: &Answer) -> Checked<Reply> {
    let frames = frames(stream)?;
    let Some((last, chunks)) = frames.split_last().filter(|(last, _)| last.data == "[DONE]") else {
        let got = frames.last().map_or("nothing", |last| last.data.as_str());
        return Err(stream.fault("a stream that ends with `data: [DONE]`", excerpt::short(got)));
    };
    let mut reply = Reply::default();
    for frame in chunks.iter().chain([last]) {
        let name = frame.name.as_deref();
        stream.holds(
            name.is_none(),
            "chunks without an `event:`",
            excerpt::short(name.unwrap_or_default()),
        )?;
    }
    for chunk in chunks.iter().map(|frame| frame.body(stream)) {
        chunk.is("/object", "chat.completion.chunk")?;
        let (id, model) = (chunk.owned("/id")?, chunk.owned("/model")?);
        let is_same = reply.id.is_empty() || (&reply.id, &reply.model) == (&id, &model);
        chunk.holds(is_same, "one `id` and `model` in all chunks", excerpt::of_body(&chunk.text))?;
        (reply.id, reply.model) = (id, model);
        let is_open = reply.usage.is_none();
        chunk.holds(is_open, "nothing after the chunk with the usage", excerpt::of_body(&chunk.text))?;
        let is_over = !reply.finish.is_empty();
        if chunk.list("/choices")?.is_empty() {
            chunk.holds(is_over, "the usage after the `finish_reason`", excerpt::of_body(&chunk.text))?;
            reply.usage = Some(usage(&chunk)?);
            continue;
        }
        chunk.is_absent("/usage")?;
        chunk.holds(!is_over, "no choices after the `finish_reason`", excerpt::of_body(&chunk.text))?;
        chunk.is("/choices/0/index", 0)?;
        piece(&chunk, &mut reply)?;
        if chunk.value("/choices/0/finish_reason").is_some() {
            chunk.is_one_of("/choices/0/finish_reason", FINISHES)?;
            reply.finish = chunk.owned("/choices/0/finish_reason")?;
        }
    }
    stream.holds(!reply.finish.is_empty(), "a chunk with a `finish_reason`", "none")?;
    Ok(reply)
}

/// Adds what a chunk has.
fn piece(chunk: &Answer, reply: &mut Reply) -> Checked {
    if chunk.value("/choices/0/delta/content").is_some() {
        reply.text.push_str(chunk.text_at("/choices/0/delta/content")?);
    }
    let calls = chunk.value("/choices/0/delta/tool_calls").and_then(Value::as_array).map_or(0, Vec::len);
    for n in 0..calls {
        let at = |field: &str| format!("/choices/0/delta/tool_calls/{n}/{field}");
        let index = usize::try_from(chunk.number(&at("index"))?).unwrap_or(usize::MAX);
        if index == reply.calls.len() {
            chunk.is(&at("type"), "function")?;
            let (id, name) = (chunk.owned(&at("id"))?, chunk.owned(&at("function/name"))?);
            reply.calls.push(ToolCall { id, name, arguments: String::new() });
        }
        let Some(call) = reply.calls.get_mut(index) else {
            return Err(chunk.fault("calls with an `index` one after the other", index));
        };
        if chunk.value(&at("function/arguments")).is_some() {
            call.arguments.push_str(chunk.text_at(&at("function/arguments"))?);
        }
    }
    Ok(())
}
