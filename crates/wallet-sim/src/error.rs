//! What can go wrong with the wallet's folder.

use std::io;
use std::path::PathBuf;
use tithe_lightning::WalletError;

/// Why a line of the journal cannot be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is not what this version writes.
    #[error("it is not a record")]
    Unreadable(#[source] serde_json::Error),
    /// It contradicts the lines before it, or itself.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// Why the wallet's folder could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A file or the folder could not be made, read, locked or written.
    #[error("{what} {} failed", path.display())]
    Io {
        /// What was tried: "opening", "locking", ….
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file with the node's key does not hold one.
    #[error("{} does not hold a node key: 64 hex digits", .0.display())]
    Key(PathBuf),
    /// A whole line of the journal is damaged. Nothing after it is believed.
    #[error("line {line} of the journal is damaged")]
    Line {
        /// Which, counted from one.
        line: u64,
        /// Why.
        source: LineError,
    },
    /// The journal has become shorter than what was read of it before: something else than this wallet changed it.
    #[error("the journal was cut short by something else")]
    CutShort,
    /// The task that did the file's work was lost; the process is shutting down.
    #[error("the wallet's file work was abandoned")]
    Abandoned(#[source] tokio::task::JoinError),
}

impl SimError {
    /// Whether the work may have been done although it failed.
    const fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::Abandoned(_))
    }
}

impl From<SimError> for WalletError {
    /// A failure before or while a record is written means that nothing has happened: a record counts from its
    /// closing newline on, which is written last.
    fn from(error: SimError) -> Self {
        if error.outcome_is_unknown() {
            Self::OutcomeUnknown(Some(Box::new(error)))
        } else {
            Self::Unavailable(Some(Box::new(error)))
        }
    }
}
