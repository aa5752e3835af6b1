//! Throwaway PostgreSQL clusters and databases for tests and benchmarks, from the machine's own server programs.
//!
//! [`Cluster`] is a server of its own, for tests that crash it, measure it or need TLS. [`TestDatabase`] is for all
//! other tests: a separate database on a server that the whole run shares, copied from a template in about 10 ms. The
//! program `with-postgres` starts one server for a command that runs many test programs.
//!
//! Nothing is left behind, however the process ends: see [`Cluster`].
//!
//! PostgreSQL 13 is the oldest supported version.

mod cluster;
mod database;
mod error;
mod guardian;
mod install;
mod janitor;
mod programs;
mod run_as;
mod sql;

pub use cluster::{Cluster, ClusterOptions, TlsFiles};
pub use database::TestDatabase;
pub use error::ClusterError;

/// Installs PostgreSQL's server programs where a machine has none: by the system's package manager, or below Cargo's target folder.
/// Returns their folder; `None` if there is no way.
#[must_use]
pub fn install_programs() -> Option<std::path::PathBuf> {
    install::install(&install::folder())
}

/// The environment variable with the URL of the administrative database of this run's server.
pub const URL_VARIABLE: &str = "TITHE_TEST_POSTGRES_URL";

/// The environment variable with the folder of the server programs.
pub const BIN_VARIABLE: &str = "TITHE_TEST_POSTGRES_BIN";
