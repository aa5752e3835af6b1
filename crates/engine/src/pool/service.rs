//! The use cases of the pool.

use super::grant_expire::GrantExpire;
use crate::books::{Post, Posted, Posting};
use crate::committer::CommitError;
use crate::core::Core;
use crate::error::EngineError;
use crate::error_chain::chain;
use std::sync::Arc;
use tithe_free_tier::{Budgets, Decision, FreeTierError, Identity, PoolState};
use tithe_ledger::{Account, AccountId, TransferKey, TransferKind};
use tithe_money::{Msats, Sats};
use tithe_trust::{NostrPubkey, Tier};
use tracing::{error, info};
use uuid::Uuid;

/// The pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// All that is in it.
    pub balance: Msats,
    /// The part that is reserved for work that is not done yet.
    pub reserved: Msats,
    /// What was granted since midnight, UTC.
    pub granted_today: Msats,
    /// What each tier may take in one budget window.
    pub budgets: Budgets,
}

/// The use cases of the pool.
pub struct Pool {
    core: Arc<Core>,
}

impl Pool {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Puts the operator's first money into the pool, once. To be called before work begins.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn open(&self) -> Result<(), EngineError> {
        let amount = self.core.settings.rules.free_tier.pool_initial.to_msats();
        if amount.is_zero() {
            return Ok(());
        }
        let seed = Post(Posting {
            key: TransferKey::new("pool_seed"),
            debit: AccountId::Operator,
            credit: AccountId::Pool,
            amount,
            kind: TransferKind::PoolSeed,
            reference: Uuid::nil(),
        });
        match self.core.committer.commit(seed).await {
            Ok(Posted::Now) => info!(amount_msats = amount.get(), "pool opened"),
            Ok(Posted::Before) => {}
            // Another server may have done it; either way the next start finds out.
            Err(CommitError::Unknown) => return Err(EngineError::Busy),
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    /// The pool, now.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn status(&self) -> Result<PoolStatus, EngineError> {
        let pool = self.account().await?;
        let counters = self.core.ports.store.pool_counters().await?;
        Ok(PoolStatus {
            balance: pool.balance(),
            reserved: pool.held(),
            granted_today: counters.granted_today(self.core.now()),
            budgets: self.core.settings.rules.free_tier.budgets,
        })
    }

    /// The identity's tier, and what the pool would pay for it, now, of work that is invoiced before it runs. Reserves
    /// nothing.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn preview(&self, pubkey: NostrPubkey, price: Sats) -> Result<(Tier, Decision), EngineError> {
        let store = &self.core.ports.store;
        let now = self.core.now();
        let identity = store.identity(pubkey).await?.unwrap_or_else(|| Identity::new(pubkey, now));
        let (account, counters) = (self.account().await?, store.pool_counters().await?);
        let rules = &self.core.settings.rules;
        let decision = PoolState::new(account, counters)
            .and_then(|pool| identity.decide_invoiced(rules, pool.view(), price, now));
        let decision = decision.map_err(|failure: FreeTierError| {
            error!(error = chain(&failure), %pubkey, "the free tier could not be decided");
            EngineError::Internal
        })?;
        Ok((identity.trust.tier_at(&rules.trust, now), decision))
    }

    /// Expires reservations whose lease has run out. Several servers may do it at once: each reservation ends once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let overdue = self.core.ports.store.reservations_overdue(self.core.now(), Core::SWEEP_LIMIT).await?;
        for reservation in overdue {
            self.core
                .sweep(GrantExpire { reservation: reservation.id, identity: reservation.pubkey })
                .await?;
        }
        Ok(())
    }

    async fn account(&self) -> Result<Account, EngineError> {
        let pool = self.core.ports.store.account(AccountId::Pool).await?;
        pool.map_or_else(|| Account::open(AccountId::Pool), Ok).map_err(|failure| {
            error!(error = chain(&failure), "the pool has no account");
            EngineError::Internal
        })
    }
}
