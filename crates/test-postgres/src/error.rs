use std::io;
use std::path::PathBuf;

/// Why a cluster does not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The machine has no server programs.
    #[error(
        "PostgreSQL's server programs (initdb, postgres) were not found: install your system's postgresql package \
         (Debian: apt-get install postgresql) or set TITHE_TEST_POSTGRES_BIN"
    )]
    NotFound,
    /// The folder that was named has no server programs.
    #[error(
        "PostgreSQL's server programs (initdb, postgres) are not in {0}, which TITHE_TEST_POSTGRES_BIN names"
    )]
    NotThere(PathBuf),
    /// We are root, and there is nobody else to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user postgres (with runuser, setpriv or su) nor a \
         working unshare: add the user, or run this as another"
    )]
    Root,
    /// The machine refused something.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the machine says.
        error: io::Error,
    },
    /// One of PostgreSQL's programs failed.
    #[error("{program} failed: {output}\n{log}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        output: String,
        /// The end of the server's log, which often says more.
        log: String,
    },
}

/// Says what was being done when the machine refused.
pub trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError> {
        self.map_err(|error| ClusterError::Io { doing: what.into(), error })
    }
}
