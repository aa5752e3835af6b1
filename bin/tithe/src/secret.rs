//! The server's secret: configured, or generated at the first start and stored with mode 0600.

use crate::private;
use std::io::ErrorKind;
use std::path::Path;
use tithe_clock::Entropy;
use tithe_trust::{Secret, SecretKey, Secrets};

const FILE: &str = "token.secret";
const NOSTR_FILE: &str = "nostr.secret";

/// The configured secrets, or the one stored in the data directory.
pub(crate) fn secrets(
    given: Option<&[String]>,
    data_dir: &Path,
    entropy: &dyn Entropy,
) -> std::io::Result<Secrets> {
    let secrets: Result<Vec<Secret>, _> =
        given.unwrap_or_default().iter().map(|secret| Secret::new(secret.as_bytes())).collect();
    let mut secrets = secrets.map_err(std::io::Error::other)?.into_iter();
    if let Some(first) = secrets.next() {
        return Ok(Secrets::new(first, secrets.collect()));
    }
    let path = data_dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(missing) if missing.kind() == ErrorKind::NotFound => generate(&path, entropy)?,
        Err(other) => return Err(other),
    };
    Ok(Secrets::new(parse(&text, &path)?, Vec::new()))
}

/// Whether a secret was generated in a data directory.
pub(crate) fn is_generated(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

fn parse(text: &str, path: &Path) -> std::io::Result<Secret> {
    let bytes = hex::decode(text.trim()).ok().filter(|bytes| bytes.len() == 32).ok_or_else(|| {
        let problem = format!("invalid secret in {}: expected 64 hex digits", path.display());
        std::io::Error::new(ErrorKind::InvalidData, problem)
    })?;
    Secret::new(bytes).map_err(std::io::Error::other)
}

/// The secrets of claim tokens: those that were configured, or those of all other tokens. Claims that were made with another secret,
/// before one was configured for them, are still proved.
pub(crate) fn claim_secrets(
    given: Option<&[String]>,
    others: &Secrets,
    data_dir: &Path,
) -> std::io::Result<Secrets> {
    let secrets: Result<Vec<Secret>, _> =
        given.unwrap_or_default().iter().map(|secret| Secret::new(secret.as_bytes())).collect();
    let mut secrets = secrets.map_err(std::io::Error::other)?.into_iter();
    let path = data_dir.join(FILE);
    let generated = match std::fs::read_to_string(&path) {
        Ok(text) => Some(parse(&text, &path)?),
        Err(missing) if missing.kind() == ErrorKind::NotFound => None,
        Err(other) => return Err(other),
    };
    Ok(if let Some(first) = secrets.next() {
        Secrets::new(first, secrets.chain(others.iter().cloned()).chain(generated).collect())
    } else {
        let former = others.iter().skip(1).cloned().chain(generated);
        Secrets::new(others.first().clone(), former.collect())
    })
}

/// The configured Nostr key, or the one stored in the data directory, where one is generated if there is none.
pub(crate) fn nostr_key(
    given: Option<&SecretKey>,
    data_dir: &Path,
    entropy: &dyn Entropy,
) -> std::io::Result<SecretKey> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    if let Some(stored) = stored_nostr_key(data_dir)? {
        return Ok(stored);
    }
    let key = SecretKey::from_bytes(entropy.bytes()).map_err(std::io::Error::other)?;
    match private::write_new(&data_dir.join(NOSTR_FILE), &key.nsec(), entropy) {
        Ok(()) => Ok(key),
        // Another server was faster.
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists => stored_nostr_key(data_dir)?.ok_or(taken),
        Err(other) => Err(other),
    }
}

/// The Nostr key in the data directory; `None` until the first start has generated one.
pub(crate) fn stored_nostr_key(data_dir: &Path) -> std::io::Result<Option<SecretKey>> {
    let path = data_dir.join(NOSTR_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|wrong| {
            let problem = format!("cannot use {}: {wrong}", path.display());
            std::io::Error::new(ErrorKind::InvalidData, problem)
        }),
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

/// Generates and stores a secret. If another server was faster, returns that server's secret.
fn generate(path: &Path, entropy: &dyn Entropy) -> std::io::Result<String> {
    let secret = hex::encode(entropy.bytes::<32>());
    match private::write_new(path, &secret, entropy) {
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists => std::fs::read_to_string(path),
        Err(other) => Err(other),
        Ok(()) => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::SystemEntropy;

    #[test]
    fn a_nostr_key_is_generated_once_and_a_configured_one_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(stored_nostr_key(folder.path()).unwrap(), None);
        let generated = nostr_key(None, folder.path(), &SystemEntropy).unwrap();
        assert_eq!(nostr_key(None, folder.path(), &SystemEntropy).unwrap(), generated);
        assert_eq!(stored_nostr_key(folder.path()).unwrap(), Some(generated.clone()));
        let given = SecretKey::from_bytes([7; 32]).unwrap();
        assert_eq!(nostr_key(Some(&given), folder.path(), &SystemEntropy).unwrap(), given);
        assert_eq!(stored_nostr_key(folder.path()).unwrap(), Some(generated));
    }

    #[test]
    fn a_file_that_holds_no_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NOSTR_FILE), "nsec1typo").unwrap();
        let wrong = nostr_key(None, folder.path(), &SystemEntropy).unwrap_err().to_string();
        assert!(wrong.contains(NOSTR_FILE) && !wrong.contains("typo"), "{wrong}");
    }
}
