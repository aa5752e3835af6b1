//! The store for production and for more than one server: PostgreSQL, without libpq.
//!
//! Batches use a dedicated connection with two pipelined round trips (`writer`); everything else uses a pool.
//! Transactions are named, and are retried on conflicts and while the database is unavailable, for as long as the
//! settings' patience allows. If the response to a commit is lost, the outcome is looked up. The store locks, loads and
//! writes; it makes no decisions.

mod audit;
mod batch;
mod connect_error;
mod connector;
mod copy;
mod facts;
mod failure;
mod hosts;
mod listen;
mod migrate;
mod notify;
mod open_error;
mod parts;
mod pool;
mod pooler;
mod position;
mod reads;
mod retention;
mod server_id;
mod settings;
mod simple_query;
mod store;
mod table;
mod texts;
mod timeline_file;
mod timelines;
mod tls;
mod transaction;
mod url;
mod writer;

pub use copy::PostgresTables;
pub use facts::PostgresFacts;
pub use open_error::OpenError;
pub use pooler::Pooled;
pub use settings::PostgresSettings;
pub use store::PostgresStore;
pub use timeline_file::TimelineFileError;
pub use timelines::{Refused, Timelines};
pub use url::UrlError;
