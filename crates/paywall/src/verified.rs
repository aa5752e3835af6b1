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
