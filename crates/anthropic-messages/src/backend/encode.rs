//! The body of a request: the client's own, or a translation.

use super::request::BackendRequest;
use super::{original, translate};
use tithe_chat::{Api, Chat};

/// Appends the body of a request to `POST /v1/messages`. A chat of this API is passed on as its client wrote it; one of another API is
/// translated, and what this API cannot say is left out.
pub fn encode_request(out: &mut Vec<u8>, chat: &Chat, request: &BackendRequest<'_>) {
    match chat.original.as_ref().filter(|original| original.api == Api::AnthropicMessages) {
        Some(original) => original::encode(out, chat, original, request),
        None => translate::encode(out, chat, request),
    }
}
