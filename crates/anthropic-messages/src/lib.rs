//! Anthropic's messages API, both sides.

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
