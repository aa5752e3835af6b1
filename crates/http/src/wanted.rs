//! A request of a customer, whoever pays for it.

use crate::problem::Problem;
use std::sync::Arc;
use tithe_engine::EngineError;
use tithe_engine::asks::RenderAsk;
use tithe_engine::metered::Prompt;
use tithe_engine::sessions::RenderRequest;
use uuid::Uuid;

/// A request that is to be done for whoever pays for it.
pub(crate) struct Wanted<F> {
    /// The id of the request; `None` lets the engine choose one.
    pub(crate) id: Option<Uuid>,
    /// What is asked of the model.
    pub(crate) prompt: Prompt,
    /// The model; `None` means the operator's choice.
    pub(crate) model: Option<String>,
    /// The most output wanted, in tokens.
    pub(crate) max_output_tokens: Option<u64>,
    /// Whether the answer is sent as it is generated.
    pub(crate) is_stream: bool,
    /// Renders what is stored of an answer that a session pays for.
    pub(crate) of_session: Arc<dyn RenderRequest>,
    /// Renders what is stored of an answer that an install's plan includes, or that the pool pays for.
    pub(crate) of_others: Arc<dyn RenderAsk>,
    /// What the responses look like.
    pub(crate) format: F,
    /// The problem for a failure of the engine.
    pub(crate) problem: fn(EngineError) -> Problem,
}
