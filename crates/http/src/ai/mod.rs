//! The AI API: what its wires have in common. The wires themselves are crates of their own.

mod answered;
mod chat_wire;
mod embeddings_wire;
mod messages_wire;
mod payer;
mod responses_wire;
mod stored_vectors;
mod wire;

pub(crate) use answered::render_answer;
pub(crate) use chat_wire::ChatWire;
pub(crate) use embeddings_wire::EmbeddingsWire;
pub(crate) use messages_wire::MessagesWire;
pub(crate) use payer::{Asked, have_answered, have_embedded};
pub(crate) use responses_wire::ResponsesWire;
