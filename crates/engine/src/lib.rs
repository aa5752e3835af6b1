//! The use cases of Tithe, over ports.
//!
//! The engine reads through the ports, lets the domain decide, and writes through the ports; it knows no database, no
//! wallet, no model and no HTTP. Money moves in [`books::Command`]s, which the [`committer::Committer`] batches and the
//! books (pure code) decide. Nothing is ever open across a network call: calls to wallets and models are steps between
//! two commits.
//!
//! [`Engine`] assembles services; each is a folder with its use cases and its commands.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tithe_engine::{Engine, Ports, Settings};
//! use tithe_trust::{Secret, Secrets};
//!
//! # async fn example(ports: Ports) -> Result<(), Box<dyn std::error::Error>> {
//! // Another service that embeds the engine brings its own adapters.
//! let secrets = Secrets::new(Secret::new("at least 32 random bytes").unwrap(), vec![]);
//! let engine = Arc::new(Engine::new(ports, Settings::default(), &secrets)?);
//! engine.pool.open().await?;
//! let running = engine.start();
//! let estimate = engine.quotes.estimate("Why is the sky blue?", None, None, None).await?;
//! println!("about {}", estimate.expected.to_sats_rounding_up()?);
//! running.stop(std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```

mod admission;
pub mod asks;
pub mod audit;
mod background;
pub mod books;
pub mod bootstraps;
pub mod charging;
mod claim_token;
pub mod committer;
mod core;
pub mod credits;
mod engine;
mod error;
mod error_chain;
pub mod idempotency;
pub mod identities;
pub mod inference;
pub mod jobs;
pub mod log;
mod measuring;
pub mod metered;
pub mod mounts;
pub mod payments;
pub mod payouts;
pub mod pool;
mod ports;
mod purchases;
pub mod quotes;
mod readiness;
pub mod receipts;
pub mod reconciliation;
pub mod records;
mod retention;
mod sales;
pub mod servers;
pub mod sessions;
mod settings;
pub mod store;
pub mod telemetry;
pub mod texts;
mod watched_wallet;

pub use background::Running;
pub use claim_token::ClaimTokens;
pub use engine::Engine;
pub use error::{
    EngineError, InvalidCredential, InvalidProof, PaidRequestError, PaymentNeeded, RequestError,
};
pub use ports::{Hardware, Ports};
pub use readiness::Readiness;
pub use settings::{CreditSettings, Settings, WhenClientLeaves};
