//! The server's own secret: given, or generated on first run and kept with mode 0600.

use std::io::{ErrorKind, Write};
use std::path::Path;
use tithe_clock::Entropy;
use tithe_engine::claim_token::{ClaimTokens, Secret};

const FILE: &str = "token.secret";

/// The tokens of the given secrets, or of the one that the data directory keeps.
pub(crate) fn claim_tokens(
    given: Option<&[String]>,
    data_dir: &Path,
    entropy: &dyn Entropy,
) -> std::io::Result<ClaimTokens> {
    let mut secrets = given.unwrap_or_default().iter().map(|secret| Secret::new(secret.as_bytes()));
    if let Some(first) = secrets.next() {
        return Ok(ClaimTokens::new(first, secrets.collect()));
    }
    let path = data_dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(missing) if missing.kind() == ErrorKind::NotFound => generate(&path, entropy)?,
        Err(other) => return Err(other),
    };
    let bytes = hex::decode(text.trim()).ok().filter(|bytes| bytes.len() == 32).ok_or_else(|| {
        let problem = format!("{} does not hold 64 hex digits", path.display());
        std::io::Error::new(ErrorKind::InvalidData, problem)
    })?;
    Ok(ClaimTokens::new(Secret::new(bytes), Vec::new()))
}

/// Writes a new secret beside its place, whole and on disk, and moves it there unless another server was faster.
fn generate(path: &Path, entropy: &dyn Entropy) -> std::io::Result<String> {
    let secret = hex::encode(entropy.bytes::<32>());
    let unique = hex::encode(entropy.bytes::<8>());
    let draft = path.with_extension(unique);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists => std::fs::read_to_string(path),
        Err(other) => Err(other),
        Ok(()) => Ok(secret),
    }
}
