//! Leases: which worker owns a job, and until when it is presumed alive.

use std::fmt;
use tithe_clock::Timestamp;
use uuid::Uuid;

/// The id of one server run. A restarted server is a different owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LeaseOwner(pub Uuid);

impl fmt::Display for LeaseOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A worker's claim on a job. The claim counter identifies one claim, because it only grows: a worker that lost its
/// claim, even to its own server, can be distinguished from the current holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lease {
    /// The current owner.
    pub owner: Option<LeaseOwner>,
    /// When the lease ends; after that, any worker may claim the job. Without an owner, the job must not be claimed
    /// before this time.
    pub until: Option<Timestamp>,
    /// The number of attempts at the job's current step.
    pub attempts: u32,
    /// The total number of claims. It never decreases.
    pub claims: u32,
}

impl Lease {
    /// Returns true if `claim` still holds the job. An expired lease that nobody else has claimed still counts: the
    /// work is done and nobody else has done it.
    #[must_use]
    pub fn is_held_as(&self, claim: &Self) -> bool {
        self.owner.is_some() && self.owner == claim.owner && self.claims == claim.claims
    }

    /// Returns true if any worker may claim the job now.
    #[must_use]
    pub fn is_free(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// The lease after `owner` claims the job now.
    #[must_use]
    pub const fn claimed(self, owner: LeaseOwner, until: Timestamp) -> Self {
        let (attempts, claims) = (self.attempts.saturating_add(1), self.claims.saturating_add(1));
        Self { owner: Some(owner), until: Some(until), attempts, claims }
    }

    /// The lease after the job is returned to the queue unfinished, not to be claimed before `rest_until`. The attempt
    /// does not count.
    #[must_use]
    pub const fn handed_back(self, rest_until: Timestamp) -> Self {
        let attempts = self.attempts.saturating_sub(1);
        Self { owner: None, until: Some(rest_until), attempts, claims: self.claims }
    }

    /// The lease after the step is done: it has no owner, and the attempt counter starts again.
    #[must_use]
    pub const fn ended(self) -> Self {
        Self { owner: None, until: None, attempts: 0, claims: self.claims }
    }

    /// The lease of a worker that finished one step and continues with the next one, as the first attempt at it.
    #[must_use]
    pub const fn carried_on(self) -> Self {
        Self { attempts: 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_claim_that_was_taken_over_no_longer_holds() {
        let (now, owner) = (Timestamp::UNIX_EPOCH, LeaseOwner(Uuid::nil()));
        let until = now + Duration::from_secs(1);
        let first = Lease::default().claimed(owner, until);
        assert!(first.is_held_as(&first) && !first.is_free(now) && first.is_free(until));
        let second = first.claimed(owner, until + Duration::from_secs(1));
        assert!(!second.is_held_as(&first));
        assert!(!Lease::default().is_held_as(&Lease::default()));
    }

    #[test]
    fn no_later_claim_can_be_taken_for_an_earlier_one() {
        let (now, owner) = (Timestamp::UNIX_EPOCH, LeaseOwner(Uuid::nil()));
        let first = Lease::default().claimed(owner, now);
        for between in [first.handed_back(now), first.carried_on(), first.ended(), first] {
            let later = between.claimed(owner, now);
            assert!(!later.is_held_as(&first), "{between:?}");
        }
        assert!(first.carried_on().is_held_as(&first), "going on is the same claim");
    }

    #[test]
    fn what_was_handed_back_rests_and_its_attempt_does_not_count() {
        let (now, owner) = (Timestamp::UNIX_EPOCH, LeaseOwner(Uuid::nil()));
        let later = now + Duration::from_secs(5);
        let resting = Lease::default().claimed(owner, now).handed_back(later);
        assert!(!resting.is_free(now) && resting.is_free(later));
        assert_eq!(resting.attempts, 0);
    }
}
