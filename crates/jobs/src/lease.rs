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

/// Who holds a job. The owner and the attempt together name one claim: a worker whose claim was taken over, even by its
/// own server, is told apart from the one that holds it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Who holds it.
    pub owner: Option<LeaseOwner>,
    /// Until when; after that anyone may claim it.
    pub until: Option<Timestamp>,
    /// How often the job's present step has been claimed.
    pub attempts: u32,
}

impl Lease {
    /// Whether `claim` still is the one that holds the job. A lease that has run out but that nobody has taken over still
    /// counts: the work is done, and nobody else has done it.
    #[must_use]
    pub fn is_held_as(&self, claim: &Self) -> bool {
        self.owner.is_some() && self.owner == claim.owner && self.attempts == claim.attempts
    }

    /// Whether anyone may claim the job now.
    #[must_use]
    pub fn is_free(&self, now: Timestamp) -> bool {
        self.owner.is_none() || self.until.is_none_or(|until| until <= now)
    }

    /// The lease of who claims the job now.
    #[must_use]
    pub const fn claimed(self, owner: LeaseOwner, until: Timestamp) -> Self {
        Self { owner: Some(owner), until: Some(until), attempts: self.attempts.saturating_add(1) }
    }

    /// The lease once the work was handed back unfinished: the attempt does not count.
    #[must_use]
    pub const fn handed_back(self) -> Self {
        Self { owner: None, until: None, attempts: self.attempts.saturating_sub(1) }
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
        assert_eq!(second.handed_back(), Lease { attempts: 1, ..Lease::default() });
    }
}
