use std::io;
use std::path::PathBuf;

/// The reason why a test cluster is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The PostgreSQL server programs are not installed.
    #[error(
        "PostgreSQL's server programs (initdb, postgres) were not found: install your system's postgresql package \
         (Debian: apt-get install postgresql) or set TITHE_TEST_POSTGRES_BIN"
    )]
    NotFound,
    /// The configured folder does not contain the server programs.
    #[error(
        "PostgreSQL's server programs (initdb, postgres) are not in {0}, which TITHE_TEST_POSTGRES_BIN names"
    )]
    NotThere(PathBuf),
    /// The process runs as root, and no other user can run the server.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user postgres (with runuser, setpriv or su) nor a \
         working unshare: add the user, or run this as another"
    )]
    Root,
    /// A system call failed.
    #[error("{doing}: {error}")]
    Io {
        /// The operation.
        doing: String,
        /// The system error.
        error: io::Error,
    },
    /// One of PostgreSQL's programs failed.
    #[error("{program} failed: {output}\n{log}")]
    Failed {
        /// The program.
        program: String,
        /// The program's output.
        output: String,
        /// The end of the server's log, which often has more detail.
        log: String,
    },
}

/// Adds the operation to a system error.
pub trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError> {
        self.map_err(|error| ClusterError::Io { doing: what.into(), error })
    }
}
