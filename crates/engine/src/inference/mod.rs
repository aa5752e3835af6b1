//! AI backends: the port to them, and the one function that runs a model.

mod attempts;
mod cover;
mod embed;
mod health;
mod meter;
mod port;
mod prompt;
mod routes;
mod run;
mod run_metrics;

pub(crate) use attempts::Attempts;
pub(crate) use cover::{Cover, OUTPUT_STEP};
pub(crate) use embed::{Embedded, embed};
pub use health::{BackendHealth, probe};
pub(crate) use health::{ModelsInUse, PROBE_OUTPUT_MAX, PROBE_TEXT, ProbeUsage};
pub use meter::{Answer, Meter};
pub use port::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
    TEXT_BYTES_MAX,
};
pub(crate) use prompt::{embedding_tokens, input_tokens};
pub(crate) use routes::Target;
pub use routes::{MAIN_BACKEND, Route, RouteError, RouteTarget, Routes};
pub use run::{Listener, run};

use tithe_chat::Finish;
use tithe_pricing::FinishReason;

/// How an answer ended, for the record. A reason that nobody knows may be a bad one.
pub(crate) const fn finish_reason(finish: Finish) -> FinishReason {
    match finish {
        Finish::Stop | Finish::ToolCalls => FinishReason::Stop,
        Finish::Length => FinishReason::Length,
        Finish::ContentFilter => FinishReason::ContentFilter,
        Finish::Other => FinishReason::Interrupted,
    }
}
