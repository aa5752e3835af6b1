//! Blocks of a streamed answer.

use super::object::Object;
use crate::json;

/// A block that is written, or waits for the ones before it.
#[derive(Debug)]
pub(super) enum Block {
    /// `waiting` is what has not been written yet, here and below.
    Text {
        waiting: String,
    },
    /// The signature is written at the end: accumulators take each signature delta for the whole signature.
    Thinking {
        waiting: String,
        signature: String,
    },
    Redacted {
        data: String,
    },
    ToolUse {
        call: usize,
        id: String,
        name: String,
        waiting: String,
        object: Object,
    },
}

impl Block {
    /// Whether nothing more can come of it once another block has begun.
    pub(super) const fn is_complete(&self) -> bool {
        match self {
            Self::Text { .. } | Self::Thinking { .. } | Self::Redacted { .. } => true,
            Self::ToolUse { object, .. } => object.is_complete(),
        }
    }

    pub(super) fn start(&mut self, out: &mut Vec<u8>, index: u64) {
        out.extend_from_slice(
            b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":",
        );
        json::number(out, index);
        out.extend_from_slice(b",\"content_block\":");
        match self {
            Self::Text { .. } => out.extend_from_slice(b"{\"type\":\"text\",\"text\":\"\"}"),
            Self::Thinking { .. } => {
                out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
            }
            Self::Redacted { data } => {
                out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
                json::string(out, data);
                out.push(b'}');
            }
            Self::ToolUse { id, name, .. } => {
                out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
                json::string(out, id);
                out.extend_from_slice(b",\"name\":");
                json::string(out, name);
                out.extend_from_slice(b",\"input\":{}}");
            }
        }
        out.extend_from_slice(b"}\n\n");
        match self {
            Self::Text { waiting } | Self::Thinking { waiting, .. } | Self::ToolUse { waiting, .. } => {
                let waiting = std::mem::take(waiting);
                if !waiting.is_empty() {
                    self.delta(out, index, &waiting);
                }
            }
            Self::Redacted { .. } => {}
        }
    }

    /// Writes more of it.
    pub(super) fn delta(&self, out: &mut Vec<u8>, index: u64, more: &str) {
        let (kind, field) = match self {
            Self::Text { .. } => ("text_delta", "text"),
            Self::Thinking { .. } => ("thinking_delta", "thinking"),
            Self::ToolUse { .. } => ("input_json_delta", "partial_json"),
            Self::Redacted { .. } => return,
        };
        delta(out, index, kind, field, more);
    }

    pub(super) fn stop(&self, out: &mut Vec<u8>, index: u64) {
        if let Self::Thinking { signature, .. } = self
            && !signature.is_empty()
        {
            delta(out, index, "signature_delta", "signature", signature);
        }
        out.extend_from_slice(
            b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
        );
        json::number(out, index);
        out.extend_from_slice(b"}\n\n");
    }
}

fn delta(out: &mut Vec<u8>, index: u64, kind: &str, field: &str, more: &str) {
    out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    json::number(out, index);
    out.extend_from_slice(b",\"delta\":{\"type\":");
    json::string(out, kind);
    out.push(b',');
    json::string(out, field);
    out.push(b':');
    json::string(out, more);
    out.extend_from_slice(b"}}\n\n");
}
