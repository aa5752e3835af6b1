//! The store for production and for more than one server: PostgreSQL, without libpq.
//!
//! Batches go through one connection of their own, in two pipelined round trips (`writer`); everything else goes through a
//! pool. Transactions have names, and are retried when the database asks for it or is unavailable, for as long as the
//! settings' patience lasts; a commit whose answer was lost is looked up, not guessed. The store locks, loads and writes;
//! it decides nothing.

mod audit;
mod batch;
mod connector;
mod failure;
mod listen;
mod migrate;
mod notify;
mod open_error;
mod parts;
mod pool;
mod reads;
mod server_id;
mod settings;
mod store;
mod table;
mod tls;
mod transaction;
mod url;
mod writer;

pub use open_error::OpenError;
pub use settings::PostgresSettings;
pub use store::PostgresStore;
pub use url::UrlError;
