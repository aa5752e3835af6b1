//! AI backends: the adapters of [`tithe_engine::inference::Inference`].
//!
//! - [`OpenAiCompatible`] speaks the APIs of chat completions and of embeddings, which most hosted and self-hosted servers understand;
//! - [`Anthropic`] speaks the messages API;
//! - [`SimInference`] is a deterministic simulation that can be instructed to fail.
//!
//! An adapter sends each request once. [`Guarded`] adds retries and a circuit breaker to any of them:
//!
//! ```
//! use std::sync::Arc;
//! use tithe_clock::{SystemClock, SystemEntropy};
//! use tithe_inference::{Guarded, GuardSettings, OpenAiCompatible, OpenAiSettings};
//!
//! let settings = OpenAiSettings::new("http://127.0.0.1:4200/v1".parse()?, Some("sk-lab".parse()?));
//! let backend = OpenAiCompatible::new(settings)?;
//! let backend = Guarded::new(backend, GuardSettings::default(), Arc::new(SystemClock), Arc::new(SystemEntropy));
//! # let _ = backend;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A backend's own description of a failure is for the operator only: it is in the [`BackendFailure`] that is the
//! error's `source()`, never in its `Display`.
//!
//! Dropping a completion, whole or streamed, before it ends closes the connection to the backend. No task of this crate
//! outlives its request.

mod anthropic;
mod chat_stream;
mod failure;
mod guard;
mod openai;
mod sampling;
mod sim;
mod sse;
mod transport;

pub use anthropic::{Anthropic, AnthropicSettings};
pub use failure::BackendFailure;
pub use guard::{
    Admission, Blame, Breaker, BreakerSettings, BreakerState, GuardSettings, Guarded, RequestId,
    RetrySettings,
};
pub use openai::{OpenAiCompatible, OpenAiSettings, OutputLimitField};
pub use sampling::ZeroTemperature;
pub use sim::{SimInference, SimSettings};
pub use transport::{ApiKey, ApiKeyError, BackendText, BaseUrl, BaseUrlError, Limits, SetupError};
