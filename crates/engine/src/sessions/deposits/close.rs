//! Closing sessions of the scheme `Payment`.

use super::find::refused;
use super::{PaymentSessionError, SessionCredential};
use crate::error::{EngineError, InvalidProof};
use crate::sessions::steps::account_of;
use crate::sessions::{SessionClose, Sessions};
use std::time::Duration;
use tithe_lightning::PaymentHash;
use tithe_money::{MoneyError, Sats};
use tithe_payouts::{ObligationState, Payout, PayoutState};
use tithe_paywall::payment::{self, RefundStatus, SessionAction};
use tithe_sessions::SessionId;
use tokio::time::{Instant, sleep};
use tracing::info;

/// How long a client waits for the refund, and how often it is looked at: this, doubled each time, up to the maximum.
const REFUND_PATIENCE: Duration = Duration::from_secs(30);
const REFUND_INTERVAL: Duration = Duration::from_millis(100);
const REFUND_INTERVAL_MAX: Duration = Duration::from_secs(2);

/// A session that was closed, and what became of what was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedPaymentSession {
    /// The payment hash of its deposit.
    pub payment_hash: PaymentHash,
    /// What the return invoice got, if the refund has succeeded; what it is to get, if it has failed or is under way; and what was left, in
    /// whole sats, if it is too little to be paid.
    pub refund: Sats,
    /// What became of it.
    pub status: RefundStatus,
    /// Whether it may still be paid by itself, although the status is [`RefundStatus::Failed`].
    pub is_pending: bool,
}

/// What has become of a refund so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refunded {
    /// It is known, and does not change by itself.
    Known(Sats, RefundStatus),
    /// So much is to be paid.
    Pending(Sats),
}

impl Sessions {
    /// Closes a session. What is left is paid to the invoice that was named when it was opened, and nowhere else; that is waited for up to 30
    /// seconds. Requests that run are ended, and charged first. Closing again says what has become of it.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`].
    pub async fn close_by_payment(
        &self,
        credential: &SessionCredential,
    ) -> Result<ClosedPaymentSession, EngineError> {
        let SessionAction::Close { .. } = &credential.action else {
            return Err(InvalidProof::Challenge(payment::Refused::Intent).into());
        };
        let payment_hash = credential.payment_hash();
        let session = self.opened_session(payment_hash).await?;
        if session.end().is_none() {
            let close = SessionClose { session: session.id, return_to: None };
            match self.core.committer.commit(close).await.map_err(refused) {
                Ok(_) => info!(session_id = %session.id, "closed by its client"),
                // It has expired at this moment.
                Err(EngineError::PaymentSession(PaymentSessionError::DepositEnded)) => {}
                Err(failure) => return Err(failure),
            }
        }
        self.payouts.wake();
        let until = Instant::now() + REFUND_PATIENCE;
        let mut wait = REFUND_INTERVAL;
        // Without room to wait, the answer is what is known now.
        let waiter = self.waiter(session.id);
        loop {
            let (refund, status, is_pending) = match self.refunded(session.id).await? {
                Refunded::Known(refund, status) => (refund, status, false),
                // The draft has no word for it.
                Refunded::Pending(refund) if waiter.is_none() || Instant::now() >= until => {
                    (refund, RefundStatus::Failed, true)
                }
                Refunded::Pending(_) => {
                    sleep(wait).await;
                    wait = wait.saturating_mul(2).min(REFUND_INTERVAL_MAX);
                    continue;
                }
            };
            return Ok(ClosedPaymentSession { payment_hash, refund, status, is_pending });
        }
    }

    /// What has become of the refund of an opened session that has ended.
    async fn refunded(&self, id: SessionId) -> Result<Refunded, EngineError> {
        let view = self.view_as_stored(id).await?;
        if !view.held.is_zero() {
            // A request is being charged; what it leaves is refunded with the rest.
            let left = view.balance.saturating_sub(view.held).to_sats_rounding_down();
            return Ok(Refunded::Pending(self.payouts.fees().quote(left)?.payable));
        }
        let quote = view.refund.quote;
        Ok(match view.refund.state {
            ObligationState::NotApplicable => Refunded::Known(Sats::ZERO, RefundStatus::Skipped),
            // What was credited to another session, or settled by the operator, was not paid to the return invoice.
            ObligationState::Paid => match self.paid_out(id).await? {
                Sats::ZERO => Refunded::Known(Sats::ZERO, RefundStatus::Skipped),
                paid => Refunded::Known(paid, RefundStatus::Succeeded),
            },
            ObligationState::Pending if quote.payable.is_zero() => {
                Refunded::Known(quote.due, RefundStatus::Skipped)
            }
            ObligationState::Pending if !view.refund.has_destination => {
                Refunded::Known(quote.payable, RefundStatus::Failed)
            }
            ObligationState::Pending | ObligationState::Paying => Refunded::Pending(quote.payable),
        })
    }

    /// What the customer of a session was paid.
    async fn paid_out(&self, id: SessionId) -> Result<Sats, EngineError> {
        let payouts = self.core.ports.store.payouts_of(account_of(id)).await?;
        let mut paid = payouts.iter().filter(|payout| matches!(payout.state, PayoutState::Paid { .. }));
        let sum = paid.try_fold(Sats::ZERO, |sum, Payout { amount, .. }| {
            Ok::<_, MoneyError>(sum.to_msats().checked_add(amount.to_msats())?.to_sats_rounding_down())
        });
        Ok(sum?)
    }
}
