//! The files that make up a database, and what the first bytes of the main one say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How each SQLite database begins (<https://sqlite.org/fileformat2.html>).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Where the database's user version is: a number that each copy that Tithe makes gets anew.
const NUMBER: std::ops::Range<usize> = 60..64;

const HEADER_BYTES: usize = 100;

/// The path of a file whose name is that of the database, and more.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How many symbolic links to a file that is missing are followed.
const LINKS_MAX: usize = 16;

/// The path behind symbolic links, as SQLite sees it, also while the file itself is missing.
pub(crate) fn real(database: &Path) -> PathBuf {
    let mut path = database.to_owned();
    for _ in 0..LINKS_MAX {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_no_link) => break,
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// Whether two paths lead to the same file, through any links.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    real(one) == real(other) || identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// The device and the number of the file that a path leads to.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is none, or it has no bytes: SQLite takes it for a new database.
    Absent,
    /// A SQLite database, with its number.
    Database(u32),
    /// Something else.
    Other,
}

/// Looks at the first bytes of a file. Changes nothing.
pub(crate) fn kind(path: &Path) -> io::Result<Kind> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Kind::Absent),
        Err(other) => return Err(other),
    };
    let mut header = Vec::new();
    file.by_ref().take(HEADER_BYTES.try_into().unwrap_or(u64::MAX)).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Kind::Absent);
    }
    let number = header.get(NUMBER).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    Ok(match number {
        Some(number) if header.starts_with(MAGIC) => Kind::Database(u32::from_be_bytes(number)),
        _ => Kind::Other,
    })
}

/// Whether a file exists and has bytes.
pub(crate) fn has_bytes(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Options for a new file that only its owner can read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes what was done in a folder survive a crash of the machine.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives a new file to whoever owns its folder: root may restore a database of a service.
pub(crate) fn give_to_owner_of_folder(path: &Path) {
    #[cfg(unix)]
    if let Some(folder) = path.parent()
        && let Ok(about) = fs::metadata(folder)
    {
        use std::os::unix::fs::MetadataExt as _;
        let _not_ours = std::os::unix::fs::chown(path, Some(about.uid()), Some(about.gid()));
    }
}
