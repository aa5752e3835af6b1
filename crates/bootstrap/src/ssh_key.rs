//! Public keys for SSH.

use std::fmt;
use std::str::FromStr;

/// The kinds of keys that are accepted, as OpenSSH names them.
const KINDS: [&str; 6] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

/// The longest key: RSA with 16384 bits.
const LENGTH_MAX: usize = 3_000;

/// A public key for SSH, in one line as in `authorized_keys` (OpenSSH, `sshd(8)`): kind, base64, and a comment, which is dropped.
/// Options before the kind are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub struct SshPublicKey(String);

/// The text is no public key for SSH.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid SSH public key: expected one line such as \"ssh-ed25519 AAAA…\"")]
pub struct InvalidSshPublicKey;

impl SshPublicKey {
    /// The key, without a comment.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SshPublicKey {
    type Err = InvalidSshPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidSshPublicKey> {
        let text = text.trim();
        if text.len() > LENGTH_MAX || text.chars().any(char::is_control) {
            return Err(InvalidSshPublicKey);
        }
        let mut words = text.split_ascii_whitespace();
        let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        // The key begins with the length of its kind's name and that name (RFC 4253, section 6.6).
        let begins = begin_of(kind);
        if !KINDS.contains(&kind)
            || key.len() < 60
            || !key.chars().all(is_base64)
            || !key.starts_with(&begins)
        {
            return Err(InvalidSshPublicKey);
        }
        Ok(Self(format!("{kind} {key}")))
    }
}

/// The first digits of the base64 of a key of this kind: those that follow from the name of the kind alone.
fn begin_of(kind: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let length = u32::try_from(kind.len()).unwrap_or(u32::MAX).to_be_bytes();
    let bytes: Vec<u8> = length.into_iter().chain(kind.bytes()).collect();
    let whole = bytes
        .chunks_exact(3)
        .map(|chunk| chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)));
    whole
        .flat_map(|bits| [18, 12, 6, 0].map(|shift| (bits >> shift) & 63))
        .filter_map(|digit| DIGITS.get(usize::try_from(digit).ok()?).copied())
        .map(char::from)
        .collect()
}

impl fmt::Display for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SshPublicKey> for String {
    fn from(key: SshPublicKey) -> Self {
        key.0
    }
}

impl TryFrom<String> for SshPublicKey {
    type Error = InvalidSshPublicKey;
    fn try_from(text: String) -> Result<Self, InvalidSshPublicKey> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+3KZ3Zq2B1n2l8tKk1k5m3wYcV0x0u8n6lq7m8Qm0a";

    #[test]
    fn a_key_is_one_line_without_its_comment() {
        assert_eq!(KEY.parse::<SshPublicKey>().unwrap().as_str(), KEY);
        assert_eq!(format!(" {KEY} me@home\n").parse::<SshPublicKey>().unwrap().as_str(), KEY);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let two = format!("{KEY}\n{KEY}");
        let options = format!("command=\"reboot\" {KEY}");
        let other_kind = KEY.replace("ssh-ed25519 ", "ssh-rsa ");
        let quoted = KEY.replace("J+3", "J\"3");
        let long = format!("{KEY}{}", "A".repeat(LENGTH_MAX));
        for wrong in ["", "ssh-ed25519", "ssh-ed25519 AAAA", &two, &options, &other_kind, &quoted, &long] {
            assert_eq!(wrong.parse::<SshPublicKey>(), Err(InvalidSshPublicKey), "{wrong}");
        }
    }
}
