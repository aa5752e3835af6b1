//! The file `licence.secret` in the data directory: the private keys of licences, one a line. The first one signs, all of them verify.

use crate::failure::{Failure, doing};
use crate::private;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tithe_clock::Entropy;
use tithe_licences::SigningKey;

const FILE: &str = "licence.secret";

/// The file of the private keys.
pub(super) struct KeyFile {
    data_dir: PathBuf,
    path: PathBuf,
}

impl KeyFile {
    /// The file in a data directory.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), path: data_dir.join(FILE) }
    }

    /// The keys in the file; none if there is no file.
    pub(super) fn read(&self) -> Result<Vec<SigningKey>, Failure> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => self.parse(&text),
            Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(other) => Err(doing(format!("cannot read {}", self.path.display()))(other).into()),
        }
    }

    fn parse(&self, text: &str) -> Result<Vec<SigningKey>, Failure> {
        let path = self.path.display();
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                let number = index + 1;
                keys.push(
                    line.parse().map_err(doing(format!("invalid licence key in {path}, line {number}")))?,
                );
            }
        }
        if keys.is_empty() {
            return Err(format!("no licence key in {path}: expected 64 hex digits in each line").into());
        }
        Ok(keys)
    }

    /// Creates the file with a new key. If another process was faster, returns that process's keys.
    pub(super) fn generate(&self, entropy: &dyn Entropy) -> Result<Vec<SigningKey>, Failure> {
        let keys = vec![SigningKey::random(entropy)];
        let written = private::make_folder(&self.data_dir)
            .and_then(|()| private::write_new(&self.path, &text_of(&keys), entropy));
        match written {
            Ok(()) => Ok(keys),
            Err(taken) if taken.kind() == ErrorKind::AlreadyExists => self.read(),
            Err(other) => Err(doing(format!("cannot write {}", self.path.display()))(other).into()),
        }
    }

    /// Changes the keys. Two processes that change them do so one after the other.
    pub(super) fn change<T>(
        &self,
        entropy: &dyn Entropy,
        change: impl FnOnce(&mut Vec<SigningKey>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let folder = File::open(&self.data_dir)
            .and_then(|folder| folder.lock().map(|()| folder))
            .map_err(doing(format!("cannot lock the data directory {}", self.data_dir.display())))?;
        let mut keys = self.read()?;
        let changed = change(&mut keys)?;
        self.replace(&text_of(&keys), &folder, entropy)
            .map_err(doing(format!("cannot write {}", self.path.display())))?;
        Ok(changed)
    }

    /// Replaces the file atomically: a reader sees the old keys or the new ones.
    fn replace(&self, text: &str, folder: &File, entropy: &dyn Entropy) -> std::io::Result<()> {
        let draft = self.path.with_extension(format!("new-{}", hex::encode(entropy.bytes::<8>())));
        private::write_new(&draft, text, entropy)?;
        if let Err(failed) = std::fs::rename(&draft, &self.path) {
            let _draft_stays = std::fs::remove_file(&draft);
            return Err(failed);
        }
        folder.sync_all()
    }
}

fn text_of(keys: &[SigningKey]) -> String {
    keys.iter().map(|key| key.expose_hex() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::SystemEntropy;
    use tithe_licences::KeyId;

    fn ids(keys: &[SigningKey]) -> Vec<KeyId> {
        keys.iter().map(SigningKey::id).collect()
    }

    #[test]
    fn keys_that_were_written_are_read_again_and_nothing_else_is_left_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(&folder.path().join("data"));
        assert!(file.read().unwrap().is_empty());
        let first = file.generate(&SystemEntropy).unwrap();
        // Another process was faster.
        assert_eq!(ids(&file.generate(&SystemEntropy).unwrap()), ids(&first));
        let new = SigningKey::random(&SystemEntropy);
        file.change(&SystemEntropy, |keys| {
            keys.insert(0, new.clone());
            Ok(())
        })
        .unwrap();
        let expected = [vec![new.id()], ids(&first)].concat();
        assert_eq!(ids(&file.read().unwrap()), expected);
        let refused = file.change(&SystemEntropy, |keys| {
            keys.clear();
            Err::<(), Failure>("no".into())
        });
        assert!(refused.is_err());
        assert_eq!(ids(&file.read().unwrap()), expected);
        let names: Vec<_> = file.path.parent().unwrap().read_dir().unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn processes_that_change_the_keys_at_the_same_time_lose_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path());
        file.generate(&SystemEntropy).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    file.change(&SystemEntropy, |keys| {
                        keys.insert(0, SigningKey::random(&SystemEntropy));
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(file.read().unwrap().len(), 9);
    }

    #[test]
    fn a_line_that_is_no_key_is_named_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path());
        std::fs::write(&file.path, format!("{}\n\n{}\n", "07".repeat(32), "secret")).unwrap();
        let wrong = file.read().unwrap_err();
        assert!(wrong.to_string().ends_with("licence.secret, line 3"), "{wrong}");
        assert_eq!(wrong.source().unwrap().to_string(), "expected 64 hex digits for each key");
        std::fs::write(&file.path, "\n").unwrap();
        assert!(file.read().unwrap_err().to_string().starts_with("no licence key in "));
    }
}
