//! AI backends: the port to them, and the one function that runs a model.

mod health;
mod meter;
mod port;
mod run;
mod run_metrics;

pub use health::{BackendHealth, probe};
pub(crate) use health::{ModelsInUse, PROBE_OUTPUT_MAX, PROBE_TEXT, ProbeUsage};
pub use meter::{Answer, Meter};
pub use port::{
    ChatEvent, ChatRequest, ChatStream, Completion, FinishReason, Inference, InferenceError, Message, Role,
    TEXT_BYTES_MAX,
};
pub use run::{Listener, run};
