//! The services behind mounted routes, over HTTP.
//!
//! A call is sent once, over a connection of its own, to the host that the operator has named: redirects and the environment's proxies are not
//! followed. Every wait is bounded, and so is the answer. Of an answer, only headers are passed on that describe its body, or say where else
//! or when to ask.

mod address;
mod answer;
mod reachable;
mod tokens;
mod upstream;

pub use address::{InvalidHeader, InvalidUpstreamUrl, UpstreamHeaders, UpstreamUrl};
pub use upstream::{HttpUpstream, SetupError, UpstreamSettings};
