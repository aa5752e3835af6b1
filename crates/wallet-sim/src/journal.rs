//! The journal: an append-only file that several processes share.
//!
//! A record is one line, and it has happened once its closing newline is in the file. Whoever writes holds the file's
//! exclusive lock, which the operating system lifts when the process dies, however it dies. Text after the last
//! newline is therefore what a writer left that died in mid-line: it never happened, and the next writer cuts it off.
//!
//! Lines are handed to the operating system and not forced to the disk: they outlive the process, not a power cut. No
//! money is at stake.

use crate::node::private;
use crate::record::Record;
use crate::{LineError, SimError};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const JOURNAL_FILE: &str = "journal.jsonl";

/// What follows the journal: a state that its records change.
pub(crate) trait Follower {
    /// Whether `record` can follow what has happened so far.
    fn check(&self, record: &Record) -> Result<(), LineError>;

    /// Takes a record in that has been checked.
    fn apply(&mut self, record: Record);
}

/// The file, and how far it has been read.
pub(crate) struct Journal {
    file: Arc<File>,
    path: PathBuf,
    /// Bytes read: always the end of a line.
    read_to: u64,
    /// Lines read.
    lines: u64,
}

impl Journal {
    /// The journal in `folder`; both are made where they are missing.
    pub fn open(folder: &Path) -> Result<Self, SimError> {
        std::fs::create_dir_all(folder).map_err(|source| SimError::Io {
            what: "making",
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join(JOURNAL_FILE);
        let file = private(OpenOptions::new().create(true).read(true).append(true))
            .open(&path)
            .map_err(|source| SimError::Io { what: "opening", path: path.clone(), source })?;
        Ok(Self { file: Arc::new(file), path, read_to: 0, lines: 0 })
    }

    /// Keeps every other process from writing until the answer is dropped.
    pub fn lock(&self) -> Result<Lock, SimError> {
        self.file.lock().map_err(self.failed("locking"))?;
        Ok(Lock(Arc::clone(&self.file)))
    }

    /// Reads what has been appended since the last time.
    pub fn catch_up(&mut self, follower: &mut impl Follower) -> Result<(), SimError> {
        // Lines are only ever added, so an unchanged length means that nothing is new: most readings need no lock.
        if self.length()? == self.read_to {
            return Ok(());
        }
        self.file.lock_shared().map_err(self.failed("locking"))?;
        let _lock = Lock(Arc::clone(&self.file));
        self.read_new_lines(follower)
    }

    /// Reads what has been appended, lets `decide` see it, and appends the record that it answers, while nobody else
    /// writes.
    ///
    /// On an error nothing has been appended.
    pub fn append<F: Follower, T>(
        &mut self,
        follower: &mut F,
        decide: impl FnOnce(&F) -> (Option<Record>, T),
    ) -> Result<T, SimError> {
        let _lock = self.lock()?;
        self.read_new_lines(follower)?;
        self.cut_torn_line()?;
        let (record, answer) = decide(follower);
        if let Some(record) = record {
            follower.check(&record).map_err(|source| self.damaged(source))?;
            self.write_line(&record)?;
            follower.apply(record);
        }
        Ok(answer)
    }

    fn read_new_lines(&mut self, follower: &mut impl Follower) -> Result<(), SimError> {
        let new = self.length()?.checked_sub(self.read_to).ok_or(SimError::CutShort)?;
        if new == 0 {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let mut file: &File = &file;
        file.seek(SeekFrom::Start(self.read_to)).map_err(self.failed("reading"))?;
        let mut reader = BufReader::new(file.take(new));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(self.failed("reading"))? > 0 {
            if line.last() != Some(&b'\n') {
                break;
            }
            let record: Record =
                serde_json::from_slice(&line).map_err(|e| self.damaged(LineError::Unreadable(e)))?;
            follower.check(&record).map_err(|source| self.damaged(source))?;
            follower.apply(record);
            self.advance(line.len());
            line.clear();
        }
        Ok(())
    }

    /// Removes what a writer left that died in mid-line. Only with the exclusive lock: otherwise the line may be one
    /// that is being written.
    fn cut_torn_line(&self) -> Result<(), SimError> {
        if self.length()? > self.read_to {
            tracing::warn!(path = %self.path.display(), line = self.lines + 1, "cutting off a torn line");
            self.file.set_len(self.read_to).map_err(self.failed("cutting"))?;
        }
        Ok(())
    }

    fn write_line(&mut self, record: &Record) -> Result<(), SimError> {
        let mut line = serde_json::to_vec(record).map_err(|e| self.damaged(LineError::Unreadable(e)))?;
        line.push(b'\n');
        let mut file: &File = &self.file;
        let written = match file.write(&line) {
            Ok(written) if written == line.len() => written,
            // Without its newline the line has not happened. It is cut off at once if that can be done, and otherwise
            // by the next writer.
            Ok(_) => {
                let _cut = self.file.set_len(self.read_to);
                return Err(self.failed("writing")(io::ErrorKind::StorageFull.into()));
            }
            Err(source) => return Err(self.failed("writing")(source)),
        };
        self.advance(written);
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        // usize is at most 64 bits wide wherever this builds.
        self.read_to = self.read_to.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.lines += 1;
    }

    fn length(&self) -> Result<u64, SimError> {
        Ok(self.file.metadata().map_err(self.failed("measuring"))?.len())
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> SimError + use<> {
        let path = self.path.clone();
        move |source| SimError::Io { what, path, source }
    }

    fn damaged(&self, source: LineError) -> SimError {
        SimError::Line { line: self.lines + 1, source }
    }
}

/// The file's lock; lifted when this is dropped.
pub(crate) struct Lock(Arc<File>);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::error!(%error, "the wallet's journal could not be unlocked");
        }
    }
}
