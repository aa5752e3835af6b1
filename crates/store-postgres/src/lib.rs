//! The store for production and for more than one server: PostgreSQL, without libpq.
//!
//! Batches go through one connection of their own, in two pipelined flights (`writer`); everything else goes through a
//! pool. Transactions have names, and are tried again when the database asks for it or goes away, for as long as the
//! settings' patience lasts; a commit whose answer was lost is looked up, not guessed. The store locks, loads and writes;
//! it decides nothing.

mod audit;
mod batch;
mod connect;
mod failure;
mod migrate;
mod parts;
mod pool;
mod reads;
mod steps;
mod table;
mod tls;
mod transaction;
mod url;
mod writer;

pub use connect::{OpenError, PostgresSettings, PostgresStore};
pub use url::UrlError;
