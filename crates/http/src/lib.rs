//! The HTTP API: routes, request and response types, problems, OpenAPI.
//!
//! A handler reads the request, runs one use case of the engine as a task of the main runtime, and writes the answer. A
//! client that goes away cuts no use case short. Rules live below; here are status codes and shapes.

mod body;
mod idempotency;
mod identity;
mod openapi;
mod problem;
mod public_url;
mod query;
mod request_id;
mod routes;
mod server;
mod state;
mod wire;

pub use openapi::openapi_json;
pub use problem::{Code, Problem};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use server::{HttpSettings, serve, serve_with};
pub use state::AppState;
