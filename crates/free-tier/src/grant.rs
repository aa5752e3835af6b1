//! Grants: the permanent record of what the pool has paid.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// The id of a grant, derived from the work that it paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantId(pub Uuid);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GrantId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The SHA-256 of a request. It lets the grant log tell requests apart without storing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// Hashes a request.
    #[must_use]
    pub fn of(request: &str) -> Self {
        Self(Sha256::digest(request.as_bytes()).into())
    }

    /// Creates a hash from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The text is not a SHA-256 in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits")]
pub struct InvalidRequestHash;

impl FromStr for RequestHash {
    type Err = InvalidRequestHash;
    fn from_str(text: &str) -> Result<Self, InvalidRequestHash> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidRequestHash)?;
        Ok(Self(bytes))
    }
}

/// The pool's payment for one piece of work. Never changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The id, which identifies the piece of work.
    pub id: GrantId,
    /// The identity that received the grant.
    pub pubkey: NostrPubkey,
    /// The hash of the request.
    pub request_hash: RequestHash,
    /// The amount that the pool paid.
    pub absorbed: Msats,
    /// The pool's balance after the grant.
    pub pool_balance_after: Msats,
    /// When the grant was made.
    pub created_at: Timestamp,
}

/// The pool's counters: open offers, which are limited, and today's grants, which are informational.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolCounters {
    /// The total held by unpaid offers.
    pub offered: Msats,
    /// The day that `granted` refers to, in days since 1970, UTC.
    pub day: i64,
    /// The total granted on that day.
    pub granted: Msats,
}

impl PoolCounters {
    /// The day number of a timestamp, UTC.
    #[must_use]
    pub const fn day_of(at: Timestamp) -> i64 {
        at.unix_micros().div_euclid(24 * 60 * 60 * 1_000_000)
    }

    /// The total granted today.
    #[must_use]
    pub const fn granted_today(&self, now: Timestamp) -> Msats {
        if self.day == Self::day_of(now) { self.granted } else { Msats::ZERO }
    }

    /// Returns the counters with one more grant.
    ///
    /// # Errors
    /// [`crate::FreeTierError::Money`] if the total would exceed the supply of bitcoin.
    pub fn grant(&self, amount: Msats, now: Timestamp) -> Result<Self, crate::FreeTierError> {
        // Around midnight, a server whose clock is behind must not turn the day back. A stored day that is several days
        // ahead comes from a wrong clock and is ignored.
        let today = Self::day_of(now);
        let day = if self.day == today.saturating_add(1) { self.day } else { today };
        let before = if day == self.day { self.granted } else { Msats::ZERO };
        Ok(Self { day, granted: before.checked_add(amount)?, ..*self })
    }

    /// Returns the counters with one more offer.
    ///
    /// # Errors
    /// [`crate::FreeTierError::Money`] if the total would exceed the supply of bitcoin.
    pub fn offer(&self, amount: Msats) -> Result<Self, crate::FreeTierError> {
        Ok(Self { offered: self.offered.checked_add(amount)?, ..*self })
    }

    /// Returns the counters with one offer less. An inconsistent counter is left to the audit: it must not block a
    /// payment.
    #[must_use]
    pub const fn end_offer(&self, amount: Msats) -> Self {
        Self { offered: self.offered.saturating_sub(amount), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_day_of_the_tally_ends_at_midnight() {
        let msats = |n| Msats::new(n).unwrap();
        let morning = Timestamp::parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
        let tally =
            PoolCounters::default().grant(msats(5), morning).unwrap().grant(msats(6), morning).unwrap();
        let night = morning + Duration::from_hours(24) - Duration::from_micros(1);
        assert_eq!(tally.granted_today(night), msats(11));
        assert_eq!(tally.granted_today(morning + Duration::from_hours(24)), Msats::ZERO);
        let next = tally.grant(msats(1), morning + Duration::from_hours(24)).unwrap();
        assert_eq!(next.granted, msats(1));
        assert_eq!(next.grant(msats(1), night).unwrap().granted, msats(2), "a clock that is behind");
        let far = next.grant(msats(9), morning + Duration::from_hours(24 * 400)).unwrap();
        assert_eq!(
            far.grant(msats(1), night).unwrap().granted_today(night),
            msats(1),
            "one that was far ahead"
        );
    }

    #[test]
    fn a_hash_reads_back() {
        let hash = RequestHash::of("hello");
        assert_eq!(hash.to_string(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("xy".parse::<RequestHash>(), Err(InvalidRequestHash));
    }
}
