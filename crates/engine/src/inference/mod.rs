//! AI backends: the port to them, and the one function that runs a model.

mod port;
mod run;

pub use port::{
    ChatEvent, ChatRequest, ChatStream, Completion, FinishReason, Inference, InferenceError, Message, Role,
};
pub use run::{Answer, Listener, run};
