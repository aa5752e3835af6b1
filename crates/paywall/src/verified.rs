//! What a verified macaroon allows.

use crate::{Caveat, InvalidCaveat, Key, KeyId};
use std::collections::BTreeSet;
use tithe_clock::Timestamp;

/// A macaroon whose signature is genuine, and whose caveats are all known: what it allows.
///
/// What the caller still has to check: the expiry time, the model, and for each key whether it is revoked and whether
/// its limit allows the request ([`KeyUsage`](crate::KeyUsage)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    identifier: Vec<u8>,
    caveats: Vec<Caveat>,
    keys: Vec<Key>,
    expires_at: Option<Timestamp>,
    models: Option<BTreeSet<String>>,
}

impl Verified {
    /// What the caveats allow. `first` is the key of the macaroon without caveats; each caveat comes with the key after it.
    pub(crate) fn new<'a>(
        identifier: Vec<u8>,
        first: KeyId,
        narrowed: impl Iterator<Item = (&'a [u8], KeyId)>,
    ) -> Result<Self, InvalidCaveat> {
        let keys = vec![Key { id: first, limit: None }];
        let mut verified = Self { identifier, caveats: Vec::new(), keys, expires_at: None, models: None };
        for (caveat, id) in narrowed {
            let caveat = Caveat::from_bytes(caveat)?;
            let limit = verified.narrow(&caveat);
            verified.keys.push(Key { id, limit });
            verified.caveats.push(caveat);
        }
        Ok(verified)
    }

    /// Applies a caveat. Every caveat only takes away from what the ones before it allow.
    fn narrow(&mut self, caveat: &Caveat) -> Option<crate::Limit> {
        match caveat {
            Caveat::Expires(expiry) => {
                let at = expiry.timestamp();
                self.expires_at = Some(self.expires_at.map_or(at, |earlier| earlier.min(at)));
                None
            }
            Caveat::Models(models) => {
                let named = models.iter().filter(|name| self.allows_model(name)).map(String::from).collect();
                self.models = Some(named);
                None
            }
            Caveat::Limit(limit) => Some(*limit),
        }
    }

    /// The macaroon's identifier, as it was minted.
    #[must_use]
    pub fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    /// The caveats, as they are in the macaroon.
    #[must_use]
    pub fn caveats(&self) -> &[Caveat] {
        &self.caveats
    }

    /// The keys that the macaroon was narrowed from, the minted one first, its own last: one more than there are caveats.
    ///
    /// A request counts against the limits of all of them, and is refused if any of them is revoked.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// When the macaroon expires: the earliest time that a caveat says; `None` if no caveat does.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Returns true if the macaroon has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }

    /// The models that may be used: those that all caveats about models name, possibly none. `None` if no caveat is about
    /// models, so that all of them may be used.
    #[must_use]
    pub fn models(&self) -> Option<&BTreeSet<String>> {
        self.models.as_ref()
    }

    /// Returns true if the macaroon allows the use of the model called `name`.
    #[must_use]
    pub fn allows_model(&self, name: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limit;
    use crate::chain::Signature;
    use std::time::Duration;
    use tithe_money::Msats;

    fn verified(caveats: &[&str]) -> Verified {
        let id = |n: usize| KeyId::of(&Signature([u8::try_from(n).unwrap(); 32]));
        let narrowed = caveats.iter().enumerate().map(|(n, caveat)| (caveat.as_bytes(), id(n + 1)));
        Verified::new(b"session:1".to_vec(), id(0), narrowed).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_macaroon_without_caveats_allows_everything() {
        let verified = verified(&[]);
        assert_eq!((verified.expires_at(), verified.models(), verified.keys().len()), (None, None, 1));
        assert!(verified.allows_model("any") && !verified.is_expired(at(u64::MAX)));
    }

    #[test]
    fn a_macaroon_expires_at_the_earliest_time_to_the_microsecond() {
        let verified = verified(&["expires=200", "expires=100", "expires=300"]);
        assert_eq!(verified.expires_at(), Some(at(100)));
        assert!(!verified.is_expired(at(100) - Duration::from_micros(1)));
        assert!(verified.is_expired(at(100)) && verified.is_expired(at(101)));
    }

    #[test]
    fn only_models_that_every_caveat_names_are_allowed() {
        let first = verified(&["model=a,b", "model=c,b,a", "model=b,d"]);
        assert_eq!(first.models(), Some(&BTreeSet::from(["b".to_owned()])));
        assert!(first.allows_model("b"));
        for model in ["a", "c", "d", "", "B", "b,d", "b "] {
            assert!(!first.allows_model(model), "{model:?}");
        }
        // Nothing in common: no model, rather than any.
        let none = verified(&["model=a", "model=b"]);
        assert_eq!(none.models(), Some(&BTreeSet::new()));
        assert!(!none.allows_model("a") && !none.allows_model("b") && !none.allows_model(""));
    }

    #[test]
    fn each_limit_is_on_the_key_after_its_caveat() {
        let verified = verified(&["max_requests=9", "expires=100", "max_spend_msats=5", "max_requests=20"]);
        let limits: Vec<_> = verified.keys().iter().map(|key| key.limit).collect();
        let total = Limit::Total(Msats::new(5).unwrap());
        assert_eq!(limits, [None, Some(Limit::Requests(9)), None, Some(total), Some(Limit::Requests(20))]);
    }
}
