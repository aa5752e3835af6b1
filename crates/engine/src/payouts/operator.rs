//! What the operator does with payouts.

use super::payout_finish::{PayoutFinish, PayoutOutcome};
use super::payout_settle::{OperatorSettlement, PayoutSettle};
use super::service::Payouts;
use super::worker::PayoutTask;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use tithe_ledger::AccountId;
use tithe_lightning::{Payment, PaymentHash, Preimage};
use tithe_money::{Msats, Sats};
use tithe_payouts::{Attempt, Deferral, Obligation, Payout, PayoutState};

/// Why a payout in flight was not ended by hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The wallet says that the payment is in flight.
    #[error("the wallet says that the payment is in flight")]
    InFlight,
    /// The payment was begun a moment ago, and may still be sent.
    #[error("the payment was begun a moment ago, and may still be sent; try again in some minutes")]
    Fresh,
    /// The wallet does not answer: whether the payment was made is unknown.
    #[error("the wallet does not answer, so it is unknown whether the payment was made")]
    WalletAway,
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Payouts {
    /// Obligations of which something is due, in the order of their accounts.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn due(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<Obligation>, EngineError> {
        Ok(self.core.ports.store.obligations_due(after, limit).await?)
    }

    /// An obligation with all its payouts, oldest first.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn history(&self, account: AccountId) -> Result<(Obligation, Vec<Payout>), EngineError> {
        let store = &self.core.ports.store;
        let owed = store.obligation(account).await?;
        let owed = owed.ok_or_else(|| EngineError::not_found(rows::Obligations::NAME, &account))?;
        Ok((owed, store.payouts_of(account).await?))
    }

    /// Looks up the payout that is in flight now, or tries to pay now what is due. Returns the obligation afterwards.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn retry(&self, account: AccountId) -> Result<Obligation, EngineError> {
        let (owed, payouts) = self.history(account).await?;
        let flying = payouts.into_iter().find(|payout| matches!(payout.state, PayoutState::Paying { .. }));
        let task = match flying {
            Some(payout) => PayoutTask::LookUp(Box::new(payout)),
            None => PayoutTask::Pay(Box::new(owed)),
        };
        self.work(task).await;
        Ok(self.history(account).await?.0)
    }

    /// Books that the operator has paid a part of what is due by other means, or that nobody will claim it.
    ///
    /// # Errors
    /// [`EngineError::Payout`], [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn settle(
        &self,
        account: AccountId,
        amount: Sats,
        how: OperatorSettlement,
    ) -> Result<Obligation, EngineError> {
        let id = self.core.new_id();
        Ok(*self.core.committer.commit(PayoutSettle { id, account, amount, how }).await?)
    }

    /// Ends a payout in flight that the wallet knows nothing of, by the operator's knowledge: it was paid, as the preimage proves, or it
    /// was not.
    ///
    /// # Errors
    /// [`SettleError`].
    pub async fn end(
        &self,
        payment_hash: PaymentHash,
        paid: Option<(Preimage, Msats)>,
    ) -> Result<Payout, SettleError> {
        let stored = self.core.ports.store.payout(payment_hash).await.map_err(EngineError::from)?;
        let payout = stored.ok_or_else(|| EngineError::not_found(rows::Payouts::NAME, &payment_hash))?;
        let paid = match self.status(payout.id, payment_hash).await {
            Err(_) => return Err(SettleError::WalletAway),
            // The wallet's own word counts.
            Ok(Some(Payment::Succeeded { preimage, fee })) => Some((preimage, fee)),
            Ok(Some(Payment::InFlight)) => return Err(SettleError::InFlight),
            Ok(Some(Payment::Failed { .. }) | None) => paid,
        };
        // A server may be about to call the wallet.
        let is_fresh = match payout.state {
            PayoutState::Paying { since } => self.core.now().since(since) < self.core.settings.payout_doubt,
            PayoutState::Paid { .. } | PayoutState::Failed { .. } => false,
        };
        if paid.is_none() && is_fresh {
            return Err(SettleError::Fresh);
        }
        let outcome = match paid {
            Some((preimage, fee)) => PayoutOutcome::Paid { preimage, fee },
            None => PayoutOutcome::Failed {
                reason: "the operator says so".to_owned(),
                why: Deferral::Refused,
                problem: "The payment failed. Name another destination.".to_owned(),
            },
        };
        let attempt = Attempt { number: payout.attempts };
        let finish = PayoutFinish { account: payout.account, payment_hash, attempt, outcome };
        Ok(*self.core.committer.commit(finish).await.map_err(EngineError::from)?)
    }
}
