//! The key that binds a challenge's id to the challenge.

use super::Challenge;
use crate::chain::{self, HmacSha256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use hmac::digest::CtOutput;
use std::fmt;

const PURPOSE: &[u8] = b"tithe payment challenge key v1\0";

/// What separates the slots of the MAC's input.
pub(super) const SEPARATOR: char = '|';

/// The key with which challenges are issued and recognized. `Debug` hides it.
#[derive(Clone)]
pub struct ChallengeKey(HmacSha256);

impl ChallengeKey {
    /// Derives the key from a server secret, of at least 16 bytes that cannot be guessed.
    ///
    /// The key is HMAC-SHA-256, keyed with the secret, of `tithe payment challenge key v1` and a zero byte; other uses of
    /// the same secret don't collide with it.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        Self::from_bytes(&chain::hmac(secret, &[PURPOSE]).finalize().into_bytes())
    }

    /// The key itself, as other implementations take it.
    #[must_use]
    pub fn from_bytes(key: &[u8]) -> Self {
        Self(chain::hmac(key, &[]))
    }

    /// The id of a challenge, whatever id it has: base64url of HMAC-SHA-256 over its seven slots
    /// (`draft-httpauth-payment-00`, "Recommended: HMAC-SHA256 Binding"). The description is not among them.
    #[must_use]
    pub(super) fn id_of(&self, challenge: &Challenge) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(challenge).into_bytes())
    }

    /// Whether the challenge was issued with this key, and nothing in it but the description was altered. The comparison takes
    /// constant time.
    #[must_use]
    pub fn issued(&self, challenge: &Challenge) -> bool {
        // No challenge with a separator in a slot is issued: it would have the MAC of other challenges.
        if challenge.slots().iter().any(|slot| slot.contains(SEPARATOR)) {
            return false;
        }
        let id = URL_SAFE_NO_PAD.decode(&challenge.id).ok();
        let Some(id) = id.and_then(|id| <[u8; 32]>::try_from(id).ok()) else { return false };
        self.mac(challenge) == CtOutput::new(id.into())
    }

    fn mac(&self, challenge: &Challenge) -> CtOutput<HmacSha256> {
        let mut mac = self.0.clone();
        for (index, slot) in challenge.slots().into_iter().enumerate() {
            if index > 0 {
                mac.update(b"|");
            }
            mac.update(slot.as_bytes());
        }
        mac.finalize()
    }
}

impl fmt::Debug for ChallengeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> ChallengeKey {
        ChallengeKey::derive(b"a secret of the server")
    }

    fn issued(mut challenge: Challenge) -> Challenge {
        challenge.id = key().id_of(&challenge);
        challenge
    }

    fn slot() -> impl Strategy<Value = String> {
        "[a-z]{0,3}"
    }

    fn challenge() -> impl Strategy<Value = Challenge> {
        let optional = || prop::option::of("[a-z]{1,3}");
        let slots = (slot(), slot(), slot(), slot(), optional(), optional(), optional(), optional());
        slots.prop_map(|(realm, method, intent, request, expires, digest, opaque, description)| {
            let id = String::new();
            issued(Challenge { id, realm, method, intent, request, expires, digest, opaque, description })
        })
    }

    /// From Python's `hmac` module.
    #[test]
    fn a_derived_key_is_not_the_secret() {
        let challenge = Challenge { realm: "r".into(), ..Challenge::default() };
        assert_eq!(key().id_of(&challenge), "9D8CoYkbJiG1St5QlWPfkQUmv8-0KBBlOyt5y4ADWXc");
        assert_ne!(
            ChallengeKey::from_bytes(b"a secret of the server").id_of(&challenge),
            key().id_of(&challenge)
        );
    }

    #[test]
    fn no_debug_shows_a_key() {
        assert_eq!(format!("{:?}", key()), "ChallengeKey(…)");
    }

    /// In the MAC's input, one is the other.
    #[test]
    fn a_slot_cannot_be_split_into_two() {
        let challenge = Challenge { realm: "a|b".into(), method: "c".into(), ..Challenge::default() };
        let other = Challenge { realm: "a".into(), method: "b|c".into(), ..Challenge::default() };
        assert_eq!(key().id_of(&challenge), key().id_of(&other));
        assert!(!key().issued(&issued(challenge)) && !key().issued(&issued(other)));
    }

    proptest! {
        #[test]
        fn an_issued_challenge_is_recognized(challenge in challenge(), description in prop::option::of("[a-z]{0,3}")) {
            prop_assert!(key().issued(&challenge));
            prop_assert!(!ChallengeKey::derive(b"another secret of it").issued(&challenge));
            let described = Challenge { description, ..challenge };
            prop_assert!(key().issued(&described));
        }

        #[test]
        fn another_slot_is_another_id(one in challenge(), other in challenge()) {
            let same = one.slots() == other.slots();
            prop_assert_eq!(one.id == other.id, same);
            let with_other_id = Challenge { id: other.id, ..one };
            prop_assert_eq!(key().issued(&with_other_id), same);
        }

        #[test]
        fn any_change_of_one_slot_is_noticed(challenge in challenge(), at in 0_usize..8, with in slot()) {
            let (mut changed, some) = (challenge.clone(), Some(with.clone()).filter(|text| !text.is_empty()));
            match at {
                0 => changed.realm = with,
                1 => changed.method = with,
                2 => changed.intent = with,
                3 => changed.request = with,
                4 => changed.expires = some,
                5 => changed.digest = some,
                6 => changed.opaque = some,
                _ => changed.id = with,
            }
            prop_assert_eq!(key().issued(&changed), changed == challenge);
        }
    }
}
