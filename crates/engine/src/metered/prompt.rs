//! What a metered request asks of the model.

use sha2::{Digest, Sha256};
use std::sync::Arc;
use tithe_chat::{Chat, EmbeddingTask};
use tithe_free_tier::RequestHash;

/// What a metered request asks of the model.
#[derive(Debug, Clone)]
pub struct Prompt {
    chat: Arc<Chat>,
    text: Option<String>,
    embeddings: Option<Arc<EmbeddingTask>>,
    hash: RequestHash,
}

impl Prompt {
    /// One text, which is evaluated first if the operator wants that.
    #[must_use]
    pub fn text(text: String) -> Self {
        let (chat, hash) = (Arc::new(Chat::of(text.as_str())), RequestHash::of(&text));
        Self { chat, hash, text: Some(text), embeddings: None }
    }

    /// A chat of the AI API, which is not evaluated. `body` is the request as it was sent.
    #[must_use]
    pub fn chat(chat: Chat, body: &[u8]) -> Self {
        let hash = RequestHash::from_bytes(Sha256::digest(body).into());
        Self { chat: Arc::new(chat), text: None, embeddings: None, hash }
    }

    /// Texts that are embedded, which are not evaluated. `body` is the request as it was sent.
    #[must_use]
    pub fn embeddings(task: EmbeddingTask, body: &[u8]) -> Self {
        Self { embeddings: Some(Arc::new(task)), ..Self::chat(Chat::default(), body) }
    }

    /// The texts that are embedded, if that is what is asked for.
    pub(crate) const fn as_embeddings(&self) -> Option<&Arc<EmbeddingTask>> {
        self.embeddings.as_ref()
    }

    /// The chat that the model continues; an empty one if texts are embedded.
    pub(crate) const fn as_chat(&self) -> &Arc<Chat> {
        &self.chat
    }

    /// The text, which can be evaluated; `None` for a chat, and for texts that are embedded.
    pub(crate) fn as_text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The SHA-256 of the request.
    #[must_use]
    pub const fn hash(&self) -> RequestHash {
        self.hash
    }
}
