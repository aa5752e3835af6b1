//! The HTTP API: routes, request and response types, problems, OpenAPI.
//!
//! A handler reads the request, runs one use case of the engine as a task on the main runtime, and writes the response.
//! A use case runs to completion even if the client disconnects. Business rules live in the engine; this crate owns
//! status codes and JSON shapes.

mod access_log;
mod admin_token;
mod ai;
mod answer_headers;
mod answering;
mod body;
mod credentials;
mod decisive_headers;
mod discovery;
mod idempotency;
mod licence;
mod limits;
mod metrics_page;
mod mounted;
mod offers;
mod openapi;
mod paid_request;
mod passed_on;
mod payers;
mod payment_proof;
mod payment_sessions;
mod port;
mod problem;
mod public_url;
mod query;
mod receipts;
mod request_id;
mod routes;
mod sent_reader;
mod sent_request;
mod server;
mod shared_text;
mod state;
pub mod telemetry;
mod wanted;
mod wire;

pub use admin_token::AdminToken;
pub use limits::{ForwardedHeader, LimitSettings, UnknownForwardedHeader};
pub use metrics_page::{MetricsPage, serve_metrics};
pub use mounted::{InvalidMounts, check_mounts};
pub use openapi::openapi_json;
pub use passed_on::{InvalidPassedHeader, check_passed_header};
pub use port::{OpenPort, Port};
pub use problem::{Code, Problem};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use server::{HttpSettings, serve, serve_with};
pub use state::AppState;
