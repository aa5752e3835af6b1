//! Who uses a database: a lock on a file beside it, which servers and commands share, and which whoever replaces the database has alone.
//!
//! SQLite's own locks are on the database file, which a restore replaces; so they cannot keep a server from opening the old one. The
//! operating system releases this one when its process ends, however that ends.
//!
//! The lock file also remembers the number of the database ([`Kind::Database`]). A write-ahead log that was left beside another
//! database than the remembered one is not replayed: that would mix two databases.

use crate::files::{Kind, beside, give_to_owner_of_folder, has_bytes, kind, private, real};
use crate::integrity::{Integrity, IntegrityError};
use crate::replacement;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program waits for one that has the database alone: it may be looking at it after a crash.
const PATIENCE: Duration = Duration::from_secs(40);

const PAUSE: Duration = Duration::from_millis(50);

/// The reason why a database cannot be used now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else uses it, and this needs it alone.
    #[error("the database {path} is in use: expected no other program, got {by}; stop the servers first")]
    InUse {
        /// The path of the file.
        path: String,
        /// Who uses it.
        by: &'static str,
    },
    /// Somebody has it alone.
    #[error(
        "the database {path} is being restored, copied or checked by another program; try again when it has finished"
    )]
    Alone {
        /// The path of the file.
        path: String,
    },
    /// A restore was interrupted.
    #[error("a restore of {path} was interrupted: `tithe migrate`, or the start of a server, completes it")]
    Interrupted {
        /// The path of the file.
        path: String,
    },
    /// The write-ahead log is of another database.
    #[error(
        "{path} was replaced while the write-ahead log of the former database was left beside it ({path}-wal): nothing was \
         changed. Restore the copy with `tithe restore`; or move {path}-wal and {path}-shm to another folder if you do not need \
         what the former database held last"
    )]
    ForeignLog {
        /// The path of the file.
        path: String,
    },
    /// There is a write-ahead log without its database.
    #[error(
        "{path} is missing, but its write-ahead log {path}-wal is there: nothing was changed. Put the file back, or use \
         `tithe restore`"
    )]
    LogAlone {
        /// The path of the file.
        path: String,
    },
    /// The file is something else.
    #[error("{path} is not a SQLite database")]
    NotADatabase {
        /// The path of the file.
        path: String,
    },
    /// The database is damaged.
    #[error(
        "the database {path} is corrupt: {problem}; nothing was changed. Restore a backup with `tithe restore`, which keeps the corrupt files"
    )]
    Corrupt {
        /// The path of the file.
        path: String,
        /// What SQLite says.
        problem: String,
    },
    /// Whether the database is damaged is not known.
    #[error("cannot check the database {path}, which was not closed properly")]
    Unchecked {
        /// The path of the file.
        path: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An interrupted restore cannot be completed.
    #[error("cannot complete the interrupted restore of {path}")]
    Restore {
        /// The path of the file.
        path: String,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot lock the database {path}")]
    Io {
        /// The path of the file.
        path: String,
        /// The cause.
        #[source]
        cause: io::Error,
    },
}

/// Holds a database's lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Shared {
    _file: Option<File>,
}

impl Shared {
    /// Begins to use a database, which may be about to be made. The first of all programs that use it completes a restore that was
    /// interrupted, and looks whether the database is whole if it was not closed properly.
    pub(crate) async fn enter(path: &str) -> Result<Self, LockError> {
        let database = real(Path::new(path));
        let failed = |cause| LockError::Io { path: path.to_owned(), cause };
        let mut file = open(&database).map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            if try_alone(&file).map_err(failed)? {
                look(&database, &mut file).await?;
            }
            // Another program may come in between; then it has looked.
            match file.try_lock_shared() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                    waited += PAUSE;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => return Err(LockError::Alone { path: path.to_owned() }),
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
        }
        Ok(Self { _file: Some(file) })
    }

    /// Begins to read a database. It makes and changes no file.
    pub(crate) async fn read(path: &str) -> Result<Self, LockError> {
        let database = real(Path::new(path));
        let file = File::open(beside(&database, "-lock")).ok();
        let mut waited = Duration::ZERO;
        while let Some(Err(TryLockError::WouldBlock)) = file.as_ref().map(File::try_lock_shared) {
            if waited >= PATIENCE {
                return Err(LockError::Alone { path: path.to_owned() });
            }
            waited += PAUSE;
            tokio::time::sleep(PAUSE).await;
        }
        if replacement::is_begun(&database) {
            return Err(LockError::Interrupted { path: path.to_owned() });
        }
        let remembered = file.as_ref().and_then(remembered);
        check_log(&database, remembered)?;
        Ok(Self { _file: file })
    }
}

/// Holds a database alone until it is dropped: no server and no other command uses it.
#[derive(Debug)]
pub struct Exclusive {
    pub(crate) database: PathBuf,
    file: File,
    /// The database's own file, locked against programs that know only SQLite's locks.
    _sqlite: Option<File>,
}

impl Exclusive {
    /// Takes the database of a path for itself. There may be none yet.
    ///
    /// # Errors
    /// [`LockError::InUse`] while anybody uses it, and the others.
    pub fn take(path: &str) -> Result<Self, LockError> {
        let database = real(Path::new(path));
        let failed = |cause| LockError::Io { path: path.to_owned(), cause };
        let in_use = |by| LockError::InUse { path: path.to_owned(), by };
        let file = open(&database).map_err(failed)?;
        if !try_alone(&file).map_err(failed)? {
            return Err(in_use("a server or another command of tithe"));
        }
        replacement::complete(&database)
            .map_err(|cause| LockError::Restore { path: path.to_owned(), cause })?;
        let sqlite = OpenOptions::new().read(true).write(true).open(&database).ok();
        if let Some(open) = &sqlite {
            // A write lock on the whole file conflicts with every lock of SQLite's.
            let lock = rustix::fs::fcntl_lock(open, rustix::fs::FlockOperation::NonBlockingLockExclusive);
            lock.map_err(|_| in_use("another program, which has it open"))?;
        }
        Ok(Self { database, file, _sqlite: sqlite })
    }

    /// Only what was there when it was taken is locked by SQLite's rules; a command that reads the database itself lets go of that.
    #[must_use]
    pub fn for_reading(self) -> Self {
        Self { _sqlite: None, ..self }
    }

    /// Remembers the number of the database that is there now.
    pub(crate) fn remember(&mut self) -> io::Result<()> {
        remember(&self.database, &mut self.file)
    }
}

fn open(database: &Path) -> io::Result<File> {
    let path = beside(database, "-lock");
    let is_new = !path.exists();
    let file = private().read(true).create(true).truncate(false).open(&path)?;
    if is_new {
        give_to_owner_of_folder(&path);
    }
    Ok(file)
}

/// Takes the lock of a database alone; `None` if it has no lock, because no server and no command has used it.
pub(crate) fn lock_if_present(database: &Path) -> Result<Option<File>, TryLockError> {
    match File::open(beside(database, "-lock")) {
        Ok(file) => file.try_lock().map(|()| Some(file)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(TryLockError::Error(other)),
    }
}

fn try_alone(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// What the first program that uses a database does before it opens it.
async fn look(database: &Path, file: &mut File) -> Result<(), LockError> {
    let path = || database.display().to_string();
    let failed = |cause| LockError::Io { path: path(), cause };
    replacement::complete(database).map_err(|cause| LockError::Restore { path: path(), cause })?;
    check_log(database, remembered(file))?;
    if has_bytes(&beside(database, "-wal")) {
        Integrity::of_unclosed(database).await.map_err(|fault| match fault {
            IntegrityError::Corrupt(problem) => LockError::Corrupt { path: path(), problem },
            IntegrityError::Unchecked(cause) => LockError::Unchecked { path: path(), cause },
        })?;
    }
    remember(database, file).map_err(failed)
}

/// Refuses a write-ahead log that is not the database's own, as far as it can be known. Changes nothing.
fn check_log(database: &Path, remembered: Option<u32>) -> Result<(), LockError> {
    let path = || database.display().to_string();
    let has_log = has_bytes(&beside(database, "-wal"));
    match kind(database).map_err(|cause| LockError::Io { path: path(), cause })? {
        Kind::Other => Err(LockError::NotADatabase { path: path() }),
        Kind::Absent if has_log => Err(LockError::LogAlone { path: path() }),
        Kind::Database(number) if has_log && remembered.is_some_and(|known| known != number) => {
            Err(LockError::ForeignLog { path: path() })
        }
        Kind::Absent | Kind::Database(_) => Ok(()),
    }
}

fn remembered(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn remember(database: &Path, file: &mut File) -> io::Result<()> {
    let number = match kind(database)? {
        Kind::Database(number) => number,
        // It is about to be made, and then has none.
        Kind::Absent | Kind::Other => 0,
    };
    if remembered(file) != Some(number) {
        file.rewind()?;
        fs::write(beside(database, "-lock"), format!("{number}\n"))?;
        file.sync_all()?;
    }
    Ok(())
}
