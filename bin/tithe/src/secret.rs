//! The server's secret: configured, or generated at the first start and stored with mode 0600.

use crate::private;
use std::io::ErrorKind;
use std::path::Path;
use tithe_clock::Entropy;
use tithe_trust::{Secret, Secrets};

const FILE: &str = "token.secret";

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

/// Generates and stores a secret. If another server was faster, returns that server's secret.
fn generate(path: &Path, entropy: &dyn Entropy) -> std::io::Result<String> {
    let secret = hex::encode(entropy.bytes::<32>());
    match private::write_new(path, &secret, entropy) {
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists => std::fs::read_to_string(path),
        Err(other) => Err(other),
        Ok(()) => Ok(secret),
    }
}
