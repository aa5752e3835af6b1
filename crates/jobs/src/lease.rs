//! Leases: who works on a job, and until when they are believed to be alive.

use serde::{Deserialize, Serialize};
use std::fmt;
use tithe_clock::Timestamp;
use uuid::Uuid;

/// Names one run of one server. A server that starts again is another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseOwner(pub Uuid);

impl fmt::Display for LeaseOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who holds a job. The count of claims names one claim, because it only grows: a worker whose claim was taken over, even by
/// its own server, is told apart from the one that holds it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Who holds it.
    pub owner: Option<LeaseOwner>,
    /// Until when; after that anyone may claim it. Without an owner: the job rests until then.
    pub until: Option<Timestamp>,
    /// How often the job's present step has been tried.
    pub attempts: u32,
    /// How often the job has been claimed in all. It never goes back.
    pub claims: u32,
}

impl Lease {
    /// Whether `claim` still is the one that holds the job. A lease that has run out but that nobody has taken over still
    /// counts: the work is done, and nobody else has done it.
    #[must_use]
    pub fn is_held_as(&self, claim: &Self) -> bool {
        self.owner.is_some() && self.owner == claim.owner && self.claims == claim.claims
    }

    /// Whether anyone may claim the job now.
    #[must_use]
    pub fn is_free(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// The lease of who claims the job now.
    #[must_use]
    pub const fn claimed(self, owner: LeaseOwner, until: Timestamp) -> Self {
        let (attempts, claims) = (self.attempts.saturating_add(1), self.claims.saturating_add(1));
        Self { owner: Some(owner), until: Some(until), attempts, claims }
    }

    /// The lease once the work was handed back unfinished, to rest until `rest_until`: the attempt does not count.
    #[must_use]
    pub const fn handed_back(self, rest_until: Timestamp) -> Self {
        let attempts = self.attempts.saturating_sub(1);
        Self { owner: None, until: Some(rest_until), attempts, claims: self.claims }
    }

    /// The lease once the step is done: nobody's, with all attempts before it.
    #[must_use]
    pub const fn ended(self) -> Self {
        Self { owner: None, until: None, attempts: 0, claims: self.claims }
    }

    /// The lease of who did a step and goes on with the next, as its first attempt at that.
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
