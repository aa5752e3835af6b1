//! Encryption of what must be kept for a while: the password of a new node, and its credentials.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use tithe_bootstrap::BootstrapId;
use tithe_clock::Entropy;
use tithe_trust::{MacKey, Secrets};

/// Separates these keys from others that are made of the same secret.
const PURPOSE: &str = "tithe bootstrap credentials v1";

/// The length of the nonce that comes before the encrypted text.
const NONCE_BYTES: usize = 24;

/// Encrypts with the first secret, and decrypts with any. Each bootstrap has a key of its own, and what is encrypted for one cannot
/// be decrypted for another.
pub(crate) struct Seal(Vec<MacKey>);

impl Seal {
    /// A seal with keys that derive from these secrets.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self(secrets.iter().map(|secret| MacKey::new(secret, PURPOSE)).collect())
    }

    /// Encrypts `text` for a bootstrap; `None` when it cannot be encrypted.
    pub(super) fn seal(&self, id: BootstrapId, text: &str, entropy: &dyn Entropy) -> Option<String> {
        let nonce: [u8; NONCE_BYTES] = entropy.bytes();
        let payload = Payload { msg: text.as_bytes(), aad: id.0.as_bytes() };
        let encrypted = cipher(self.0.first()?, id).encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(hex::encode([&nonce[..], &encrypted].concat()))
    }

    /// Decrypts what was encrypted for a bootstrap; `None` when no secret fits, or it was changed.
    pub(super) fn open(&self, id: BootstrapId, sealed: &str) -> Option<String> {
        let bytes = hex::decode(sealed).ok()?;
        let (nonce, encrypted) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let opened = self.0.iter().find_map(|key| {
            let payload = Payload { msg: encrypted, aad: id.0.as_bytes() };
            cipher(key, id).decrypt(&XNonce::from(*nonce), payload).ok()
        });
        String::from_utf8(opened?).ok()
    }
}

fn cipher(key: &MacKey, id: BootstrapId) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.tag(id.0.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::SeededEntropy;
    use tithe_trust::Secret;
    use uuid::Uuid;

    fn seal(names: &[&str]) -> Seal {
        let mut secrets = names.iter().map(|name| Secret::new(format!("{name:_<32}")).unwrap());
        let first = secrets.next().unwrap();
        Seal::new(&Secrets::new(first, secrets.collect()))
    }

    #[test]
    fn only_the_same_bootstrap_and_secret_open_a_seal() {
        let (id, entropy) = (BootstrapId(Uuid::nil()), SeededEntropy::new(7));
        let sealed = seal(&["old"]).seal(id, "hunter2", &entropy).unwrap();
        assert!(!sealed.contains(&hex::encode("hunter2")));
        assert_eq!(seal(&["old"]).open(id, &sealed).as_deref(), Some("hunter2"));
        assert_eq!(seal(&["new", "old"]).open(id, &sealed).as_deref(), Some("hunter2"), "after a rotation");
        assert_eq!(seal(&["new"]).open(id, &sealed), None);
        assert_eq!(seal(&["old"]).open(BootstrapId(Uuid::max()), &sealed), None);
        for at in [0, sealed.len() - 1] {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(seal(&["old"]).open(id, &String::from_utf8(changed).unwrap()), None);
        }
        for wrong in ["", "00", "xx"] {
            assert_eq!(seal(&["old"]).open(id, wrong), None);
        }
        let again = seal(&["old"]).seal(id, "hunter2", &entropy).unwrap();
        assert_ne!(sealed, again, "each time with another nonce");
    }
}
