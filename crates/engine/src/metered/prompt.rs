//! What a metered request asks of the model.

use crate::mounts::MountedCall;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tithe_chat::{Chat, EmbeddingTask};
use tithe_free_tier::RequestHash;

/// What a metered request asks of the model, or of the service behind a mounted route.
#[derive(Debug, Clone)]
pub struct Prompt {
    chat: Arc<Chat>,
    text: Option<String>,
    embeddings: Option<Arc<EmbeddingTask>>,
    call: Option<Arc<MountedCall>>,
    hash: RequestHash,
}

impl Prompt {
    /// One text, which is evaluated first if the operator wants that.
    #[must_use]
    pub fn text(text: String) -> Self {
        let (chat, hash) = (Arc::new(Chat::of(text.as_str())), RequestHash::of(&text));
        Self { chat, hash, text: Some(text), embeddings: None, call: None }
    }

    /// A chat of the AI API, which is not evaluated. `body` is the request as it was sent.
    #[must_use]
    pub fn chat(chat: Chat, body: &[u8]) -> Self {
        let hash = RequestHash::from_bytes(Sha256::digest(body).into());
        Self { chat: Arc::new(chat), text: None, embeddings: None, call: None, hash }
    }

    /// Texts that are embedded, which are not evaluated. `body` is the request as it was sent.
    #[must_use]
    pub fn embeddings(task: EmbeddingTask, body: &[u8]) -> Self {
        Self { embeddings: Some(Arc::new(task)), ..Self::chat(Chat::default(), body) }
    }

    /// A call of the service behind a mounted route. `hash` is that of the request.
    #[must_use]
    pub fn call(call: MountedCall, hash: RequestHash) -> Self {
        Self { call: Some(Arc::new(call)), hash, ..Self::chat(Chat::default(), b"") }
    }

    /// The call of a mounted route, if that is what is asked for.
    #[must_use]
    pub const fn as_call(&self) -> Option<&Arc<MountedCall>> {
        self.call.as_ref()
    }

    /// The texts that are embedded, if that is what is asked for.
    pub(crate) const fn as_embeddings(&self) -> Option<&Arc<EmbeddingTask>> {
        self.embeddings.as_ref()
    }

    /// The chat that the model continues; an empty one if texts are embedded, or a service is called.
    pub(crate) const fn as_chat(&self) -> &Arc<Chat> {
        &self.chat
    }

    /// The text, which can be evaluated; `None` for everything else.
    pub(crate) fn as_text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The SHA-256 of the request.
    #[must_use]
    pub const fn hash(&self) -> RequestHash {
        self.hash
    }
}
