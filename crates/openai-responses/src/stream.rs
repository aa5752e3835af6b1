//! Streamed answers.

use crate::json;
use crate::output::{self, Item, Kind, NO_ARGUMENTS, Status};
use crate::response::{self, FailureCode, Outcome, ResponseHead, State};
use tithe_chat::Delta;

/// A line that keeps a connection open while there is nothing to say: a comment, which all readers of event streams skip. It is not part
/// of any event and may be sent between any two calls of an [`Encoder`].
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Writes an answer as events, as it is generated.
///
/// Each method appends whole events. The order is: [`Self::start`], any number of [`Self::push`], and [`Self::finish`] or [`Self::fail`];
/// what comes after the end is ignored.
///
/// Reasoning is written as a summary: that is what Codex and the SDKs show. A call of a function stays open until the end, because
/// models may write the arguments of several calls by turns.
#[derive(Debug)]
pub struct Encoder {
    head: ResponseHead,
    items: Vec<Item>,
    /// For each call, its number and its place in `items`.
    calls: Vec<(usize, usize)>,
    sequence: u64,
    is_finished: bool,
}

impl Encoder {
    /// An encoder of one answer.
    #[must_use]
    pub const fn new(head: ResponseHead) -> Self {
        Self { head, items: Vec::new(), calls: Vec::new(), sequence: 0, is_finished: false }
    }

    /// Writes what precedes the answer: `response.created` and `response.in_progress`.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        if self.sequence > 0 {
            return;
        }
        self.response(out, "response.created", State::InProgress);
        self.response(out, "response.in_progress", State::InProgress);
    }

    /// Writes a piece of the answer. Arguments of a call that has not begun are dropped.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if self.is_finished {
            return;
        }
        self.start(out);
        match delta {
            // Never empty; if it is after all, there is nothing to say.
            Delta::Text(more) | Delta::Reasoning(more) if more.is_empty() => {}
            Delta::Text(more) => {
                if !matches!(self.items.last(), Some(Item { kind: Kind::Message, .. })) {
                    self.begin(out, Item::new(Kind::Message));
                }
                self.append(out, self.items.len().saturating_sub(1), more);
            }
            Delta::Reasoning(more) => {
                let last = self.items.last().map(|item| &item.kind);
                // Signed reasoning is complete.
                if !matches!(last, Some(Kind::Reasoning { signature: None, .. })) {
                    self.begin(out, Item::new(Kind::Reasoning { signature: None, is_redacted: false }));
                    self.begin_summary(out);
                }
                self.append(out, self.items.len().saturating_sub(1), more);
            }
            Delta::ReasoningSignature(more) => {
                let last = self.items.last_mut().map(|item| &mut item.kind);
                if let Some(Kind::Reasoning { signature, is_redacted: false }) = last {
                    signature.get_or_insert_default().push_str(more);
                } else {
                    let kind = Kind::Reasoning { signature: Some(more.clone()), is_redacted: false };
                    self.begin(out, Item::new(kind));
                }
            }
            Delta::RedactedReasoning(data) => {
                let kind = Kind::Reasoning { signature: Some(data.clone()), is_redacted: true };
                self.begin(out, Item::new(kind));
            }
            Delta::ToolCall { index, id, name } => {
                let item = Item::call(id, name, &self.head.names);
                self.calls.push((*index, self.items.len()));
                self.begin(out, item);
            }
            Delta::Arguments { index, json } => {
                let call = self.calls.iter().rev().find(|(call, _)| call == index);
                if let Some((_, place)) = call {
                    self.append(out, *place, json);
                }
            }
        }
    }

    /// Writes the end of an answer: what is open is closed, then `response.completed`, or `response.incomplete` if the answer was cut off.
    ///
    /// A call that was cut off is not closed: Codex runs a call as soon as it is closed, and half of a command or of a patch must not run.
    pub fn finish(&mut self, outcome: &Outcome, out: &mut Vec<u8>) {
        if self.is_finished {
            return;
        }
        self.start(out);
        let count = self.items.len();
        for place in 0..count {
            let Some(item) = self.items.get_mut(place) else { continue };
            if item.status != Status::InProgress {
                continue;
            }
            let status = item.end(outcome.is_cut(), place + 1 == count);
            if item.is_call() && status == Status::Incomplete {
                item.status = status;
            } else {
                self.end_item(out, place, status);
            }
        }
        let state = outcome.state();
        let kind = match state {
            State::Incomplete(..) => "response.incomplete",
            _ => "response.completed",
        };
        self.response(out, kind, state);
        self.is_finished = true;
    }

    /// Writes the end of an answer that failed: `response.failed`. (Codex ignores `error` events.)
    ///
    /// What is open is not closed: clients keep what was closed, and try again.
    pub fn fail(&mut self, code: FailureCode, message: &str, out: &mut Vec<u8>) {
        if self.is_finished {
            return;
        }
        self.start(out);
        for item in self.items.iter_mut().filter(|item| item.status == Status::InProgress) {
            item.status = Status::Incomplete;
        }
        self.response(out, "response.failed", State::Failed(code, message));
        self.is_finished = true;
    }

    /// Whether the end has been written.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Begins an item. Text and reasoning before it are complete.
    fn begin(&mut self, out: &mut Vec<u8>, item: Item) {
        if let Some(last) = self.items.last().filter(|last| !last.is_call()) {
            self.end_item(out, self.items.len().saturating_sub(1), last.end(false, false));
        }
        let is_message = matches!(item.kind, Kind::Message);
        let place = self.items.len();
        self.items.push(item);
        self.event(out, "response.output_item.added");
        json::text(out, ",\"output_index\":");
        json::number(out, place);
        json::text(out, ",\"item\":");
        if let Some(item) = self.items.last() {
            item.write(out, &self.head.id, place);
        }
        end_event(out);
        if is_message {
            self.item_event(out, "response.content_part.added", place);
            json::text(out, ",\"content_index\":0,\"part\":");
            output::write_text_part(out, "");
            end_event(out);
        }
    }

    fn begin_summary(&mut self, out: &mut Vec<u8>) {
        self.item_event(out, "response.reasoning_summary_part.added", self.items.len().saturating_sub(1));
        json::text(out, ",\"summary_index\":0,\"part\":");
        output::write_summary_part(out, "");
        end_event(out);
    }

    /// Adds to the text of an item.
    fn append(&mut self, out: &mut Vec<u8>, place: usize, more: &str) {
        let Some(item) = self.items.get_mut(place) else { return };
        let added = item.append(more).len();
        if added == 0 {
            return;
        }
        let (kind, index, rest) = match item.kind {
            Kind::Message => ("response.output_text.delta", ",\"content_index\":0", ",\"logprobs\":[]"),
            Kind::Reasoning { .. } => ("response.reasoning_summary_text.delta", ",\"summary_index\":0", ""),
            Kind::Function(_) => ("response.function_call_arguments.delta", "", ""),
            Kind::Custom(..) => ("response.custom_tool_call_input.delta", "", ""),
            // There is no event for pieces of a search.
            Kind::Search(_) => return,
        };
        self.item_event(out, kind, place);
        json::text(out, index);
        json::text(out, ",\"delta\":");
        if let Some(item) = self.items.get(place) {
            json::string(out, item.text.get(item.text.len() - added..).unwrap_or_default());
        }
        json::text(out, rest);
        end_event(out);
    }

    /// Closes an item.
    fn end_item(&mut self, out: &mut Vec<u8>, place: usize, status: Status) {
        let Some(item) = self.items.get_mut(place) else { return };
        item.status = status;
        if item.has_no_arguments() {
            self.append(out, place, NO_ARGUMENTS);
        }
        let Some(item) = self.items.get(place) else { return };
        match item.kind {
            Kind::Message => {
                self.done(out, place, "response.output_text.done", ",\"content_index\":0,\"text\":");
                self.part_done(out, place, "response.content_part.done", ",\"content_index\":0,\"part\":");
            }
            // Reasoning that is hidden has no summary.
            Kind::Reasoning { .. } if item.text.is_empty() => {}
            Kind::Reasoning { .. } => {
                let index = ",\"summary_index\":0,\"text\":";
                self.done(out, place, "response.reasoning_summary_text.done", index);
                let index = ",\"summary_index\":0,\"part\":";
                self.part_done(out, place, "response.reasoning_summary_part.done", index);
            }
            Kind::Function(_) => {
                self.done(out, place, "response.function_call_arguments.done", ",\"arguments\":");
            }
            Kind::Search(_) => {}
            Kind::Custom(..) => {
                self.done(out, place, "response.custom_tool_call_input.done", ",\"input\":");
            }
        }
        self.event(out, "response.output_item.done");
        json::text(out, ",\"output_index\":");
        json::number(out, place);
        json::text(out, ",\"item\":");
        if let Some(item) = self.items.get(place) {
            item.write(out, &self.head.id, place);
        }
        end_event(out);
    }

    /// Writes an event with the whole text of an item.
    fn done(&mut self, out: &mut Vec<u8>, place: usize, kind: &str, field: &str) {
        self.item_event(out, kind, place);
        json::text(out, field);
        if let Some(item) = self.items.get(place) {
            json::string(out, &item.text);
            match item.kind {
                Kind::Message => json::text(out, ",\"logprobs\":[]"),
                Kind::Function(_) => {
                    json::text(out, ",\"name\":");
                    item.write_name(out);
                }
                _ => {}
            }
        }
        end_event(out);
    }

    /// Writes an event with the whole part of an item.
    fn part_done(&mut self, out: &mut Vec<u8>, place: usize, kind: &str, field: &str) {
        self.item_event(out, kind, place);
        json::text(out, field);
        match self.items.get(place) {
            Some(Item { kind: Kind::Message, text, .. }) => output::write_text_part(out, text),
            Some(item) => output::write_summary_part(out, &item.text),
            None => {}
        }
        end_event(out);
    }

    /// Writes an event with the response object.
    fn response(&mut self, out: &mut Vec<u8>, kind: &str, state: State<'_>) {
        self.event(out, kind);
        json::text(out, ",\"response\":");
        response::write(out, &self.head, &self.items, state);
        end_event(out);
    }

    /// Begins an event about an item.
    fn item_event(&mut self, out: &mut Vec<u8>, kind: &str, place: usize) {
        self.event(out, kind);
        json::text(out, ",\"item_id\":");
        if let Some(item) = self.items.get(place) {
            item.write_id(out, &self.head.id, place);
        }
        json::text(out, ",\"output_index\":");
        json::number(out, place);
    }

    /// Begins an event.
    fn event(&mut self, out: &mut Vec<u8>, kind: &str) {
        json::text(out, "event: ");
        json::text(out, kind);
        json::text(out, "\ndata: {\"type\":\"");
        json::text(out, kind);
        json::text(out, "\",\"sequence_number\":");
        json::number(out, self.sequence);
        self.sequence += 1;
    }
}

fn end_event(out: &mut Vec<u8>) {
    json::text(out, "}\n\n");
}
