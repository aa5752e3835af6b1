//! Challenges: a client signs one to prove that it currently holds its key.
//!
//! A challenge is derived from the server's secret, so issuing one writes nothing and cannot be used to fill a table.
//! The store enforces single use: it remembers every used nonce until the nonce may be forgotten.

use crate::event::lowercase_hex;
use crate::secret::MacKey;
use crate::{AuthError, Secrets};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::Timestamp;

const PURPOSE: &str = "tithe challenge v1";
/// How far the clock of another server, which issued a nonce, may be ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::from_mins(1);

/// The nonce that a client signs: 32 bytes, written as 64 lowercase hex digits.
///
/// It consists of eight bytes of issue time, eight random bytes and a 16-byte MAC of both. Clients treat it as opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 32]);

/// The text is not a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid nonce: expected 64 lowercase hex digits")]
pub struct InvalidNonce;

impl Nonce {
    /// Creates a nonce from its bytes, without checking who issued it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The nonce's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, InvalidNonce> {
        lowercase_hex(text).map(Self).ok_or(InvalidNonce)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// An issued nonce with its expiry time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// The nonce to sign.
    pub nonce: Nonce,
    /// When the nonce expires.
    pub expires_at: Timestamp,
}

/// Issues and verifies challenges.
#[derive(Debug, Clone)]
pub struct Challenges {
    first: MacKey,
    others: Vec<MacKey>,
    life: Duration,
}

impl Challenges {
    /// The default lifetime of a challenge.
    pub const LIFE: Duration = Duration::from_mins(5);

    /// Challenges with a lifetime of `life`.
    #[must_use]
    pub fn new(secrets: &Secrets, life: Duration) -> Self {
        let others = secrets.iter().skip(1).map(|secret| MacKey::new(secret, PURPOSE)).collect();
        Self { first: MacKey::new(secrets.first(), PURPOSE), others, life }
    }

    /// Issues an unpredictable challenge.
    #[must_use]
    pub fn issue(&self, now: Timestamp, random: [u8; 8]) -> Challenge {
        let mut bytes = [0; 32];
        let (message, tag) = bytes.split_at_mut(16);
        let parts = now.unix_micros().to_be_bytes().into_iter().chain(random);
        message.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        tag.iter_mut().zip(self.first.tag(message)).for_each(|(to, from)| *to = from);
        Challenge { nonce: Nonce(bytes), expires_at: now + self.life }
    }

    /// Verifies an unexpired nonce of ours and returns when it expires. The store checks whether it was used before.
    ///
    /// # Errors
    /// [`AuthError::UnknownNonce`] if none of our secrets issued it, or if its issue time is further in the future than
    /// clocks may differ; [`AuthError::ExpiredNonce`].
    pub fn check(&self, nonce: Nonce, now: Timestamp) -> Result<Timestamp, AuthError> {
        let (message, tag) = nonce.0.split_at(16);
        let ours = std::iter::once(&self.first).chain(&self.others).any(|key| key.is_tag(message, tag));
        let issued_at = message.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
        let issued_at = issued_at.and_then(|micros| Timestamp::from_unix_micros(micros).ok());
        let issued_at = issued_at.filter(|at| ours && *at <= now + CLOCKS_DIFFER);
        let expires_at = issued_at.ok_or(AuthError::UnknownNonce)? + self.life;
        if now >= expires_at {
            return Err(AuthError::ExpiredNonce { at: expires_at });
        }
        Ok(expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, secret, secrets};
    use crate::{Audience, IdentityTokens, NostrPubkey, Secret};
    use proptest::prelude::*;

    const MICRO: Duration = Duration::from_micros(1);
    const LIFE: Duration = Challenges::LIFE;

    fn challenges() -> Challenges {
        Challenges::new(&secrets(), LIFE)
    }

    #[test]
    fn a_nonce_is_taken_until_it_expires_to_the_microsecond() {
        let now = NOW + MICRO * 123_457;
        let challenge = challenges().issue(now, [9; 8]);
        assert_eq!(challenge.expires_at, now + LIFE);
        for at in [now, now + LIFE - MICRO] {
            assert_eq!(challenges().check(challenge.nonce, at), Ok(challenge.expires_at));
        }
        for at in [now + LIFE, now + LIFE * 1_000] {
            let expired = AuthError::ExpiredNonce { at: challenge.expires_at };
            assert_eq!(challenges().check(challenge.nonce, at), Err(expired));
        }
    }

    #[test]
    fn a_nonce_of_another_servers_clock_is_taken_a_minute_early_and_no_more() {
        let challenge = challenges().issue(NOW, [9; 8]);
        let early = NOW - CLOCKS_DIFFER;
        assert_eq!(challenges().check(challenge.nonce, early), Ok(challenge.expires_at));
        assert_eq!(challenges().check(challenge.nonce, early - MICRO), Err(AuthError::UnknownNonce));
    }

    #[test]
    fn a_nonce_with_any_bit_flipped_is_unknown() {
        let nonce = challenges().issue(NOW, [9; 8]).nonce.to_bytes();
        for bit in 0..256 {
            let mut flipped = nonce;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let checked = challenges().check(Nonce::from_bytes(flipped), NOW);
            assert_eq!(checked, Err(AuthError::UnknownNonce), "bit {bit}");
        }
    }

    #[test]
    fn a_nonce_survives_a_rotation_and_not_the_end_of_its_secret() {
        let (old, new) = (secret("old"), secret("new"));
        let with = |first: &Secret, others| Challenges::new(&Secrets::new(first.clone(), others), LIFE);
        let nonce = with(&old, vec![]).issue(NOW, [0; 8]).nonce;
        assert!(with(&new, vec![secret("x"), old.clone()]).check(nonce, NOW).is_ok());
        assert_eq!(with(&new, vec![]).check(nonce, NOW), Err(AuthError::UnknownNonce));
        assert_ne!(with(&new, vec![old]).issue(NOW, [0; 8]).nonce, nonce, "the first makes");
    }

    #[test]
    fn a_mac_for_another_purpose_makes_no_nonce() {
        let mut bytes = challenges().issue(NOW, [9; 8]).nonce.to_bytes();
        let other = MacKey::new(secrets().first(), "tithe identity token v1").tag(&bytes[..16]);
        bytes[16..].copy_from_slice(&other[..16]);
        let checked = challenges().check(Nonce::from_bytes(bytes), NOW);
        assert_eq!(checked, Err(AuthError::UnknownNonce));
    }

    #[test]
    fn a_nonce_is_no_token() {
        let tokens = IdentityTokens::new(&secrets(), Audience::literal("tithe"), LIFE);
        assert!(tokens.verify(&challenges().issue(NOW, [0; 8]).nonce.to_string(), NOW).is_err());
        let pubkey = NostrPubkey::restore(&"a".repeat(64)).unwrap();
        assert!(tokens.issue(pubkey, NOW).text.parse::<Nonce>().is_err());
    }

    #[test]
    fn other_random_bytes_or_another_microsecond_make_another_nonce() {
        let nonce = challenges().issue(NOW, [0; 8]).nonce;
        assert_ne!(challenges().issue(NOW, [1; 8]).nonce, nonce);
        assert_ne!(challenges().issue(NOW + MICRO, [0; 8]).nonce, nonce);
        assert_eq!(challenges().issue(NOW, [0; 8]).nonce, nonce);
    }

    #[test]
    fn a_nonce_is_written_in_lowercase_hex_and_read_from_nothing_else() {
        let nonce = challenges().issue(NOW, [0xab; 8]).nonce;
        let text = nonce.to_string();
        assert_eq!(text.parse(), Ok(nonce));
        assert_eq!(&text[16..32], "abababababababab");
        let wrong = [
            String::new(),
            text.to_uppercase(),
            text[1..].into(),
            format!("{text}0"),
            format!(" {}", &text[1..]),
        ];
        for wrong in wrong.into_iter().chain([format!("{}é", &text[2..]), format!("0x{}", &text[2..])]) {
            assert_eq!(wrong.parse::<Nonce>(), Err(InvalidNonce), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_and_none_are_ours(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(challenges().check(Nonce::from_bytes(bytes), NOW), Err(AuthError::UnknownNonce));
        }

        #[test]
        fn a_nonce_reads_back_as_it_is_written(bytes in any::<[u8; 32]>(), text in "\\PC*") {
            let nonce = Nonce::from_bytes(bytes);
            prop_assert_eq!(nonce.to_string().parse(), Ok(nonce));
            let _ = text.parse::<Nonce>();
        }

        /// Signed by us, with arbitrary content: no timestamp causes a panic.
        #[test]
        fn any_time_can_be_judged(micros in any::<i64>(), random in any::<[u8; 8]>()) {
            let mut bytes = [&micros.to_be_bytes()[..], &random, &[0; 16]].concat();
            let tag = MacKey::new(secrets().first(), PURPOSE).tag(&bytes[..16]);
            bytes[16..].copy_from_slice(&tag[..16]);
            let _ = challenges().check(Nonce::from_bytes(bytes.try_into().unwrap()), NOW);
        }
    }
}
