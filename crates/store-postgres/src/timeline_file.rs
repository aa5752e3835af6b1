//! The file of the timelines that were seen: a line each, the last one counts.
//!
//! ```text
//! 2026-11-29T15:40:12Z system 7713619016069431089 timeline 2 at db2.example:5432
//! ```
//!
//! Lines are only appended, under a lock and synced. A line without its end was torn by a crash, before anything was done that depends
//! on it, and does not count.

use crate::position::Position;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    /// Host and port.
    pub(crate) at: String,
    /// When it was seen first, as RFC 3339.
    pub(crate) on: String,
}

/// The file.
#[derive(Debug)]
pub(crate) struct TimelineFile(PathBuf);

/// The reason why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TimelineFileError {
    /// The file cannot be read or written.
    #[error("cannot keep the database's timeline in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// The file was changed by somebody else.
    #[error("invalid line {line} in {}: expected `<time> system <number> timeline <number> at <host>`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
    },
}

impl TimelineFile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Calls `decide` with the last entry, and appends what it returns; no other process does so meanwhile.
    pub(crate) fn locked<E>(
        &self,
        decide: impl FnOnce(Option<&Entry>) -> Result<Option<Entry>, E>,
    ) -> Result<Result<Option<Entry>, E>, TimelineFileError> {
        let mut file = self.open().map_err(|cause| self.failed(cause))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|cause| self.failed(cause))?;
        let decided = decide(self.last(&text)?.as_ref());
        if let Ok(Some(entry)) = &decided {
            append(&mut file, &text, entry).map_err(|cause| self.failed(cause))?;
        }
        Ok(decided)
    }

    /// The file, locked until it is dropped.
    fn open(&self) -> io::Result<File> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.0)?;
        // Not every network's file system has locks.
        file.lock().or_else(|cause| match cause.kind() {
            io::ErrorKind::Unsupported => Ok(()),
            _ => Err(cause),
        })?;
        // The file's name must last, too.
        if let Some(folder) = folder.filter(|_| file.metadata().is_ok_and(|about| about.len() == 0)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }

    fn last(&self, text: &str) -> Result<Option<Entry>, TimelineFileError> {
        let complete = text.rsplit_once('\n').map_or("", |(complete, _torn)| complete);
        let mut last = None;
        for (n, line) in complete.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            // The rest of a torn line ends where the next one was begun.
            match parse(line) {
                Some(entry) => last = Some(entry),
                None if line.ends_with(TORN) => {}
                None => return Err(TimelineFileError::Line { path: self.0.clone(), line: n + 1 }),
            }
        }
        Ok(last)
    }

    fn failed(&self, cause: io::Error) -> TimelineFileError {
        TimelineFileError::Io { path: self.0.clone(), cause }
    }
}

/// What is put after a line that was torn by a crash.
const TORN: &str = " (torn)";

fn append(file: &mut File, before: &str, entry: &Entry) -> io::Result<()> {
    let torn = !before.is_empty() && !before.ends_with('\n');
    let Entry { position: Position { system, timeline }, at, on } = entry;
    let rest = if torn { format!("{TORN}\n") } else { String::new() };
    let line = format!("{rest}{on} system {system} timeline {timeline} at {at}\n");
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let on = words.next()?.to_owned();
    let system = (words.next()? == "system").then(|| words.next()?.parse().ok())??;
    let timeline = (words.next()? == "timeline").then(|| words.next()?.parse().ok())??;
    let at = (words.next()? == "at").then(|| words.next().map(str::to_owned))??;
    words.next().is_none().then_some(Entry { position: Position { system, timeline }, at, on })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn entry(timeline: u32) -> Entry {
        let position = Position { system: -7_713_619_016_069_431_089, timeline };
        Entry { position, at: "db.example:5432".to_owned(), on: "2026-11-29T15:40:12Z".to_owned() }
    }

    fn last(file: &TimelineFile) -> Option<Entry> {
        let mut found = None;
        let read = |last: Option<&Entry>| {
            found = last.cloned();
            Ok::<_, Infallible>(None)
        };
        file.locked(read).unwrap().unwrap();
        found
    }

    fn add(file: &TimelineFile, timeline: u32) {
        file.locked(|_| Ok::<_, Infallible>(Some(entry(timeline)))).unwrap().unwrap();
    }

    #[test]
    fn the_last_complete_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let file = TimelineFile::new(path.clone());
        assert_eq!(last(&file), None);
        add(&file, 1);
        add(&file, 12);
        assert_eq!(last(&file), Some(entry(12)));
        // A crash tears the line at any byte.
        let whole = std::fs::read_to_string(&path).unwrap();
        let begins = whole.lines().next().unwrap().len() + 1;
        for end in begins..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(last(&file), Some(entry(1)), "{end}");
            add(&file, 3);
            assert_eq!(last(&file), Some(entry(3)), "{end}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_no_reason_to_know_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        std::fs::write(&path, "2026-11-29T15:40:12Z system 1 timeline 2 at a:1\nnonsense\n").unwrap();
        let refused = TimelineFile::new(path).locked(|_| Ok::<_, Infallible>(None)).unwrap_err();
        assert!(refused.to_string().starts_with("invalid line 2 in "), "{refused}");
    }
}
