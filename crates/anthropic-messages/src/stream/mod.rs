//! Streamed answers.

mod block;
mod object;

use crate::error::{ErrorBody, encode_error};
use crate::{json, stop_reason, usage};
use block::Block;
use object::Object;
use std::collections::VecDeque;
use tithe_chat::{Charge, Delta, Finish};
use tithe_pricing::Usage;

/// Writes an answer as the events of `POST /v1/messages` with `stream: true`, each of which is a named server-sent event.
///
/// The API's blocks come one after another, while a backend may write several calls by turns. A block is written as it comes while it
/// is the first that is not finished; what belongs to later blocks waits. A call is finished when its arguments are a whole object and
/// another block has begun.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The blocks that are not finished; the first one is being written.
    blocks: VecDeque<Block>,
    /// The index of the first one.
    index: u64,
    calls_tools: bool,
}

impl Encoder {
    /// Appends the beginning of a stream: `message_start` and a `ping`.
    ///
    /// `id` begins with `msg_`; `model` is the name that the client asked for. `input` is what is known of the input before the answer:
    /// clients take the size of their context from it, and some take a usage of zeros for a broken stream, so that at least one token
    /// is written.
    #[must_use]
    pub fn start(out: &mut Vec<u8>, id: &str, model: &str, input: &Usage) -> Self {
        out.extend_from_slice(
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":",
        );
        json::string(out, id);
        out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
        json::string(out, model);
        out.extend_from_slice(b",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        usage::encode_start(out, &Usage { input_tokens: input.input_tokens.max(1), ..*input });
        out.extend_from_slice(b"}}\n\n");
        Self::ping(out);
        Self::default()
    }

    /// Appends a keep-alive. It may stand anywhere between other events.
    pub fn ping(out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
    }

    /// Appends a piece of the answer. What belongs to a later block waits for the ones before it.
    pub fn delta(&mut self, out: &mut Vec<u8>, delta: &Delta) {
        match delta {
            Delta::Text(more) => {
                if matches!(self.blocks.back(), Some(Block::Text { .. })) {
                    self.extend_last(out, more);
                } else {
                    self.begin(out, Block::Text { waiting: more.clone() });
                }
            }
            Delta::Reasoning(more) => match self.blocks.back() {
                // Signed reasoning is complete.
                Some(Block::Thinking { signature, .. }) if signature.is_empty() => {
                    self.extend_last(out, more);
                }
                _ => self.begin(out, Block::Thinking { waiting: more.clone(), signature: String::new() }),
            },
            Delta::ReasoningSignature(more) => {
                if let Some(Block::Thinking { signature, .. }) = self.blocks.back_mut() {
                    signature.push_str(more);
                } else {
                    self.begin(out, Block::Thinking { waiting: String::new(), signature: more.clone() });
                }
            }
            Delta::RedactedReasoning(data) => self.begin(out, Block::Redacted { data: data.clone() }),
            Delta::ToolCall { index, id, name } => {
                self.calls_tools = true;
                self.begin(
                    out,
                    Block::ToolUse {
                        call: *index,
                        id: id.clone(),
                        name: name.clone(),
                        waiting: String::new(),
                        object: Object::default(),
                    },
                );
            }
            Delta::Arguments { index, json } => self.arguments(out, *index, json),
        }
    }

    /// Appends the end of the answer: what waits, `message_delta` with the usage, and `message_stop`.
    pub fn finish(mut self, out: &mut Vec<u8>, finish: Finish, usage: &Usage, charge: Option<&Charge>) {
        while !self.blocks.is_empty() {
            self.next_block(out);
        }
        out.extend_from_slice(
            b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":",
        );
        json::string(out, stop_reason::name(finish, self.calls_tools));
        out.extend_from_slice(b",\"stop_sequence\":null},\"usage\":");
        usage::encode(out, usage, charge);
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    /// Appends the end of an answer that has failed. Nothing may follow.
    pub fn error(self, out: &mut Vec<u8>, error: &ErrorBody<'_>) {
        out.extend_from_slice(b"event: error\ndata: ");
        encode_error(out, error);
        out.extend_from_slice(b"\n\n");
    }

    /// Adds a block after the others.
    fn begin(&mut self, out: &mut Vec<u8>, mut block: Block) {
        if self.blocks.is_empty() {
            block.start(out, self.index);
        }
        self.blocks.push_back(block);
        self.advance(out);
    }

    /// Finishes blocks as long as the first one is complete and another one waits.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while self.blocks.len() > 1 && self.blocks.front().is_some_and(Block::is_complete) {
            self.next_block(out);
        }
    }

    /// Finishes the first block, and starts the next one.
    fn next_block(&mut self, out: &mut Vec<u8>) {
        if let Some(block) = self.blocks.pop_front() {
            block.stop(out, self.index);
            self.index = self.index.saturating_add(1);
        }
        if let Some(next) = self.blocks.front_mut() {
            next.start(out, self.index);
        }
    }

    /// More of the last block.
    fn extend_last(&mut self, out: &mut Vec<u8>, more: &str) {
        if more.is_empty() {
            return;
        }
        let is_first = self.blocks.len() == 1;
        match self.blocks.back_mut() {
            Some(block) if is_first => block.delta(out, self.index, more),
            Some(Block::Text { waiting } | Block::Thinking { waiting, .. }) => waiting.push_str(more),
            _ => {}
        }
    }

    /// More arguments of a call. Those of a call that has not begun, or is finished, are dropped.
    fn arguments(&mut self, out: &mut Vec<u8>, index: usize, more: &str) {
        let is_it = |block: &Block| matches!(block, Block::ToolUse { call, .. } if *call == index);
        let Some(place) = self.blocks.iter().rposition(is_it) else { return };
        let Some(block) = self.blocks.get_mut(place) else { return };
        if let Block::ToolUse { waiting, object, .. } = block {
            object.push(more);
            if place > 0 {
                waiting.push_str(more);
                return;
            }
        }
        block.delta(out, self.index, more);
        self.advance(out);
    }
}

#[cfg(test)]
mod tests;
