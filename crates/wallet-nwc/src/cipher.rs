//! The two encryptions of NIP-47.

use nostr::key::{Keys, PublicKey};
use nostr::nips::{nip04, nip44};

/// What separates the parts of a text that is encrypted by NIP-04. Base64 has no question mark.
const NIP04_MARK: &str = "?iv=";

/// How the content of an event is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Nip44,
    Nip04,
}

/// The content could not be encrypted or decrypted. It has no cause, so that no secret shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("encryption failed")]
pub(crate) struct CipherError;

impl Cipher {
    /// The preferred one of the `encryption` tag of the info event. A wallet without the tag supports NIP-04 only.
    pub fn of_info(encryption: Option<&str>) -> Self {
        let modern = encryption.is_some_and(|list| list.split_whitespace().any(|name| name == "nip44_v2"));
        if modern { Self::Nip44 } else { Self::Nip04 }
    }

    /// The value of the `encryption` tag of a request. NIP-04 is also what the absence of the tag means, and old wallets
    /// know no such tag.
    pub const fn request_tag(self) -> Option<&'static str> {
        match self {
            Self::Nip44 => Some("nip44_v2"),
            Self::Nip04 => None,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Nip44 => Self::Nip04,
            Self::Nip04 => Self::Nip44,
        }
    }

    /// Encrypts a text for the owner of `to`.
    pub fn encrypt(self, keys: &Keys, to: &PublicKey, text: &str) -> Result<String, CipherError> {
        match self {
            Self::Nip44 => nip44::encrypt(keys.secret_key(), to, text, nip44::Version::V2),
            Self::Nip04 => nip04::encrypt(keys.secret_key(), to, text),
        }
        .map_err(|_| CipherError)
    }
}

/// Decrypts a content from the owner of `from`. Its form says how it is encrypted: a wallet that does not support the
/// encryption of a request says so in one of its own choice.
pub(crate) fn decrypt(keys: &Keys, from: &PublicKey, content: &str) -> Result<String, CipherError> {
    if content.contains(NIP04_MARK) {
        nip04::decrypt(keys.secret_key(), from, content)
    } else {
        nip44::decrypt(keys.secret_key(), from, content)
    }
    .map_err(|_| CipherError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cipher_is_recognised_by_its_form() {
        let (one, two) = (Keys::generate(), Keys::generate());
        for cipher in [Cipher::Nip44, Cipher::Nip04] {
            let content = cipher.encrypt(&one, &two.public_key(), "hello").unwrap();
            assert_eq!(decrypt(&two, &one.public_key(), &content).unwrap(), "hello");
            let stranger = Keys::generate();
            assert_ne!(decrypt(&stranger, &one.public_key(), &content), Ok("hello".to_owned()));
        }
        assert_eq!(decrypt(&two, &one.public_key(), "garbage"), Err(CipherError));
    }

    #[test]
    fn nip44_is_used_when_the_wallet_offers_it() {
        for (tag, cipher) in [
            (None, Cipher::Nip04),
            (Some(""), Cipher::Nip04),
            (Some("nip04"), Cipher::Nip04),
            (Some("nip04 nip44_v2"), Cipher::Nip44),
            (Some("nip44_v2"), Cipher::Nip44),
            (Some("nip44_v20"), Cipher::Nip04),
        ] {
            assert_eq!(Cipher::of_info(tag), cipher, "{tag:?}");
        }
    }
}
