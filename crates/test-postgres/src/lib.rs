//! Throwaway PostgreSQL clusters and databases for tests and benchmarks, from the machine's own server programs.
//!
//! [`Cluster`] is a server of a test's own, for those that crash it, measure it or need TLS. [`TestDatabase`] is what
//! any other test wants: a database of its own on a server that the whole run shares, copied from a template in some
//! 10 ms. The program `with-postgres` starts one server for a command that runs many test programs.
//!
//! Nothing is left behind, however the process ends: see [`Cluster`].
//!
//! PostgreSQL 13 is the oldest that will do.

mod cluster;
mod database;
mod error;
mod guardian;
mod janitor;
mod programs;
mod run_as;
mod sql;

pub use cluster::{Cluster, ClusterOptions, TlsFiles};
pub use database::TestDatabase;
pub use error::ClusterError;

/// The environment variable that names the server of this run, by the URL of its administrative database.
pub const URL_VARIABLE: &str = "TITHE_TEST_POSTGRES_URL";

/// The environment variable that names the folder of the server's programs.
pub const BIN_VARIABLE: &str = "TITHE_TEST_POSTGRES_BIN";
