//! The journal: an append-only file that several processes share.
//!
//! A record is one line, and it takes effect once its closing newline is in the file. A writer holds the file's
//! exclusive lock, which the operating system releases when the process dies. Text after the last newline was left by a
//! writer that died in the middle of a line: it has no effect, and the next writer removes it.
//!
//! Lines are passed to the operating system but not synced to disk: they survive a process crash, not a power failure.
//! No real money is at stake.

use crate::node::private;
use crate::record::Record;
use crate::{LineError, SimError};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const JOURNAL_FILE: &str = "journal.jsonl";

/// State that is derived from the journal's records.
pub(crate) trait Follower {
    /// Checks that `record` is consistent with the records so far.
    fn check(&self, record: &Record) -> Result<(), LineError>;

    /// Applies a record that has been checked.
    fn apply(&mut self, record: Record);
}

/// The file and the read position.
pub(crate) struct Journal {
    file: Arc<File>,
    path: PathBuf,
    /// The number of bytes read: always the end of a line.
    read_to: u64,
    /// The number of lines read.
    lines: u64,
}

impl Journal {
    /// Opens the journal in `folder`; both are created if missing.
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

    /// Locks the journal exclusively until the returned guard is dropped.
    pub fn lock(&self) -> Result<Lock, SimError> {
        self.file.lock().map_err(self.failed("locking"))?;
        Ok(Lock(Arc::clone(&self.file)))
    }

    /// Reads new records.
    pub fn catch_up(&mut self, follower: &mut impl Follower) -> Result<(), SimError> {
        // Lines are only appended, so an unchanged length means that there is nothing new: most reads need no lock.
        if self.length()? == self.read_to {
            return Ok(());
        }
        self.file.lock_shared().map_err(self.failed("locking"))?;
        let _lock = Lock(Arc::clone(&self.file));
        self.read_new_lines(follower)
    }

    /// Under the exclusive lock, reads new records, calls `decide`, and appends the record that it returns.
    ///
    /// On an error, nothing is appended.
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

    /// Removes the torn line of a writer that died. Requires the exclusive lock: without it, the line may still be in
    /// the process of being written.
    fn cut_torn_line(&self) -> Result<(), SimError> {
        if self.length()? > self.read_to {
            tracing::warn!(file = %self.path.display(), line = self.lines + 1, "removing an incomplete journal line");
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
            // Without its newline, the line has no effect. It is removed now if possible, and otherwise by the next
            // writer.
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
        // usize is at most 64 bits wide on all supported platforms.
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

/// The file lock; released on drop.
pub(crate) struct Lock(Arc<File>);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "cannot unlock the wallet's journal");
        }
    }
}
