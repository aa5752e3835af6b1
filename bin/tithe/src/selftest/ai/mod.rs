//! The APIs of OpenAI and Anthropic, as their clients use them: requests, and answers read as strictly as the strictest client reads them.

mod chat;
mod error;
mod frames;
mod messages;
mod reply;
mod responses;
mod wire;

pub(super) use error::{is_asked, shape_fault};
pub(super) use reply::Reply;
pub(super) use wire::{TOOL, Wire, with};

/// The beginning of the paths of these APIs.
const ROOT: &str = "/v1/";
