//! What backends read and write.

mod counts;
mod encode;
mod error;
mod events;
mod original;
mod raw;
mod reasoning;
mod request;
mod translate;
mod unsigned;
mod whole;

pub use encode::encode_request;
pub use error::BackendError;
pub use events::{Events, Step};
pub use original::backend_headers;
pub use request::{BackendRequest, EffortStyle, SamplingStyle};
pub use whole::parse_reply;

#[cfg(test)]
mod reply_tests;
#[cfg(test)]
mod request_tests;
