//! Anthropic's messages API, both sides: what clients send and read ([`MessagesRequest`], [`encode_reply`], [`Encoder`],
//! [`encode_error`]), and what backends do ([`backend`]). It does no I/O.
//!
//! The shapes are those of API versions 2023-06-01 and 2026-10-21, which differ in what requests may have only; requests of both are
//! taken. What the API does not know (`cost`, `cost_msats`, `absorbed_msats` in `usage`, `metadata` in errors) stands where the
//! official SDKs keep unknown fields.
//!
//! ```
//! use tithe_anthropic_messages::{Encoder, MessagesRequest};
//! use tithe_chat::{Delta, Finish};
//! use tithe_pricing::Usage;
//!
//! let body = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
//! let request = MessagesRequest::decode(body, Vec::new())?;
//! assert!(request.stream);
//!
//! let mut out = Vec::new();
//! let input = Usage { input_tokens: 8, ..Usage::ZERO };
//! let mut encoder = Encoder::start(&mut out, "msg_1", &request.model, &input);
//! encoder.delta(&mut out, &Delta::Text("Hi!".into()));
//! encoder.finish(&mut out, Finish::Stop, &Usage { output_tokens: 2, ..input }, None);
//! assert!(out.ends_with(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
//! # Ok::<(), tithe_anthropic_messages::RequestError>(())
//! ```

pub mod backend;
mod error;
mod json;
mod reply;
mod request;
mod stop_reason;
mod stream;
mod usage;

pub use error::{ErrorBody, encode_error, error_type};
pub use reply::{encode_reply, encode_token_count};
pub use request::{CountTokensRequest, MessagesRequest, RequestError};
pub use stream::Encoder;
