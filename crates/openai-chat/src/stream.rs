//! Streamed answers: server-sent events with one chunk each, and nothing else.

use crate::json::append;
use crate::reply::finish_name;
use crate::{ApiError, Meta, Spent};
use tithe_chat::{Delta, Finish};

/// What may be sent while a stream is silent. It is a comment: a client that follows the standard does not see it.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

const DONE: &[u8] = b"data: [DONE]\n\n";

/// Writes the events of one streamed answer.
///
/// An answer is any number of [`Self::delta`]s, and then either [`Self::finish`] or [`Self::error`].
#[derive(Debug, Clone)]
pub struct Encoder {
    /// An event up to the delta of its choice: the same for all.
    head: Vec<u8>,
    /// An event up to its choices.
    head_bytes_to_choices: usize,
    include_usage: bool,
    has_begun: bool,
    calls: Vec<Call>,
}

/// A call that has begun; its place in the list is its number on the wire.
#[derive(Debug, Clone, Copy)]
struct Call {
    index: usize,
    has_arguments: bool,
}

impl Encoder {
    /// The encoder of one answer. With `include_usage`, the answer ends with a report of usage.
    #[must_use]
    pub fn new(meta: &Meta<'_>, include_usage: bool) -> Self {
        let mut head = b"data: {\"id\":".to_vec();
        append(&mut head, meta.id);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        append(&mut head, &meta.created);
        head.extend_from_slice(b",\"model\":");
        append(&mut head, meta.model);
        head.extend_from_slice(b",\"choices\":[");
        let head_bytes_to_choices = head.len();
        head.extend_from_slice(b"{\"index\":0,\"delta\":{");
        Self { head, head_bytes_to_choices, include_usage, has_begun: false, calls: Vec::new() }
    }

    /// Appends the first chunk, which names the role. Unless the caller wants it early, it comes with the first delta.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"\"role\":\"assistant\",\"content\":\"\"");
            self.close(out, None);
        }
    }

    /// Appends a piece of the answer. Signatures and encrypted reasoning have no place in this API; arguments of a call that has not
    /// begun are dropped.
    pub fn delta(&mut self, out: &mut Vec<u8>, delta: &Delta) {
        self.begin(out);
        match delta {
            Delta::Text(text) => self.text(out, "\"content\":", text),
            Delta::Reasoning(text) => self.text(out, "\"reasoning_content\":", text),
            Delta::ReasoningSignature(_) | Delta::RedactedReasoning(_) => {}
            Delta::ToolCall { index, id, name } => {
                let number = self.calls.len();
                self.calls.push(Call { index: *index, has_arguments: false });
                self.tool(out, number);
                out.extend_from_slice(b",\"id\":");
                append(out, id);
                out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                append(out, name);
                out.extend_from_slice(b",\"arguments\":\"\"}}]");
                self.close(out, None);
            }
            Delta::Arguments { index, json } => {
                let number = self.calls.iter().rposition(|call| call.index == *index);
                let Some(number) = number.filter(|_| !json.is_empty()) else { return };
                if let Some(call) = self.calls.get_mut(number) {
                    call.has_arguments = true;
                }
                self.arguments(out, number, json);
            }
        }
    }

    /// Appends the end: why the answer ended, then the report of usage if it was asked for.
    pub fn finish(mut self, out: &mut Vec<u8>, finish: Finish, spent: &Spent) {
        self.begin(out);
        if matches!(finish, Finish::Stop | Finish::ToolCalls) {
            // A model that has nothing to say writes no arguments, and clients expect an object.
            for (number, call) in self.calls.iter().enumerate() {
                if !call.has_arguments {
                    self.arguments(out, number, "{}");
                }
            }
        }
        out.extend_from_slice(&self.head);
        self.close(out, Some(finish));
        if self.include_usage {
            out.extend_from_slice(self.head.get(..self.head_bytes_to_choices).unwrap_or_default());
            out.extend_from_slice(b"],\"usage\":");
            append(out, &spent.of_chat());
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(DONE);
    }

    /// Appends the end of an answer that has failed.
    pub fn error(self, out: &mut Vec<u8>, error: &ApiError<'_>) {
        out.extend_from_slice(b"data: ");
        error.encode(out);
        out.extend_from_slice(b"\n\n");
        out.extend_from_slice(DONE);
    }

    fn text(&self, out: &mut Vec<u8>, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(name.as_bytes());
        append(out, text);
        self.close(out, None);
    }

    /// An event up to the number of a call.
    fn tool(&self, out: &mut Vec<u8>, number: usize) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
        append(out, &number);
    }

    fn arguments(&self, out: &mut Vec<u8>, number: usize, json: &str) {
        self.tool(out, number);
        out.extend_from_slice(b",\"function\":{\"arguments\":");
        append(out, json);
        out.extend_from_slice(b"}}]");
        self.close(out, None);
    }

    /// The rest of an event after its delta.
    fn close(&self, out: &mut Vec<u8>, finish: Option<Finish>) {
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        append(out, &finish.map(finish_name));
        let rest = if self.include_usage { "}],\"usage\":null}\n\n" } else { "}]}\n\n" };
        out.extend_from_slice(rest.as_bytes());
    }
}

#[cfg(test)]
mod tests;
