//! How long a reservation lives, and its state.

use tithe_clock::Timestamp;
use tithe_ledger::{Lease, Lifecycle};
use tithe_money::Msats;

/// How long a reservation lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum GrantLease {
    /// It is the pool's part of work whose other part the customer has not paid yet. It ends with the invoice for that part.
    Offer,
    /// The work is running, and the reservation ends with its job.
    Job,
    /// The work is running, and the reservation expires at this time unless it is renewed.
    Until(Timestamp),
}

impl GrantLease {
    /// When the reservation expires; `None` if it never does by itself.
    #[must_use]
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Until(until) => Some(until),
            Self::Offer | Self::Job => None,
        }
    }
}

impl Lease for GrantLease {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| until.is_over(now))
    }
}

/// The state of a reservation: it is set aside under a [`GrantLease`], and what it takes is the amount that the pool paid.
pub type ReservationState = Lifecycle<GrantLease, Msats>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_a_lease_of_its_own_runs_out() {
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + Duration::from_secs(1));
        for lease in [GrantLease::Offer, GrantLease::Job] {
            assert!(!lease.is_over(Timestamp::MAX), "{lease:?}");
            assert_eq!(lease.until(), None);
        }
        let until = GrantLease::Until(later);
        assert_eq!((until.is_over(now), until.is_over(later), until.until()), (false, true, Some(later)));
    }
}
