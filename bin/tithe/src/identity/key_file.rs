//! The file that contains a customer's key.

use crate::private;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use tithe_clock::Entropy;
use tithe_trust::{InvalidSecretKey, SecretKey};

/// The maximum length of a key file, in bytes.
const BYTES_MAX: u64 = 1024;

/// Errors about a key file. No message contains the file's content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("no location for the key: HOME is not set; set it with --file or TITHE_IDENTITY")]
    Nowhere,
    #[error("no key at {0}: create one with `tithe identity new`")]
    Missing(String),
    #[error("cannot read the key at {path}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("invalid key in {path}")]
    NoKey { path: String, source: InvalidSecretKey },
    #[error("{0} already exists and is not overwritten; choose another file with --file")]
    Exists(String),
    #[error("cannot write the key to {path}")]
    Unwritable { path: String, source: std::io::Error },
}

/// The path of the key file: the given one, or else `TITHE_IDENTITY`, or else a file in the user's configuration folder.
pub(crate) fn place(said: Option<PathBuf>) -> Result<PathBuf, KeyFileError> {
    place_in(said, |name| std::env::var_os(name))
}

fn place_in(
    said: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, KeyFileError> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = said.or_else(|| path("TITHE_IDENTITY")) {
        return Ok(file);
    }
    // The XDG specification says to ignore a relative path.
    let folder = path("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(path("HOME")?.join(".config"))).ok_or(KeyFileError::Nowhere)?;
    Ok(folder.join("tithe").join("identity.nsec"))
}

/// Generates a key and stores it in a new file.
pub(crate) fn create(path: &Path, entropy: &dyn Entropy) -> Result<SecretKey, KeyFileError> {
    let shown = path.display().to_string();
    let key = loop {
        if let Ok(key) = SecretKey::from_bytes(entropy.bytes()) {
            break key;
        }
    };
    let written = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => private::make_folder(folder),
        None => Ok(()),
    };
    match written.and_then(|()| private::write_new(path, &format!("{}\n", key.nsec()), entropy)) {
        Ok(()) => Ok(key),
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists => Err(KeyFileError::Exists(shown)),
        Err(source) => Err(KeyFileError::Unwritable { path: shown, source }),
    }
}

/// Reads the key. Warns if other users can access the file.
pub(crate) fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let shown = || path.display().to_string();
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => KeyFileError::Missing(shown()),
        _ => KeyFileError::Unreadable { path: shown(), source },
    })?;
    warn_of_readers(path, &file);
    file.take(BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|source| KeyFileError::Unreadable { path: shown(), source })?;
    let key = String::from_utf8_lossy(&text).trim().parse();
    key.map_err(|source| KeyFileError::NoKey { path: shown(), source })
}

#[cfg(unix)]
fn warn_of_readers(path: &Path, file: &std::fs::File) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = file.metadata() else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        eprintln!(
            "tithe: other users can read or change your key at {path} (mode {mode:o}): chmod 600 {path}"
        );
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_path: &Path, _file: &std::fs::File) {}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::{SeededEntropy, SystemEntropy};

    #[test]
    fn the_key_is_where_one_says_or_else_in_the_configuration_folder() {
        let find = |said: Option<&str>, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| OsString::from(value))
            };
            place_in(said.map(PathBuf::from), variable).ok().map(|path| path.display().to_string())
        };
        let all = [("TITHE_IDENTITY", "env"), ("XDG_CONFIG_HOME", "/xdg"), ("HOME", "/home/me")];
        assert_eq!(find(Some("said"), &all).as_deref(), Some("said"));
        assert_eq!(find(None, &all).as_deref(), Some("env"));
        assert_eq!(find(None, &all[1..]).as_deref(), Some("/xdg/tithe/identity.nsec"));
        assert_eq!(find(None, &all[2..]).as_deref(), Some("/home/me/.config/tithe/identity.nsec"));
        let odd = [("TITHE_IDENTITY", ""), ("XDG_CONFIG_HOME", "relative"), ("HOME", "/home/me")];
        assert_eq!(find(None, &odd).as_deref(), Some("/home/me/.config/tithe/identity.nsec"));
        assert_eq!(find(None, &[]), None);
    }

    #[test]
    fn a_key_reads_back_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/key.nsec");
        let key = create(&path, &SystemEntropy).unwrap();
        assert_eq!(read(&path).unwrap(), key);
        let again = create(&path, &SystemEntropy).unwrap_err();
        assert!(matches!(again, KeyFileError::Exists(_)), "{again}");
        assert_eq!(read(&path).unwrap(), key);
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
    }

    #[test]
    fn what_is_no_key_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = create(&folder.path().join("other"), &SeededEntropy::new(7)).unwrap().nsec();
        for wrong in
            ["", "hunter2", &key[..60], &key.to_uppercase().replace('S', "s"), &format!("{key} {key}")]
        {
            std::fs::write(&path, wrong).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NoKey { .. }), "{error}");
            let told = crate::chain(&error);
            assert!(wrong.is_empty() || !told.contains(wrong), "{told}");
        }
        std::fs::write(&path, [0xff; 4096]).unwrap();
        assert!(matches!(read(&path).unwrap_err(), KeyFileError::NoKey { .. }));
        std::fs::write(&path, format!("\n  {key}\r\n")).unwrap();
        assert_eq!(read(&path).unwrap().nsec(), key);
    }

    #[test]
    fn without_a_file_one_is_told_how_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let told = read(&folder.path().join("key")).unwrap_err().to_string();
        assert!(told.ends_with(": create one with `tithe identity new`"), "{told}");
        assert!(matches!(read(folder.path()).unwrap_err(), KeyFileError::Unreadable { .. }));
    }
}
