//! The pool's two rows: its account and its counters.

use crate::{FreeTierError, PoolView};
use tithe_clock::Timestamp;
use tithe_ledger::{Account, AccountId, LedgerError};
use tithe_money::Msats;

/// The pool as it is stored: the row of its account, [`AccountId::Pool`], and the row of its counters. Every operation that
/// changes one returns both, and the caller stores both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolState {
    account: Account,
    counters: PoolCounters,
}

impl PoolState {
    /// The pool with these rows. Before the first use, they are [`Account::open`] and [`PoolCounters::default`].
    ///
    /// # Errors
    /// [`FreeTierError::NotThePool`] if the account is another one.
    pub fn new(account: Account, counters: PoolCounters) -> Result<Self, FreeTierError> {
        if account.id() == AccountId::Pool {
            return Ok(Self { account, counters });
        }
        Err(FreeTierError::NotThePool(account.id()))
    }

    /// The row of the pool's account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The row of the pool's counters.
    #[must_use]
    pub const fn counters(&self) -> PoolCounters {
        self.counters
    }

    /// The balances that decisions depend on.
    #[must_use]
    pub const fn view(&self) -> PoolView {
        PoolView {
            balance: self.account.balance(),
            available: self.account.available(),
            offered: self.counters.offered,
        }
    }

    /// The two rows.
    #[must_use]
    pub fn into_rows(self) -> (Account, PoolCounters) {
        (self.account, self.counters)
    }

    pub(crate) fn hold(&self, amount: Msats) -> Result<Self, LedgerError> {
        Ok(Self { account: self.account.hold(amount)?, ..self.clone() })
    }

    pub(crate) fn unhold(&self, amount: Msats) -> Result<Self, LedgerError> {
        Ok(Self { account: self.account.unhold(amount)?, ..self.clone() })
    }

    pub(crate) fn offer(&self, amount: Msats) -> Result<Self, FreeTierError> {
        Ok(Self { counters: self.counters.offer(amount)?, ..self.clone() })
    }

    pub(crate) fn end_offer(&self, amount: Msats) -> Self {
        Self { counters: self.counters.end_offer(amount), ..self.clone() }
    }

    pub(crate) fn grant(&self, amount: Msats, now: Timestamp) -> Result<Self, FreeTierError> {
        Ok(Self { account: self.account.debit(amount)?, counters: self.counters.grant(amount, now)? })
    }
}

/// The pool's counters: open offers, which are limited, and today's grants, which are informational.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// [`FreeTierError::Money`] if the total would exceed the supply of bitcoin.
    pub fn grant(&self, amount: Msats, now: Timestamp) -> Result<Self, FreeTierError> {
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
    /// [`FreeTierError::Money`] if the total would exceed the supply of bitcoin.
    pub fn offer(&self, amount: Msats) -> Result<Self, FreeTierError> {
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
    fn a_day_of_the_counters_ends_at_midnight() {
        let msats = |n| Msats::new(n).unwrap();
        let morning = Timestamp::parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
        let counters =
            PoolCounters::default().grant(msats(5), morning).unwrap().grant(msats(6), morning).unwrap();
        let night = morning + Duration::from_hours(24) - Duration::from_micros(1);
        assert_eq!(counters.granted_today(night), msats(11));
        assert_eq!(counters.granted_today(morning + Duration::from_hours(24)), Msats::ZERO);
        let next = counters.grant(msats(1), morning + Duration::from_hours(24)).unwrap();
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
    fn another_account_is_not_the_pool() {
        let job = AccountId::Job(uuid::Uuid::nil());
        let account = Account::open(job).unwrap();
        assert_eq!(PoolState::new(account, PoolCounters::default()), Err(FreeTierError::NotThePool(job)));
    }
}
