//! Working on a kept request, one worker at a time.

use super::charge::lost;
use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_sessions::{KeptLease, KeptRequest, SessionId};
use uuid::Uuid;

/// Claims a kept request on which somebody has to work and nobody does. Returns it.
#[derive(Debug, Clone)]
pub struct KeptClaim {
    /// The session that it is kept for.
    pub session: SessionId,
    /// The worker.
    pub owner: Uuid,
    /// How long it is theirs.
    pub lease: Duration,
}

impl Command for KeptClaim {
    type Reply = Box<KeptRequest>;
    const NAME: &'static str = "kept_claim";

    fn declare(&self, keys: &mut RowKeys) {
        keys.kept_requests.insert(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<KeptRequest>, Refusal> {
        let now = books.now();
        let kept = books.kept_open(self.session)?;
        let claimed = kept.and_then(|kept| kept.claimed(self.owner, self.lease, now));
        let claimed = claimed.ok_or_else(|| lost(self.session))?;
        books.rows.kept_requests.put(claimed.clone())?;
        Ok(Box::new(claimed))
    }
}

/// Renews the lease of a kept request, or gives it back: then others may claim it from `until` on.
#[derive(Debug, Clone)]
pub struct KeptLeaseChange {
    /// The session that it is kept for.
    pub session: SessionId,
    /// The lease.
    pub lease: KeptLease,
    /// Until when it lasts.
    pub until: Timestamp,
}

impl Command for KeptLeaseChange {
    type Reply = ();
    const NAME: &'static str = "kept_lease_change";

    fn declare(&self, keys: &mut RowKeys) {
        keys.kept_requests.insert(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let kept = books.kept_open(self.session)?;
        let leased = kept.and_then(|kept| kept.leased_until(&self.lease, self.until));
        books.rows.kept_requests.put(leased.ok_or_else(|| lost(self.session))?)
    }
}
