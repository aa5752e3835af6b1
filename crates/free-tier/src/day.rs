//! What an identity has taken from the pool today.

use crate::{FreeTierError, ReservationId};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;

/// What an identity has taken from the pool today, and what is set aside for it.
///
/// The day is a window of 24 hours that begins with the first grant after the last one ended. A reservation counts for as
/// long as it lives, whatever day it was made on, and becomes a grant of the day on which its work ends. So at every
/// instant what was granted today and what is reserved stay within the budget (invariant I5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Day {
    /// What was granted in the window of `resets_at`.
    pub absorbed: Msats,
    /// When the window ends; `None` before the first grant.
    pub resets_at: Option<Timestamp>,
    /// What is reserved.
    pub reserved: Msats,
    /// The offer that waits for this identity to pay its part.
    pub offer: Option<ReservationId>,
}

impl Day {
    /// How long the window is.
    pub const WINDOW: Duration = Duration::from_hours(24);

    /// The day as it is now: an ended window counts no more.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        match self.resets_at {
            Some(resets_at) if resets_at <= now => {
                Self { absorbed: Msats::ZERO, resets_at: None, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// What counts against the budget now: what was granted today and what is reserved.
    ///
    /// # Errors
    /// [`FreeTierError::Money`] beyond all the money there is.
    pub fn used(&self, now: Timestamp) -> Result<Msats, FreeTierError> {
        Ok(self.at(now).absorbed.checked_add(self.reserved)?)
    }

    /// The day with `amount` granted.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`] when less than that is left of `budget`.
    pub fn grant(&self, amount: Msats, budget: Msats, now: Timestamp) -> Result<Self, FreeTierError> {
        self.check(amount, budget, now)?;
        self.granted(amount, now)
    }

    /// The day with `amount` reserved.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`] when less than that is left of `budget`.
    pub(crate) fn reserve(
        &self,
        amount: Msats,
        budget: Msats,
        now: Timestamp,
    ) -> Result<Self, FreeTierError> {
        self.check(amount, budget, now)?;
        Ok(Self { reserved: self.reserved.checked_add(amount)?, ..self.clone() })
    }

    /// The day without a reservation of `reserved`, of which `absorbed` was granted.
    pub(crate) fn settle(
        &self,
        reserved: Msats,
        absorbed: Msats,
        now: Timestamp,
    ) -> Result<Self, FreeTierError> {
        let day = Self { reserved: self.reserved.checked_sub(reserved)?, ..self.clone() };
        day.granted(absorbed, now)
    }

    /// Only a grant ends a window, by beginning the next: else a clock that is ahead would end one for the others.
    fn granted(&self, amount: Msats, now: Timestamp) -> Result<Self, FreeTierError> {
        if amount.is_zero() {
            return Ok(self.clone());
        }
        let day = self.at(now);
        let resets_at = day.resets_at.or(Some(now + Self::WINDOW));
        Ok(Self { absorbed: day.absorbed.checked_add(amount)?, resets_at, ..day })
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
        let day = Day::default().grant(msats(0), msats(100), START).unwrap();
        assert_eq!(day.resets_at, None);
        let first = START + Duration::from_hours(5);
        let day = day.grant(msats(40), msats(100), first).unwrap();
        let day = day.grant(msats(60), msats(100), first + Duration::from_hours(1)).unwrap();
        assert_eq!(day.resets_at, Some(first + Day::WINDOW));
        let end = first + Day::WINDOW;
        let just_before = end - Duration::from_micros(1);
        assert!(matches!(
            day.grant(msats(1), msats(100), just_before),
            Err(FreeTierError::OverBudget { .. })
        ));
        let next = day.grant(msats(1), msats(100), end).unwrap();
        assert_eq!((next.absorbed, next.resets_at), (msats(1), Some(end + Day::WINDOW)));
    }

    #[test]
    fn a_reservation_counts_as_long_as_it_lives() {
        let day = Day::default().grant(msats(30), msats(100), START).unwrap();
        let day = day.reserve(msats(70), msats(100), START).unwrap();
        assert!(day.grant(msats(1), msats(100), START).is_err());
        let tomorrow = START + Day::WINDOW;
        assert_eq!(day.used(tomorrow), Ok(msats(70)));
        assert!(day.grant(msats(31), msats(100), tomorrow).is_err());
        let settled = day.settle(msats(70), msats(20), tomorrow).unwrap();
        assert_eq!((settled.absorbed, settled.reserved), (msats(20), Msats::ZERO));
        assert_eq!(settled.used(tomorrow), Ok(msats(20)));
    }

    #[test]
    fn a_budget_that_has_shrunk_leaves_nothing() {
        let day = Day::default().grant(msats(90), msats(100), START).unwrap();
        assert!(day.grant(msats(1), msats(50), START).is_err());
        assert!(day.grant(Msats::ZERO, msats(50), START).is_err());
    }
}
