//! OpenAI's chat completions and embeddings APIs, both sides: what clients send and read, and what backends do.
//!
//! Nothing here does any I/O. Towards clients, [`ChatCompletionRequest`] reads a request into a [`tithe_chat::Chat`], [`reply`] writes a
//! whole answer, [`Encoder`] a streamed one, and [`ApiError`] an error. Towards backends, [`backend`] writes requests and reads answers.
//! [`embeddings`] does both for embeddings.
//!
//! ```
//! use tithe_chat::{Delta, Finish};
//! use tithe_openai_chat::{ChatCompletionRequest, Encoder, Meta, Spent};
//! use tithe_pricing::Usage;
//!
//! let body = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
//! let request = ChatCompletionRequest::decode(body)?;
//!
//! let mut out = Vec::new();
//! let meta = Meta { id: "chatcmpl-1", created: 1_790_000_000, model: &request.model };
//! let mut encoder = Encoder::new(&meta, request.include_usage);
//! encoder.delta(&mut out, &Delta::Text("Hi!".into()));
//! encoder.finish(&mut out, Finish::Stop, &Spent::of(Usage::ZERO));
//! assert!(out.ends_with(b"data: [DONE]\n\n"));
//! # Ok::<(), tithe_openai_chat::RequestError>(())
//! ```

pub mod backend;
pub mod embeddings;
mod error;
mod json;
pub mod reply;
mod request;
mod request_error;
mod spent;
mod stream;

pub use error::{ApiError, code_of_status, kind_of_status};
pub use reply::Meta;
pub use request::ChatCompletionRequest;
pub use request_error::RequestError;
pub use spent::Spent;
pub use stream::{Encoder, KEEP_ALIVE};
