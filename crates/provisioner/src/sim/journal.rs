//! The records of the simulated nodes: one file per order, in a folder that several processes share.
//!
//! A record is replaced as a whole, by renaming a new file to its name, so that a reader finds either the old or the new one. A
//! writer holds the exclusive lock of the folder's lock file, which the operating system releases when the process dies. Files are
//! not synced to disk: they survive a process crash, not a power failure. No real nodes are at stake.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tithe_bootstrap::{BootstrapId, CreateError, LookupError};

const LOCK_FILE: &str = "lock";

/// The reason why the simulation's folder could not be used.
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
    /// A file does not contain a record.
    #[error("damaged record {}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The file task was cancelled because the process is shutting down.
    #[error("file operation cancelled")]
    Cancelled(#[source] tokio::task::JoinError),
}

impl From<SimError> for CreateError {
    /// A failure before or while a record is written has no effect: a record counts once it has its name, which comes last.
    fn from(error: SimError) -> Self {
        let reason = crate::excerpt::with_causes(&error);
        match error {
            SimError::Io { .. } => Self::Unavailable { reason, retry_after: None },
            SimError::Damaged { .. } | SimError::Cancelled(_) => Self::Unknown { reason },
        }
    }
}

impl From<SimError> for LookupError {
    fn from(error: SimError) -> Self {
        Self { reason: crate::excerpt::with_causes(&error) }
    }
}

/// What is known of the nodes of one order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// How many nodes were ever made.
    pub made: u32,
    /// Whether the last one was destroyed.
    pub destroyed: bool,
    /// How many lookups still report it as pending.
    pub pending_lookups: u32,
    /// Whether it fails in the end.
    pub fails: bool,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
}

impl Journal {
    pub fn open(folder: &Path) -> Result<Self, SimError> {
        std::fs::create_dir_all(folder).map_err(failed("creating", folder))?;
        let journal = Self { folder: folder.to_owned() };
        journal.lock_file()?;
        Ok(journal)
    }

    pub fn read(&self, id: BootstrapId) -> Result<Option<Record>, SimError> {
        let path = self.path(id);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("reading", &path)(error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|source| SimError::Damaged { path, source })
    }

    /// Changes the record of an order while nobody else does.
    pub fn update<T>(
        &self,
        id: BootstrapId,
        change: impl FnOnce(&mut Option<Record>) -> T,
    ) -> Result<T, SimError> {
        // Each call opens the file anew: the lock belongs to the open file, not to the process.
        let lock = self.lock_file()?;
        lock.lock().map_err(failed("locking", &self.folder))?;
        let mut record = self.read(id)?;
        let result = change(&mut record);
        if let Some(record) = record {
            self.write(id, &record)?;
        }
        Ok(result)
    }

    fn write(&self, id: BootstrapId, record: &Record) -> Result<(), SimError> {
        let path = self.path(id);
        // Only the holder of the lock writes, so the name need not be unique.
        let new = path.with_extension("new");
        let text =
            serde_json::to_vec(record).map_err(|source| SimError::Damaged { path: path.clone(), source })?;
        std::fs::write(&new, text).map_err(failed("writing", &new))?;
        std::fs::rename(&new, &path).map_err(failed("renaming", &new))
    }

    fn lock_file(&self) -> Result<File, SimError> {
        let path = self.folder.join(LOCK_FILE);
        let file = File::options().create(true).append(true).open(&path);
        file.map_err(failed("opening", &path))
    }

    fn path(&self, id: BootstrapId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SimError {
    let path = path.to_owned();
    move |source| SimError::Io { what, path, source }
}
