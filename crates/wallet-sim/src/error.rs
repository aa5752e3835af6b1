//! Errors of the wallet's folder.

use std::io;
use std::path::PathBuf;
use tithe_lightning::WalletError;

/// The reason why a journal line is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line is not a record of this version.
    #[error("not a journal record")]
    Unreadable(#[source] serde_json::Error),
    /// The record contradicts an earlier one, or itself.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// The reason why the wallet's folder could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A file or folder could not be created, read, locked or written.
    #[error("{what} {} failed", path.display())]
    Io {
        /// The operation: "opening", "locking", ….
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// The node key file does not contain a key.
    #[error("invalid node key in {}: expected 64 hex digits", .0.display())]
    Key(PathBuf),
    /// A complete line of the journal is damaged. Later lines are not read.
    #[error("damaged journal: line {line} is invalid")]
    Line {
        /// The line number, counted from one.
        line: u64,
        /// The cause.
        source: LineError,
    },
    /// The journal is shorter than the part already read: something other than this wallet changed it.
    #[error("damaged journal: truncated by another program")]
    CutShort,
    /// The file task was cancelled because the process is shutting down.
    #[error("wallet file operation cancelled")]
    Abandoned(#[source] tokio::task::JoinError),
}

impl SimError {
    /// Returns true if the operation may have taken effect although it failed.
    const fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::Abandoned(_))
    }
}

impl From<SimError> for WalletError {
    /// A failure before or while a record is written has no effect: a record counts once its closing newline is
    /// written, which comes last.
    fn from(error: SimError) -> Self {
        if error.outcome_is_unknown() {
            Self::OutcomeUnknown(Some(Box::new(error)))
        } else {
            Self::Unavailable(Some(Box::new(error)))
        }
    }
}
