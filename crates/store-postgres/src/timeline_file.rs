//! The file of the timelines that were seen: a line each, the last one counts.
//!
//! ```text
//! 2026-11-29T15:40:12Z system 7713619016069431089 timeline 2 at db2.example:5432
//! ```
//!
//! Lines are only appended, under a lock and synced. A line without its end was torn by a crash, before anything was done that depends
//! on it, and does not count. The file is opened for writing only when there is a line to append: a server whose data directory becomes
//! read-only goes on.

use crate::position::Position;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

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

/// What was found in the file, and what was decided.
#[derive(Debug)]
pub(crate) struct Looked<E> {
    /// The last entry before.
    pub(crate) before: Option<Entry>,
    /// The entry that was appended, if any.
    pub(crate) decided: Result<Option<Entry>, E>,
}

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

    /// Calls `decide` with the last entry, and appends what it returns; no other process appends anything meanwhile. `decide` may be
    /// called twice, and its last answer counts.
    pub(crate) fn locked<E>(
        &self,
        decide: impl Fn(Option<&Entry>) -> Result<Option<Entry>, E>,
    ) -> Result<Looked<E>, TimelineFileError> {
        let failed = |cause| self.failed(cause);
        if let Some(mut file) = self.open_to_read().map_err(failed)? {
            let looked = self.look(&mut file, &decide)?.0;
            if !matches!(looked.decided, Ok(Some(_))) {
                return Ok(looked);
            }
        }
        let mut file = self.open_to_append().map_err(failed)?;
        // Another process may have appended something.
        let (looked, text) = self.look(&mut file, &decide)?;
        if let Ok(Some(entry)) = &looked.decided {
            append(&mut file, &text, entry).map_err(failed)?;
        }
        Ok(looked)
    }

    fn look<E>(
        &self,
        file: &mut File,
        decide: impl Fn(Option<&Entry>) -> Result<Option<Entry>, E>,
    ) -> Result<(Looked<E>, String), TimelineFileError> {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|cause| self.failed(cause))?;
        let before = self.last(&text)?;
        let decided = decide(before.as_ref());
        Ok((Looked { before, decided }, text))
    }

    /// The file, which nobody changes until it is dropped; `None` if there is none.
    fn open_to_read(&self) -> io::Result<Option<File>> {
        let file = match File::open(&self.0) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        has_locks(file.lock_shared())?;
        Ok(Some(file))
    }

    /// The file, locked until it is dropped.
    fn open_to_append(&self) -> io::Result<File> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // A new file never follows a link: root may make it in another user's folder, and gives it away.
        let file = match options.clone().create_new(true).open(&self.0) {
            Ok(new) => {
                if let Some(folder) = folder {
                    give_to_owner(&new, folder);
                }
                new
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => options.open(&self.0)?,
            Err(cause) => return Err(cause),
        };
        has_locks(file.lock())?;
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

/// Not every network's file system has locks.
fn has_locks(locked: io::Result<()>) -> io::Result<()> {
    locked.or_else(|cause| if cause.kind() == io::ErrorKind::Unsupported { Ok(()) } else { Err(cause) })
}

/// Gives a new file to the owner of its folder: root may run a command on the data directory of a service.
fn give_to_owner(file: &File, folder: &Path) {
    #[cfg(unix)]
    if let Ok(about) = std::fs::metadata(folder) {
        use std::os::unix::fs::MetadataExt as _;
        let _not_ours = std::os::unix::fs::fchown(file, Some(about.uid()), Some(about.gid()));
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
        let looked = file.locked(|_| Ok::<_, Infallible>(None)).unwrap();
        looked.decided.unwrap();
        looked.before
    }

    fn add(file: &TimelineFile, timeline: u32) {
        file.locked(|_| Ok::<_, Infallible>(Some(entry(timeline)))).unwrap().decided.unwrap();
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

    #[test]
    fn what_only_reads_does_not_open_the_file_for_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        add(&TimelineFile::new(path.clone()), 1);
        // Root may write everywhere, and yet waits for a lock.
        let mut about = std::fs::metadata(&path).unwrap().permissions();
        about.set_readonly(true);
        std::fs::set_permissions(&path, about).unwrap();
        let reader = File::open(&path).unwrap();
        reader.lock_shared().unwrap();
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(last(&TimelineFile::new(path))));
        assert_eq!(hears.recv_timeout(std::time::Duration::from_secs(20)), Ok(Some(entry(1))));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_belongs_to_the_owner_of_its_folder() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        // Only root can give a folder away; whoever else runs this owns it.
        let _not_root = std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534));
        let path = folder.path().join("kept");
        add(&TimelineFile::new(path.clone()), 1);
        let (file, folder) = (std::fs::metadata(path).unwrap(), std::fs::metadata(folder.path()).unwrap());
        assert_eq!((file.uid(), file.mode() & 0o777), (folder.uid(), 0o600));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_not_made_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("kept"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let refused = TimelineFile::new(path).locked(|_| Ok::<_, Infallible>(Some(entry(1)))).unwrap_err();
        assert!(matches!(refused, TimelineFileError::Io { .. }), "{refused}");
        assert!(!elsewhere.exists());
    }
}
