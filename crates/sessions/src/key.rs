//! The keys of a session: macaroons that were narrowed from its own, and used.

use crate::{SessionId, UsageLevel, Warned};
use tithe_clock::Timestamp;
use tithe_money::Msats;
use tithe_paywall::{Caveat, KeyId, KeyUsage, Limit, UsageError};

/// Which key: key ids are unique within a session only as far as its macaroons are.
pub type SessionKeyId = (SessionId, KeyId);

/// A key as a request presents it: one prefix of the caveats of its macaroon.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PresentedKey {
    /// The key.
    pub id: KeyId,
    /// The key that it was narrowed from, unless that is the session's own.
    pub parent: Option<KeyId>,
    /// The caveats, oldest first, one a line.
    pub caveats: String,
    /// The limit that the last caveat sets.
    pub limit: Option<Limit>,
}

/// A key of a session that was used or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionKey {
    /// The session.
    pub session: SessionId,
    /// The key.
    pub id: KeyId,
    /// The key that it was narrowed from, unless that is the session's own.
    pub parent: Option<KeyId>,
    /// The caveats, oldest first, one a line.
    pub caveats: String,
    /// What was spent with it, and with what was narrowed from it.
    pub usage: KeyUsage,
    /// How much of its limit is used, and how much of that the owner was told.
    pub warned: Warned,
    /// When the owner revoked it.
    pub revoked_at: Option<Timestamp>,
    /// When it was used first.
    pub first_used_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Timestamp,
}

impl SessionKey {
    /// A key that is used for the first time.
    #[must_use]
    pub fn first_used(session: SessionId, key: &PresentedKey, now: Timestamp) -> Self {
        Self {
            session,
            id: key.id,
            parent: key.parent,
            caveats: key.caveats.clone(),
            usage: KeyUsage::default(),
            warned: Warned::default(),
            revoked_at: None,
            first_used_at: now,
            last_used_at: now,
        }
    }

    /// The key with `amount` reserved for a request that begins.
    ///
    /// # Errors
    /// [`UsageError::Limit`] when the limit does not allow it.
    pub fn reserve(&self, amount: Msats, limit: Option<Limit>, now: Timestamp) -> Result<Self, UsageError> {
        let usage = self.usage.reserve(amount, limit, now)?;
        Ok(Self { usage, last_used_at: now.max(self.last_used_at), ..self.clone() })
    }

    /// The most that its running requests may cost besides what is reserved for them; `None` if `limit` is not about spend. Nothing
    /// of a key that is revoked.
    #[must_use]
    pub fn available_to_running(&self, limit: Option<Limit>, now: Timestamp) -> Option<Msats> {
        if self.revoked_at.is_some() {
            return Some(Msats::ZERO);
        }
        self.usage.available_to_running(limit, now)
    }

    /// The key with `more` reserved for a request that is running.
    ///
    /// # Errors
    /// [`UsageError::Limit`] when the limit does not allow it; [`UsageError::NotReserved`] when no request is running.
    pub fn extend(&self, more: Msats, limit: Option<Limit>, now: Timestamp) -> Result<Self, UsageError> {
        let usage = self.usage.extend(more, limit, now)?;
        Ok(Self { usage, last_used_at: now.max(self.last_used_at), ..self.clone() })
    }

    /// The key after a request that had reserved `reserved` and was charged `charged`.
    ///
    /// # Errors
    /// [`UsageError`] when there is no such reservation.
    pub fn settle(&self, reserved: Msats, charged: Msats, now: Timestamp) -> Result<Self, UsageError> {
        Ok(Self { usage: self.usage.settle(reserved, charged, now)?, ..self.clone() })
    }

    /// The key after a request that was not charged.
    ///
    /// # Errors
    /// [`UsageError`] when there is no such reservation.
    pub fn release(&self, reserved: Msats) -> Result<Self, UsageError> {
        Ok(Self { usage: self.usage.release(reserved)?, ..self.clone() })
    }

    /// The limit that its last caveat sets.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self.caveats.lines().next_back()?.parse() {
            Ok(Caveat::Limit(limit)) => Some(limit),
            _ => None,
        }
    }

    /// Distinguishes the period of its limit in which it was last used from those before.
    #[must_use]
    pub fn warning_occasion(&self) -> i64 {
        match (self.limit(), self.usage.counted_at) {
            (Some(Limit::Period(period, _)), Some(at)) => period.start_of(at).unix_seconds(),
            _ => 0,
        }
    }

    /// The key with what it has used of its limit now, for an owner who wants warnings. The same key if it is revoked.
    #[must_use]
    pub fn observed(&self, now: Timestamp) -> Self {
        if self.revoked_at.is_some() {
            return self.clone();
        }
        let level = match self.limit() {
            None => return self.clone(),
            Some(Limit::Total(limit)) => UsageLevel::of_amount(self.usage.spent, limit),
            Some(Limit::Period(period, limit)) => {
                UsageLevel::of_amount(self.usage.spent_in(period, now), limit)
            }
            Some(Limit::Requests(limit)) => UsageLevel::of_count(self.usage.requests, limit),
        };
        Self { warned: self.warned.observed(level), ..self.clone() }
    }

    /// The key, revoked: neither it nor what was narrowed from it is accepted any more. Revoking again changes nothing.
    #[must_use]
    pub fn revoked(&self, now: Timestamp) -> Self {
        Self { revoked_at: self.revoked_at.or(Some(now)), warned: Warned::default(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tithe_paywall::Period;
    use uuid::Uuid;

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    #[test]
    fn a_key_counts_what_is_charged_and_stays_revoked() {
        let now = Timestamp::UNIX_EPOCH;
        let limit = Some(Limit::Period(Period::Day, msats(100_000)));
        let presented = PresentedKey {
            id: KeyId::from_bytes([1; 16]),
            parent: None,
            caveats: "max_spend_msats_per_day=100000".to_owned(),
            limit,
        };
        let key = SessionKey::first_used(SessionId(Uuid::nil()), &presented, now);
        let running = key.reserve(msats(80_000), limit, now).unwrap();
        assert!(running.reserve(msats(21_000), limit, now).is_err());
        let settled = running.settle(msats(80_000), msats(30_000), now).unwrap();
        assert_eq!(settled.usage.spent, msats(30_000));
        assert!(settled.reserve(msats(70_000), limit, now).is_ok());
        assert_eq!(settled.observed(now).warned.reached, UsageLevel::Low);
        let more = settled
            .reserve(msats(60_000), limit, now)
            .unwrap()
            .settle(msats(60_000), msats(60_000), now)
            .unwrap();
        assert_eq!(more.observed(now).warned.reached, UsageLevel::High);
        let tomorrow = now + std::time::Duration::from_hours(24);
        let told =
            SessionKey { warned: more.observed(now).warned.notified(UsageLevel::High), ..more.clone() };
        // The first request of a day uses as much as all of the day before.
        let next = told.reserve(msats(90_000), limit, tomorrow).unwrap().observed(tomorrow);
        assert_ne!(next.warning_occasion(), told.warning_occasion());
        let next = next.settle(msats(90_000), msats(90_000), tomorrow).unwrap().observed(tomorrow);
        assert!(next.warned.is_due(), "it is told again: {:?}", next.warned);
        assert!(!next.revoked(tomorrow).observed(tomorrow).warned.is_due());
        assert_eq!(more.observed(now).observed(tomorrow).warned.reached, UsageLevel::Low, "a new period");
        let later = now + std::time::Duration::from_secs(5);
        let revoked = running.release(msats(80_000)).unwrap().revoked(now);
        assert_eq!(revoked.revoked(later).revoked_at, Some(now));
    }

    proptest! {
        /// Requests of one key begin, grow by what its limit leaves, and end, in any order: what is reserved is the sum of what they may
        /// cost, the limit holds, and each of them can always end at any cost within what it has.
        #[test]
        fn requests_grow_within_the_limit_of_their_key(
            limit in 1_000_u64..50_000, steps in proptest::collection::vec((0_usize..4, 0_u8..3, 0_u64..20_000), 1..40),
        ) {
            let now = Timestamp::UNIX_EPOCH;
            let limit = Some(Limit::Total(msats(limit)));
            let presented =
                PresentedKey { id: KeyId::from_bytes([1; 16]), parent: None, caveats: String::new(), limit };
            let mut key = SessionKey::first_used(SessionId(Uuid::nil()), &presented, now);
            let mut held: [Option<Msats>; 4] = [None; 4];
            for (n, what, amount) in steps {
                match (held[n], what) {
                    (None, _) => if let Ok(reserved) = key.reserve(msats(amount), limit, now) {
                        (key, held[n]) = (reserved, Some(msats(amount)));
                    },
                    (Some(had), 0) => {
                        let more = msats(amount).min(key.available_to_running(limit, now).unwrap());
                        key = key.extend(more, limit, now).unwrap();
                        held[n] = Some(had.checked_add(more).unwrap());
                    }
                    (Some(had), 1) => {
                        (key, held[n]) = (key.settle(had, had.min(msats(amount)), now).unwrap(), None);
                    }
                    (Some(had), _) => (key, held[n]) = (key.release(had).unwrap(), None),
                }
                let reserved: u64 = held.iter().flatten().map(|held| held.get()).sum();
                prop_assert_eq!(key.usage.reserved.get(), reserved);
                let Some(Limit::Total(most)) = limit else { unreachable!() };
                prop_assert!(key.usage.spent.get() + reserved <= most.get());
                prop_assert_eq!(key.revoked(now).available_to_running(limit, now), Some(Msats::ZERO));
            }
        }
    }
}
