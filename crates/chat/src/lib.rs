//! A chat with a model, whatever API it is spoken in.
//!
//! A [`Chat`] is what a client asks for; a [`Delta`] is a piece of the answer as it is generated; a [`Reply`] is the whole answer. What
//! an API says beyond that stays in [`Original`], so that it reaches a backend that speaks the same API as the client wrote it. Beside chats,
//! there are [`EmbeddingTask`]s, which are answered by [`Vectors`].
//!
//! ```
//! use tithe_chat::{Delta, Finish, Part, ReplyBuilder};
//!
//! let mut reply = ReplyBuilder::default();
//! for delta in [
//!     Delta::Text("Let me ".into()),
//!     Delta::Text("see.".into()),
//!     Delta::ToolCall { index: 0, id: "call_1".into(), name: "weather".into() },
//!     Delta::Arguments { index: 0, json: "{\"city\":".into() },
//!     Delta::Arguments { index: 0, json: "\"Rome\"}".into() },
//! ] {
//!     reply.push(&delta);
//! }
//! let reply = reply.finish(Finish::ToolCalls);
//! assert_eq!(reply.text(), "Let me see.");
//! assert!(matches!(&reply.parts[1], Part::ToolCall(call) if call.arguments == "{\"city\":\"Rome\"}"));
//! ```

mod charge;
mod chat;
mod embeddings;
mod image;
mod message;
mod original;
mod reply;
mod tool;

pub use charge::Charge;
pub use chat::{Chat, Effort, ReplyFormat, Sampling, Schema};
pub use embeddings::{EmbeddingInput, EmbeddingTask, InvalidVectors, Vectors};
pub use image::{Image, ImageError, ImageKind};
pub use message::{Message, Part, Reasoning, Role, ToolCall, ToolResult};
pub use original::{Api, Original};
pub use reply::{Delta, Finish, Reply, ReplyBuilder};
pub use tool::{Tool, ToolChoice};
