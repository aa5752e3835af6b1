//! Copying a database that is in use.
//!
//! `VACUUM INTO` reads one snapshot, as any reader does: in WAL mode it keeps nobody from writing. The copy is one file without a log.

use crate::SqliteStore;
use crate::connection::{OpenError, migrate_file};
use crate::files::{beside, has_bytes, is_same, private, real, sync_folder_of};
use crate::integrity::{Integrity, IntegrityError, read_only};
use crate::lock::lock_if_present;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is added to a database's name for the database itself and for the files beside it that belong to it.
const FILES: [&str; 7] = ["", "-wal", "-shm", "-journal", "-lock", "-restore", "-restore.part"];

/// The reason why there is no backup. What was at its path is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is such a file already.
    #[error("{0} exists: expected a path without a file, or --force to replace it")]
    Exists(String),
    /// The target is the database, or a file that belongs to it.
    #[error("{path} belongs to the database {database}: expected another path for the backup")]
    Own {
        /// The path of the copy.
        path: String,
        /// The path of the database.
        database: String,
    },
    /// The target is another database that somebody uses.
    #[error("{0} is a database in use: expected a path that no server and no other command uses")]
    InUse(String),
    /// The target is another database that was not closed properly.
    #[error(
        "{0} is a database that was not closed properly, with commits in {0}-wal or {0}-journal: expected another path for the backup"
    )]
    NotClosed(String),
    /// The database cannot be read.
    #[error("cannot read the database {path}")]
    Read {
        /// The path of the database.
        path: String,
        /// The cause.
        #[source]
        cause: Cause,
    },
    /// The copy cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The path of the copy.
        path: String,
        /// The cause.
        #[source]
        cause: Cause,
    },
    /// The copy is not whole.
    #[error(
        "the copy of the database is corrupt, and so is the database: {0}; restore an earlier backup with `tithe restore`"
    )]
    Corrupt(String),
    /// The copy cannot be checked.
    #[error("cannot check the copy of the database")]
    Check(#[source] Cause),
}

impl From<IntegrityError> for BackupError {
    fn from(fault: IntegrityError) -> Self {
        match fault {
            IntegrityError::Corrupt(problem) => Self::Corrupt(problem),
            IntegrityError::Unchecked(cause) => Self::Check(cause),
        }
    }
}

impl BackupError {
    pub(crate) fn read(path: &Path, cause: impl Into<Cause>) -> Self {
        Self::Read { path: path.display().to_string(), cause: cause.into() }
    }

    pub(crate) fn write(path: &Path, cause: impl Into<Cause>) -> Self {
        Self::Write { path: path.display().to_string(), cause: cause.into() }
    }
}

impl SqliteStore {
    /// Copies a database into a new file, while others use it; returns the file's size in bytes. The file is complete and on disk when
    /// it gets its name. `number` tells this copy from every other; an existing file is replaced only on request, and never the
    /// database, a file that belongs to it, or another database in use.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn backup(url: &str, to: &Path, number: u32, replace: bool) -> Result<u64, BackupError> {
        let _target_alone = check_target(Path::new(Self::path_of(url)?), to)?;
        if !replace && to.exists() {
            return Err(BackupError::Exists(to.display().to_string()));
        }
        // The tables may be out of date: a backup is what an upgrade begins with.
        let _in_use = Self::check_presence(url).await?;
        let (from, to) = (PathBuf::from(Self::path_of(url)?), to.to_owned());
        let failed = to.clone();
        let done = tokio::task::spawn_blocking(move || publish(&from, &to, number, replace)).await;
        done.map_err(|cause| BackupError::write(&failed, cause))?
    }
}

/// Refuses a target whose replacement would destroy a database. Returns the lock of a database that is there and that nobody uses.
fn check_target(from: &Path, to: &Path) -> Result<Option<File>, BackupError> {
    let named = || to.display().to_string();
    let (database, target) = (real(from), real(to));
    if FILES.iter().any(|suffix| is_same(&beside(&database, suffix), &target)) {
        return Err(BackupError::Own { path: named(), database: from.display().to_string() });
    }
    let alone = lock_if_present(&target).map_err(|refused| match refused {
        TryLockError::WouldBlock => BackupError::InUse(named()),
        TryLockError::Error(cause) => BackupError::write(to, cause),
    })?;
    if has_bytes(&target) && ["-wal", "-journal"].iter().any(|suffix| has_bytes(&beside(&target, suffix))) {
        return Err(BackupError::NotClosed(named()));
    }
    Ok(alone)
}

fn publish(from: &Path, to: &Path, number: u32, replace: bool) -> Result<u64, BackupError> {
    let draft = beside(to, &format!(".part-{number:08x}"));
    let published = copy(&read_only(&from.display().to_string()), &draft, number, false).and_then(|()| {
        let write = |cause| BackupError::write(to, cause);
        if replace {
            fs::rename(&draft, to).map_err(write)?;
        } else {
            // Unlike a rename, a link never replaces an existing file.
            fs::hard_link(&draft, to).map_err(write)?;
            fs::remove_file(&draft).map_err(write)?;
        }
        sync_folder_of(to).map_err(write)?;
        Ok(fs::metadata(to).map_err(write)?.len())
    });
    if published.is_err() {
        for suffix in ["", "-journal"] {
            let _none = fs::remove_file(beside(&draft, suffix));
        }
    }
    published
}

/// Copies the database at an address into a file, checks the copy, and puts it on disk. With `migrate`, the copy's tables are brought
/// up to date.
pub(crate) fn copy(address: &str, to: &Path, number: u32, migrate: bool) -> Result<(), BackupError> {
    let write = |cause: Cause| BackupError::write(to, cause);
    // SQLite writes into a file that is empty. So it is nobody else's to read from the beginning.
    private().create_new(true).open(to).map_err(|cause| write(cause.into()))?;
    let path = to.display().to_string();
    {
        let mut source = SqliteConnection::establish(address)
            .map_err(|cause| BackupError::Read { path: address.to_owned(), cause: cause.into() })?;
        source.batch_execute("PRAGMA busy_timeout = 5000").map_err(|cause| write(cause.into()))?;
        let copied = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(&path).execute(&mut source);
        copied.map_err(|cause| write(cause.into()))?;
    }
    {
        let mut copy = SqliteConnection::establish(&path).map_err(|cause| write(cause.into()))?;
        let number = i32::from_ne_bytes(number.to_ne_bytes());
        let set_up = format!(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA user_version = {number};"
        );
        copy.batch_execute(&set_up).map_err(|cause| write(cause.into()))?;
        if migrate {
            migrate_file(&mut copy).map_err(write)?;
        }
        Integrity::of_connection(&mut copy, "integrity_check")?;
    }
    let on_disk = File::open(to).and_then(|file| file.sync_all());
    on_disk.map_err(|cause| write(cause.into()))?;
    debug_assert!(!has_bytes(&beside(to, "-wal")), "the copy has no log");
    Ok(())
}
