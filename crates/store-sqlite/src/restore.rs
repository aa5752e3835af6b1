//! Putting a backup in the place of a database.

use crate::backup::{self, BackupError};
use crate::connection::unknown_migrations;
use crate::files::{Kind, beside, give_to_owner_of_folder, has_bytes, kind};
use crate::integrity::{Integrity, IntegrityError, immutable, read_only};
use crate::lock::Exclusive;
use crate::replacement::{self, Replacement};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a copy is called until it is in place: the database's name, this, and more.
const STAGED: &str = ".restoring-";

/// The reason why a backup was not restored. The database is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no such file.
    #[error("no backup at {0}: expected a file that `tithe backup` has made")]
    Missing(String),
    /// The backup is the database itself.
    #[error("{0} is the database itself: expected a backup of it")]
    Same(String),
    /// The file is something else.
    #[error("{0} is not a SQLite database: expected a file that `tithe backup` has made")]
    NotADatabase(String),
    /// It is a database of another program.
    #[error("{0} is not a database of tithe: expected its tables, got others or none")]
    NotTithe(String),
    /// A newer version has made it.
    #[error(
        "{path} is of a newer version of tithe: this one does not know {unknown} of its migrations; install that version"
    )]
    Newer {
        /// The path of the backup.
        path: String,
        /// The number of migrations that this program does not know.
        unknown: usize,
    },
    /// The backup is damaged.
    #[error("the backup {path} is corrupt: {problem}")]
    Corrupt {
        /// The path of the backup.
        path: String,
        /// What SQLite says.
        problem: String,
    },
    /// It cannot be copied.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// Files cannot be moved.
    #[error("cannot put the backup in the place of {path}")]
    Io {
        /// The path of the database.
        path: String,
        /// The cause.
        #[source]
        cause: io::Error,
    },
}

/// A copy of a backup, checked and migrated, beside the database whose place it may take. It is removed when it is dropped.
#[derive(Debug)]
pub struct Staged {
    alone: Exclusive,
    path: PathBuf,
    in_place: bool,
}

impl Staged {
    /// Checks a backup and copies it beside the database. `number` tells this copy from every other; `name` is a part of the names of
    /// the files that are made.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn of(backup: &Path, alone: Exclusive, number: u32, name: &str) -> Result<Self, RestoreError> {
        let path = beside(&alone.database, &format!("{STAGED}{name}"));
        remove_leftovers(&alone.database);
        let staged = Self { alone, path, in_place: false };
        let (backup, database, target) =
            (backup.to_owned(), staged.alone.database.clone(), staged.path.clone());
        let done = tokio::task::spawn_blocking(move || stage(&backup, &database, &target, number)).await;
        done.map_err(|cause| BackupError::write(&staged.path, io::Error::other(cause)))??;
        Ok(staged)
    }

    /// The URL of the copy, to audit it before it is put in place.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    /// Puts the copy in the place of the database, whose files get the name that is returned; `None` if there was no database. A crash
    /// leaves the former or the new database whole.
    ///
    /// # Errors
    /// [`RestoreError::Io`].
    pub fn put_in_place(mut self, name: &str) -> Result<Option<PathBuf>, RestoreError> {
        let database = self.alone.database.clone();
        let failed = |cause| RestoreError::Io { path: database.display().to_string(), cause };
        let aside = beside(&database, &format!(".before-restore-{name}"));
        give_to_owner_of_folder(&self.path);
        let replacement = Replacement { staged: self.path.clone(), aside: aside.clone() };
        // From here on, it is not removed any more.
        self.in_place = true;
        replacement::begin(&database, &replacement).map_err(failed)?;
        replacement::complete(&database).map_err(failed)?;
        self.alone.remember().map_err(failed)?;
        let was_there = ["", "-wal"].iter().any(|suffix| beside(&aside, suffix).exists());
        Ok(was_there.then_some(aside))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.in_place {
            for suffix in ["", "-journal", "-wal", "-shm"] {
                let _none = fs::remove_file(beside(&self.path, suffix));
            }
        }
    }
}

/// Removes what a restore has left that was killed before it began to replace anything.
fn remove_leftovers(database: &Path) {
    let prefix = beside(database, STAGED);
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
    for name in entries.flatten().map(|entry| entry.file_name()) {
        let path = database.with_file_name(name);
        if path.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes()) {
            let _gone = fs::remove_file(path);
        }
    }
}

fn stage(backup: &Path, database: &Path, target: &Path, number: u32) -> Result<(), RestoreError> {
    let named = || backup.display().to_string();
    let real = fs::canonicalize(backup).map_err(|_| RestoreError::Missing(named()))?;
    if real == *database {
        return Err(RestoreError::Same(named()));
    }
    match kind(&real).map_err(|cause| BackupError::read(&real, cause))? {
        Kind::Database(_) => {}
        Kind::Absent => return Err(RestoreError::Missing(named())),
        Kind::Other => return Err(RestoreError::NotADatabase(named())),
    }
    // A copy that somebody has made by hand may have its log beside it.
    let address = real.display().to_string();
    let has_log = has_bytes(&beside(&real, "-wal"));
    let address = if has_log { read_only(&address) } else { immutable(&address) };
    Integrity::look(&address, "integrity_check").map_err(|fault| match fault {
        IntegrityError::Corrupt(problem) => RestoreError::Corrupt { path: named(), problem },
        IntegrityError::Unchecked(cause) => BackupError::read(backup, cause).into(),
    })?;
    match unknown_migrations(&address) {
        None => return Err(RestoreError::NotTithe(named())),
        Some(0) => {}
        Some(unknown) => return Err(RestoreError::Newer { path: named(), unknown }),
    }
    backup::copy(&address, target, number, true)?;
    Ok(())
}
