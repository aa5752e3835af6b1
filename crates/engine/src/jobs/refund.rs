//! Paying the refund of a job to its customer.

use super::service::Jobs;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use crate::payouts::RefundView;
use tithe_jobs::JobId;
use tithe_ledger::AccountId;
use tithe_payouts::{Destination, PayoutError};
use tithe_trust::NostrPubkey;

impl Jobs {
    /// Sets where the refund of a job is paid, for the holder of its claim token or for its identity. It is paid in the background; the
    /// job shows what becomes of it. Asking again is safe.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when neither is the job's, [`EngineError::Payout`] when nothing can be paid or the destination
    /// is unsuitable, [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn refund(
        &self,
        id: JobId,
        identity: Option<NostrPubkey>,
        claim_token: Option<&str>,
        destination: Destination,
    ) -> Result<RefundView, EngineError> {
        let job = self.core.ports.store.job(id).await?;
        let job = job.ok_or_else(|| EngineError::not_found(rows::Jobs::NAME, &id))?;
        self.tokens.check_owner(id.0, claim_token, job.identity, identity)?;
        if job.refund.amount().is_zero() {
            return Err(EngineError::Payout(PayoutError::NothingDue));
        }
        self.payouts.direct(AccountId::Job(id.0), destination).await
    }
}
