//! What the naive reference keeps: amounts in msats, times in microseconds, scores in thousandths of a point.

use tithe_clock::Timestamp;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Done,
    AlreadyDone,
    JobMoved,
    Reserved,
    Seen,
    Charged { absorbed: i128, charged: i128 },
    Refused(&'static str),
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) score: i128,
    pub(super) gained: i128,
    pub(super) gains_end: Option<i128>,
    pub(super) away_since: i128,
    pub(super) interactions: i128,
    pub(super) last_seen: i128,
    pub(super) created: i128,
    pub(super) updated: i128,
    pub(super) absorbed: i128,
    pub(super) day_ends: Option<i128>,
    pub(super) reserved: i128,
    pub(super) offer: Option<Uuid>,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Offered,
    HeldByJob,
    HeldUntil(i128),
    Settled(i128),
    Released,
    Lapsed,
    DoneLate(i128),
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) who: NostrPubkey,
    pub(super) amount: i128,
    pub(super) budget: i128,
    pub(super) used_after: i128,
    pub(super) fate: Fate,
    pub(super) created: i128,
    pub(super) updated: i128,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) who: NostrPubkey,
    pub(super) absorbed: i128,
    pub(super) pool_after: i128,
    pub(super) at: i128,
}

pub(super) fn micros(at: Timestamp) -> i128 {
    at.unix_micros().into()
}

impl Person {
    pub(super) fn new(now: i128) -> Self {
        Self {
            score: 0,
            gained: 0,
            gains_end: None,
            away_since: now,
            interactions: 0,
            last_seen: now,
            created: now,
            updated: now,
            absorbed: 0,
            day_ends: None,
            reserved: 0,
            offer: None,
        }
    }

    /// What counts against the budget.
    pub(super) fn used(&self, now: i128) -> i128 {
        let over = self.day_ends.is_some_and(|end| end <= now);
        self.reserved + if over { 0 } else { self.absorbed }
    }
}
