//! Streamed answers of backends.

use super::counts::Counts;
use super::error::BackendError;
use super::raw::{absent, input, lenient};
use crate::stop_reason;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use tithe_chat::{Delta, Finish};
use tithe_pricing::Usage;

/// Whether more events can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More may come.
    More,
    /// The answer is complete.
    Last,
}

/// The name of a type, which is not copied.
#[derive(Default, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The data of an event of any type.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Name<'a>>,
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// A block, a piece of one, or a change of the message: each has some of these.
#[derive(Default, Deserialize)]
struct Piece<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Name<'a>>,
    #[serde(default, deserialize_with = "absent")]
    text: String,
    #[serde(default, deserialize_with = "absent")]
    thinking: String,
    #[serde(default, deserialize_with = "absent")]
    signature: String,
    #[serde(default, deserialize_with = "absent")]
    data: String,
    #[serde(default, deserialize_with = "absent")]
    partial_json: String,
    #[serde(default, deserialize_with = "absent")]
    id: String,
    #[serde(default, deserialize_with = "absent")]
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    stop_reason: Option<String>,
}

/// A call whose block has not ended.
#[derive(Debug)]
struct OpenCall {
    /// The index of the block; `None` if the server does not say it.
    block: Option<u64>,
    /// The number of the call.
    call: usize,
    /// The input with which the block began. It counts if no other follows.
    input: String,
    has_arguments: bool,
}

/// Parses the events of one stream.
#[derive(Debug, Default)]
pub struct Events {
    counts: Counts,
    finish: Option<Finish>,
    calls: usize,
    open: Vec<OpenCall>,
}

impl Events {
    /// Processes the next event: its name, which may be empty, and its data. Deltas go to `sink`.
    ///
    /// # Errors
    /// [`BackendError`] if the event reports an error, or is unreadable.
    pub fn step(
        &mut self,
        event_name: &str,
        data: &str,
        sink: &mut impl FnMut(Delta),
    ) -> Result<Step, BackendError> {
        // Servers in front of the API keep the connection alive with empty events.
        if matches!(data.trim(), "" | "null" | "[DONE]") {
            return Ok(Step::More);
        }
        let event: Data<'_> = serde_json::from_str(data)?;
        let kind = event.kind.as_ref().map_or(event_name, |name| name.0.as_ref());
        match kind {
            "message_start" => {
                let message: Start<'_> = lenient(event.message);
                self.counts = Counts::read(message.usage).of_input();
            }
            "content_block_start" => self.start(lenient(event.index), piece(event.content_block)?, sink),
            "content_block_delta" => self.more(lenient(event.index), piece(event.delta)?, sink),
            "content_block_stop" => {
                let block: Option<u64> = lenient(event.index);
                if let Some(place) = self.open.iter().position(|open| open.block == block) {
                    complete(self.open.remove(place), sink);
                }
            }
            "message_delta" => {
                self.complete_all(sink);
                let change = piece(event.delta)?;
                self.counts = Counts::read(event.usage).and(self.counts);
                let stated = change.stop_reason.as_deref().and_then(stop_reason::parse);
                self.finish = stated.or(self.finish);
            }
            "message_stop" => {
                self.complete_all(sink);
                self.finish.get_or_insert(stop_reason::unstated(self.calls > 0));
                return Ok(Step::Last);
            }
            // Some servers in front of the API send `{"error":{…}}` without a type.
            _ if kind == "error"
                || event_name == "error"
                || (event.kind.is_none() && event.error.is_some()) =>
            {
                let error = match event.error {
                    Some(error) => error.to_owned(),
                    None => RawValue::from_string(data.to_owned())?,
                };
                return Err(BackendError::Reported(error));
            }
            // Pings, and future events: Anthropic's documentation asks clients to ignore unknown events.
            _ => {}
        }
        Ok(Step::More)
    }

    /// How the answer ended and what it used, if that was part of the events so far. Later events only add to it.
    #[must_use]
    pub fn ending(&self) -> Option<(Finish, Option<Usage>)> {
        Some((self.finish?, self.counts.usage()))
    }

    /// What the backend has said so far that it used.
    #[must_use]
    pub fn used(&self) -> Option<Usage> {
        self.counts.used()
    }

    fn start(&mut self, block: Option<u64>, piece: Piece<'_>, sink: &mut impl FnMut(Delta)) {
        match piece.kind.as_ref().map_or("", |name| name.0.as_ref()) {
            "text" => push(piece.text, Delta::Text, sink),
            "thinking" => {
                push(piece.thinking, Delta::Reasoning, sink);
                push(piece.signature, Delta::ReasoningSignature, sink);
            }
            "redacted_thinking" => push(piece.data, Delta::RedactedReasoning, sink),
            "tool_use" => {
                let call = self.calls;
                self.calls = self.calls.saturating_add(1);
                sink(Delta::ToolCall { index: call, id: piece.id, name: piece.name });
                let input = input(piece.input).to_owned();
                self.open.push(OpenCall { block, call, input, has_arguments: false });
            }
            // Tools of the backend are refused before.
            _ => {}
        }
    }

    fn more(&mut self, block: Option<u64>, piece: Piece<'_>, sink: &mut impl FnMut(Delta)) {
        match piece.kind.as_ref().map_or("", |name| name.0.as_ref()) {
            "text_delta" => push(piece.text, Delta::Text, sink),
            "thinking_delta" => push(piece.thinking, Delta::Reasoning, sink),
            "signature_delta" => push(piece.signature, Delta::ReasoningSignature, sink),
            "input_json_delta" if !piece.partial_json.is_empty() => {
                if let Some(open) = self.open.iter_mut().rfind(|open| open.block == block) {
                    open.has_arguments = true;
                    sink(Delta::Arguments { index: open.call, json: piece.partial_json });
                }
            }
            // Citations, and future pieces.
            _ => {}
        }
    }

    fn complete_all(&mut self, sink: &mut impl FnMut(Delta)) {
        for open in self.open.drain(..) {
            complete(open, sink);
        }
    }
}

/// What is absent or `null` is empty.
fn piece(value: Option<&RawValue>) -> Result<Piece<'_>, BackendError> {
    Ok(value.map(Piece::deserialize).transpose()?.unwrap_or_default())
}

fn push(text: String, delta: fn(String) -> Delta, sink: &mut impl FnMut(Delta)) {
    if !text.is_empty() {
        sink(delta(text));
    }
}

/// A call has an object as its arguments, even if the stream has none.
fn complete(open: OpenCall, sink: &mut impl FnMut(Delta)) {
    if !open.has_arguments {
        let json = if open.input.is_empty() { "{}".to_owned() } else { open.input };
        sink(Delta::Arguments { index: open.call, json });
    }
}
