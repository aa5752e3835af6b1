//! Errors of LNbits.

use std::fs;
use std::io;
use std::path::Path;

/// The number of log lines to show.
const TAIL: usize = 40;

/// The reason why there is no LNbits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LnbitsError {
    /// LNbits cannot be installed on this machine: there is no suitable Python, or no package index. Tests should say so loudly,
    /// and do without.
    #[error("LNbits cannot be installed: {0}")]
    Unavailable(String),
    /// A system call failed.
    #[error("{doing} failed")]
    Io {
        /// The operation: "making a folder", ….
        doing: &'static str,
        /// The system error.
        #[source]
        source: io::Error,
    },
    /// LNbits did not start.
    #[error("LNbits did not start:\n{log}")]
    NotStarted {
        /// The end of its log.
        log: String,
    },
    /// LNbits refused what a new installation needs.
    #[error("LNbits refused {doing}: {answer}")]
    Refused {
        /// The operation: "the first login", ….
        doing: &'static str,
        /// What it answered.
        answer: String,
    },
}

/// Adds the operation to a system error.
pub trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, LnbitsError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, LnbitsError> {
        self.map_err(|source| LnbitsError::Io { doing: what, source })
    }
}

/// The last lines of LNbits' log.
pub fn log_tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}
