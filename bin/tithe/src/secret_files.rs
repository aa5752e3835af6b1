//! The files of the data directory that no database holds, and without which a restored one is worth less.

use crate::private;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The secrets that Tithe generates, and what is lost without them.
const SECRETS: [(&str, &str); 3] = [
    ("token.secret", "claims of refunds, sessions' macaroons, the credentials of bought nodes"),
    ("licence.secret", "the licences that were issued"),
    ("nostr.secret", "the key that signs receipts"),
];

/// The secrets that are in a data directory: their paths, and what is lost without them.
pub(crate) fn present(data_dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let paths = SECRETS.iter().map(|(name, lost)| (data_dir.join(name), *lost));
    paths.filter(|(path, _)| path.is_file()).collect()
}

/// The folder of the secrets that belong to a backup.
pub(crate) fn folder_of(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(".secrets");
    name.into()
}

/// Copies the secrets of a data directory into a folder; returns the copies.
pub(crate) fn save(data_dir: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    private::make_folder(folder)?;
    let mut saved = Vec::new();
    for (path, _) in present(data_dir) {
        let copy = folder.join(path.file_name().unwrap_or_default());
        replace(&copy, &fs::read(&path)?)?;
        saved.push(copy);
    }
    fs::File::open(folder)?.sync_all()?;
    Ok(saved)
}

/// What became of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutBack {
    /// It was missing, and is there now.
    Restored,
    /// It was there already.
    Same,
    /// Another one is there, and was left.
    Differs,
}

/// Puts the secrets of a folder into a data directory, for its owner. None that is there is replaced.
pub(crate) fn put_back(folder: &Path, data_dir: &Path) -> io::Result<Vec<(PathBuf, PutBack)>> {
    let mut done = Vec::new();
    for (name, _) in SECRETS {
        let (saved, path) = (folder.join(name), data_dir.join(name));
        let Ok(secret) = fs::read(&saved) else { continue };
        let outcome = match fs::read(&path) {
            Ok(current) if current == secret => PutBack::Same,
            Ok(_) => PutBack::Differs,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                replace(&path, &secret)?;
                private::give_to_owner_of_folder(&path);
                PutBack::Restored
            }
            Err(other) => return Err(other),
        };
        done.push((path, outcome));
    }
    fs::File::open(data_dir)?.sync_all()?;
    Ok(done)
}

/// Writes a file that only its owner can read, as a whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
