//! The pool: its first money, and how it stands.

use crate::commands::{Answer, Command, Posting};
use crate::committer::CommitError;
use crate::{Engine, EngineError, Rules};
use tithe_free_tier::{Budgets, Decision, PoolView, Standing};
use tithe_ledger::{Account, AccountId, TransferKey, TransferKind};
use tithe_money::{Msats, Sats};
use tithe_trust::NostrPubkey;
use tracing::info;
use uuid::Uuid;

/// How the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// All that is in it.
    pub balance: Msats,
    /// What of that is reserved for work that is not done yet.
    pub reserved: Msats,
    /// What was granted since midnight, UTC.
    pub granted_today: Msats,
    /// What each tier may take in a day.
    pub budgets: Budgets,
}

impl Engine {
    /// Puts the operator's first money into the pool, if that has not been done. To be called before work begins.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn pool_open(&self) -> Result<(), EngineError> {
        let amount = self.settings.rules.free_tier.pool_initial.to_msats();
        if amount.is_zero() {
            return Ok(());
        }
        let seed = Command::Post(Posting {
            key: TransferKey::new("pool_seed"),
            debit: AccountId::Operator,
            credit: AccountId::Pool,
            amount,
            kind: TransferKind::PoolSeed,
            reference: Uuid::nil(),
        });
        match self.committer.commit(seed).await {
            Ok(Answer::AlreadyDone) => Ok(()),
            Ok(_) => {
                info!(%amount, "the pool was opened");
                Ok(())
            }
            // Another server may have done it; either way the next start finds out.
            Err(CommitError::Unknown) => Err(EngineError::Busy),
            Err(failure) => Err(failure.into()),
        }
    }

    /// How the pool stands.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn pool_status(&self) -> Result<PoolStatus, EngineError> {
        let pool = self.pool().await?;
        let tally = self.ports.store.pool_tally().await?;
        Ok(PoolStatus {
            balance: pool.balance(),
            reserved: pool.held(),
            granted_today: tally.granted_today(self.now()),
            budgets: self.settings.rules.free_tier.budgets,
        })
    }

    /// What the pool would pay now of work that is invoiced before it runs. Reserves nothing.
    pub(crate) async fn pool_preview(
        &self,
        identity: NostrPubkey,
        estimate: Sats,
    ) -> Result<(tithe_trust::Tier, Decision), EngineError> {
        let store = &self.ports.store;
        let now = self.now();
        let standing = store.standing(identity).await?.unwrap_or_else(|| Standing::new(identity, now));
        let pool = self.pool().await?;
        let offered = store.pool_tally().await?.offered;
        let view = PoolView { balance: pool.balance(), available: pool.available(), offered };
        let Rules { trust, free_tier } = &self.settings.rules;
        let decision = standing.decide_invoiced(trust, free_tier, view, estimate, now);
        Ok((standing.identity.tier_at(trust, now), decision.map_err(|_| EngineError::Internal)?))
    }

    async fn pool(&self) -> Result<Account, EngineError> {
        let pool = self.ports.store.account(AccountId::Pool).await?;
        Ok(pool.unwrap_or_else(|| Account::open(AccountId::Pool)))
    }
}
