//! Reasoning that another backend has written, in a request of this API.

use crate::json;
use crate::request::fields::Fields;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Chat, Part};

/// Whether a chat has reasoning that this API has not signed. It refuses such a chat, and would for ever after: a client repeats what a
/// fallback of another API has answered.
pub(super) fn is_in(chat: &Chat) -> bool {
    let mut parts = chat.messages.iter().flat_map(|message| &message.parts);
    parts.any(|part| matches!(part, Part::Reasoning(reasoning) if reasoning.signature.is_none()))
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: Option<String>,
    signature: Option<String>,
}

fn is_unsigned(block: &RawValue) -> bool {
    Block::deserialize(block).is_ok_and(|block| {
        block.kind.as_deref() == Some("thinking")
            && block.signature.is_none_or(|signature| signature.is_empty())
    })
}

/// Appends the messages without it. Everything else stays as the client wrote it.
pub(super) fn encode_messages_without(out: &mut Vec<u8>, messages: &RawValue) {
    let Ok(values) = Vec::<&RawValue>::deserialize(messages) else {
        out.extend_from_slice(messages.get().as_bytes());
        return;
    };
    out.push(b'[');
    let mut is_first = true;
    for value in values {
        let Some((fields, blocks)) = with_unsigned(value) else {
            json::comma(out, &mut is_first);
            out.extend_from_slice(value.get().as_bytes());
            continue;
        };
        let kept: Vec<&RawValue> = blocks.into_iter().filter(|block| !is_unsigned(block)).collect();
        if !kept.is_empty() {
            json::comma(out, &mut is_first);
            message(out, &fields, &kept);
        }
    }
    out.push(b']');
}

/// The fields and the blocks of a message that has such reasoning.
fn with_unsigned(message: &RawValue) -> Option<(Fields<'_>, Vec<&RawValue>)> {
    let fields = Fields::deserialize(message).ok()?;
    let blocks = Vec::<&RawValue>::deserialize(fields.get("content")?).ok()?;
    blocks.iter().any(|block| is_unsigned(block)).then_some((fields, blocks))
}

fn message(out: &mut Vec<u8>, fields: &Fields<'_>, blocks: &[&RawValue]) {
    out.push(b'{');
    let mut is_first = true;
    for (name, value) in fields.iter() {
        json::comma(out, &mut is_first);
        json::string(out, name);
        out.push(b':');
        if name != "content" {
            out.extend_from_slice(value.get().as_bytes());
            continue;
        }
        out.push(b'[');
        let mut is_first_block = true;
        for block in blocks {
            json::comma(out, &mut is_first_block);
            out.extend_from_slice(block.get().as_bytes());
        }
        out.push(b']');
    }
    out.push(b'}');
}
