//! Reading a kept request.

use super::super::request_finish::RenderRequest;
use crate::metered::Prompt;
use std::sync::Arc;
use tithe_sessions::SentRequest;

/// A request that was read.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// What is asked of the model.
    pub prompt: Prompt,
    /// Renders the response that is stored for the request's proof.
    pub render: Arc<dyn RenderRequest>,
}

/// Reads requests as they were sent: what a handler makes of one when it comes.
pub trait ReadSent: Send + Sync {
    /// The request; `None` if it is none that is understood here.
    fn read(&self, sent: &SentRequest) -> Option<ReadRequest>;
}
