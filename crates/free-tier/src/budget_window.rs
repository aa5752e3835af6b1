//! An identity's budget window: what it has taken from the pool today.

use crate::{FreeTierError, ReservationId};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;

/// What an identity has taken from the pool in the current window, and what is reserved for it.
///
/// The window lasts 24 hours and starts with the first grant after the previous one ended. A reservation counts until
/// it ends, regardless of the window in which it was made, and becomes a grant of the window in which its work ends.
/// So, at every instant, the grants of the window plus the reservations stay within the budget (invariant I5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BudgetWindow {
    /// The amount granted in the window that ends at `resets_at`.
    pub absorbed: Msats,
    /// When the window ends; `None` before the first grant.
    pub resets_at: Option<Timestamp>,
    /// The amount reserved.
    pub reserved: Msats,
    /// The open offer whose other part this identity has not paid yet.
    pub offer: Option<ReservationId>,
}

impl BudgetWindow {
    /// The length of the window.
    pub const LENGTH: Duration = Duration::from_hours(24);

    /// The window as of now: grants of an ended window no longer count.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        match self.resets_at {
            Some(resets_at) if resets_at <= now => {
                Self { absorbed: Msats::ZERO, resets_at: None, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// The part of the budget in use: the grants of the current window plus the reservations.
    ///
    /// # Errors
    /// [`FreeTierError::Money`] if the sum would exceed the supply of bitcoin.
    pub fn used(&self, now: Timestamp) -> Result<Msats, FreeTierError> {
        Ok(self.at(now).absorbed.checked_add(self.reserved)?)
    }

    /// The time as of which a grant counts: now, but not before the window that it counts against has begun, whatever the
    /// clocks of the servers say.
    #[must_use]
    pub fn grant_time(&self, now: Timestamp) -> Timestamp {
        let begins_at = self.at(now).resets_at.map(|resets_at| resets_at - Self::LENGTH);
        begins_at.map_or(now, |begins_at| now.max(begins_at))
    }

    /// Returns the window with `amount` granted.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`] if less than that is left of `budget`.
    pub fn grant(&self, amount: Msats, budget: Msats, now: Timestamp) -> Result<Self, FreeTierError> {
        self.check(amount, budget, now)?;
        self.granted(amount, now)
    }

    /// Returns the window with `amount` reserved.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`] if less than that is left of `budget`.
    pub(crate) fn reserve(
        &self,
        amount: Msats,
        budget: Msats,
        now: Timestamp,
    ) -> Result<Self, FreeTierError> {
        self.check(amount, budget, now)?;
        Ok(Self { reserved: self.reserved.checked_add(amount)?, ..self.clone() })
    }

    /// Returns the window without a reservation of `reserved`, of which `absorbed` was granted.
    pub(crate) fn end_reservation(
        &self,
        reserved: Msats,
        absorbed: Msats,
        now: Timestamp,
    ) -> Result<Self, FreeTierError> {
        let window = Self { reserved: self.reserved.checked_sub(reserved)?, ..self.clone() };
        window.granted(absorbed, now)
    }

    /// Only a grant ends a window, by starting the next: otherwise a fast clock could end it for the other servers.
    fn granted(&self, amount: Msats, now: Timestamp) -> Result<Self, FreeTierError> {
        if amount.is_zero() {
            return Ok(self.clone());
        }
        let window = self.at(now);
        let resets_at = window.resets_at.or(Some(now + Self::LENGTH));
        Ok(Self { absorbed: window.absorbed.checked_add(amount)?, resets_at, ..window })
    }

    fn check(&self, amount: Msats, budget: Msats, now: Timestamp) -> Result<(), FreeTierError> {
        let used = self.used(now)?;
        if used.checked_add(amount)? > budget {
            return Err(FreeTierError::OverBudget { used, amount, budget });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    #[test]
    fn the_window_begins_with_its_first_grant() {
        let window = BudgetWindow::default().grant(msats(0), msats(100), START).unwrap();
        assert_eq!(window.resets_at, None);
        let first = START + Duration::from_hours(5);
        let window = window.grant(msats(40), msats(100), first).unwrap();
        let window = window.grant(msats(60), msats(100), first + Duration::from_hours(1)).unwrap();
        assert_eq!(window.resets_at, Some(first + BudgetWindow::LENGTH));
        let end = first + BudgetWindow::LENGTH;
        let just_before = end - Duration::from_micros(1);
        assert!(matches!(
            window.grant(msats(1), msats(100), just_before),
            Err(FreeTierError::OverBudget { .. })
        ));
        let next = window.grant(msats(1), msats(100), end).unwrap();
        assert_eq!((next.absorbed, next.resets_at), (msats(1), Some(end + BudgetWindow::LENGTH)));
    }

    #[test]
    fn a_reservation_counts_as_long_as_it_lives() {
        let window = BudgetWindow::default().grant(msats(30), msats(100), START).unwrap();
        let window = window.reserve(msats(70), msats(100), START).unwrap();
        assert!(window.grant(msats(1), msats(100), START).is_err());
        let tomorrow = START + BudgetWindow::LENGTH;
        assert_eq!(window.used(tomorrow), Ok(msats(70)));
        assert!(window.grant(msats(31), msats(100), tomorrow).is_err());
        let settled = window.end_reservation(msats(70), msats(20), tomorrow).unwrap();
        assert_eq!((settled.absorbed, settled.reserved), (msats(20), Msats::ZERO));
        assert_eq!(settled.used(tomorrow), Ok(msats(20)));
    }

    #[test]
    fn a_budget_that_has_shrunk_leaves_nothing() {
        let window = BudgetWindow::default().grant(msats(90), msats(100), START).unwrap();
        assert!(window.grant(msats(1), msats(50), START).is_err());
        assert!(window.grant(Msats::ZERO, msats(50), START).is_err());
    }
}
