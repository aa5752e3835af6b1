//! Admitting what nobody has paid for yet.

use super::counts::{Asker, Origin, UnpaidCounts};
use super::total::{Most, Unpaid, UnpaidTotal};
use crate::core::Core;
use crate::error::EngineError;
use crate::identities::Identities;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_jobs::JobChange;
use tithe_sessions::{SessionId, SessionState};
use tithe_trust::{NostrPubkey, Tier};
use uuid::Uuid;

/// The part of the unpaid invoices that only identities with trust may have: one of so many.
const RESERVE_PARTS: u64 = 5;

/// How many jobs, how many sessions, and how many bootstraps may wait for the wallet to make their first invoices.
const UNINVOICED_MAX: u64 = 1_000;

/// The part of the room for offers with hold invoices that one customer may fill: one of so many. Such an offer costs nothing.
const HELD_PARTS: u64 = 8;

/// How much of the room for unpaid invoices something may fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All of it: somebody has asked for it.
    All,
    /// Half of it: it is offered to everybody who sends a request that nobody pays for, and must not take the room of what is asked for.
    Offers,
    /// A quarter of it: it is offered besides, and must not take the room of the offers of single requests.
    Deposits,
}

impl Share {
    const fn parts(self) -> u8 {
        match self {
            Self::All => 1,
            Self::Offers => 2,
            Self::Deposits => 4,
        }
    }
}

/// Admits what nobody has paid for yet.
pub(crate) struct Admission {
    core: Arc<Core>,
    identities: Arc<Identities>,
    counts: Arc<UnpaidCounts>,
    /// The offers with hold invoices.
    held: Arc<UnpaidCounts>,
    total: UnpaidTotal,
}

impl Admission {
    pub(crate) fn new(
        core: Arc<Core>,
        identities: Arc<Identities>,
        counts: Arc<UnpaidCounts>,
        held: Arc<UnpaidCounts>,
    ) -> Self {
        Self { core, identities, counts, held, total: UnpaidTotal::default() }
    }

    /// Counts a job or a session that is to be created, unless too many invoices are unpaid already.
    ///
    /// # Errors
    /// [`EngineError::TooManyUnpaid`], [`EngineError::TooManyUnpaidOfYours`].
    pub(crate) async fn admit(
        &self,
        item: Uuid,
        identity: Option<NostrPubkey>,
        origin: Option<Origin>,
        share: Share,
    ) -> Result<(), EngineError> {
        let settings = &self.core.settings;
        let trusted = self.check_share(identity, share).await?;
        let Some(asker) = Asker::of(identity.filter(|_| trusted), origin) else { return Ok(()) };
        let most = match &asker {
            Asker::Identity(_) => settings.max_unpaid_per_identity,
            Asker::Origin(_) => settings.max_unpaid_per_origin,
        };
        let (most, now) = (most.div_ceil(usize::from(share.parts())), self.core.now());
        let admitted = self.counts.admit(item, asker, most, now + settings.invoice_expiry, now);
        admitted.map_err(|retry_after| EngineError::TooManyUnpaidOfYours { most, retry_after })
    }

    /// Counts an offer with a hold invoice, of which there is room for so many, unless whoever asks has their part of it already. Returns
    /// whether it is admitted.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub(crate) async fn admit_held(
        &self,
        item: Uuid,
        identity: Option<NostrPubkey>,
        origin: Option<Origin>,
        room: u64,
    ) -> Result<bool, EngineError> {
        let trusted = self.identities.tier_of(identity).await? >= Tier::Established;
        let Some(asker) = Asker::of(identity.filter(|_| trusted), origin) else { return Ok(true) };
        let most = usize::try_from(room.div_ceil(HELD_PARTS)).unwrap_or(usize::MAX);
        let now = self.core.now();
        let until = now + self.core.settings.invoice_expiry;
        if self.held.admit(item, asker.clone(), most, until, now).is_ok() {
            return Ok(true);
        }
        // Another server may have ended some of them.
        for counted in self.held.items_of(&asker) {
            let session = self.core.ports.store.session(SessionId(counted)).await?;
            if session.is_some_and(|session| session.state != SessionState::AwaitingPayment) {
                self.held.release(counted);
            }
        }
        Ok(self.held.admit(item, asker, most, until, now).is_ok())
    }

    /// Stops counting an offer with a hold invoice: its payment was taken or given back, or it has got an ordinary invoice.
    pub(crate) fn release_held(&self, item: Uuid) {
        self.held.release(item);
    }

    /// Checks the limit over all customers. Returns whether the identity has trust.
    ///
    /// # Errors
    /// [`EngineError::TooManyUnpaid`].
    pub(crate) async fn check_all(&self, identity: Option<NostrPubkey>) -> Result<bool, EngineError> {
        self.check_share(identity, Share::All).await
    }

    async fn check_share(&self, identity: Option<NostrPubkey>, share: Share) -> Result<bool, EngineError> {
        let trusted = self.identities.tier_of(identity).await? >= Tier::Established;
        let most = self.core.settings.max_unpaid_invoices;
        // Whoever has trust finds room even when strangers have taken all of theirs.
        let most = if trusted { most } else { most - most / RESERVE_PARTS };
        let most = most.div_ceil(u64::from(share.parts()));
        let now = self.core.now();
        let most = Most { invoices: most, without_invoice: UNINVOICED_MAX };
        if !self.total.admit(most, now, async || self.read_unpaid(now).await).await? {
            return Err(EngineError::TooManyUnpaid);
        }
        Ok(trusted)
    }

    async fn read_unpaid(&self, now: Timestamp) -> Result<Unpaid, EngineError> {
        let store = &self.core.ports.store;
        let limit = usize::try_from(UNINVOICED_MAX).unwrap_or(usize::MAX);
        let without_invoice = store
            .jobs_never_invoiced(now, limit)
            .await?
            .len()
            .max(store.sessions_never_invoiced(now, limit).await?.len())
            .max(store.bootstraps_never_invoiced(now, limit).await?.len());
        let without_invoice = u64::try_from(without_invoice).unwrap_or(u64::MAX);
        Ok(Unpaid { invoices: store.invoices_open_count(now).await?, without_invoice })
    }

    /// Stops counting what was not created after all, or has been paid for.
    pub(crate) fn release(&self, item: Uuid) {
        self.counts.release(item);
    }

    /// Stops counting jobs that have been paid for, or have ended.
    pub(crate) fn observe(&self, changes: &[JobChange]) {
        self.counts.observe(changes);
    }

    /// Stops counting what has an expired invoice.
    pub(crate) fn sweep(&self) {
        self.counts.sweep(self.core.now());
        self.held.sweep(self.core.now());
    }
}
