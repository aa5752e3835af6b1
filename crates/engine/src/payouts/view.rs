//! Reading what is owed to customers.

use super::refund_view::RefundView;
use super::service::Payouts;
use crate::error::EngineError;
use std::collections::HashMap;
use tithe_clock::Timestamp;
use tithe_ledger::AccountId;
use tithe_money::Sats;
use tithe_payouts::Obligation;

impl Payouts {
    /// What is owed to the customer of an account. `accrued` is what the owner of the account knows to be owed: nothing is read when
    /// that is nothing.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn refund(&self, account: AccountId, accrued: Sats) -> Result<RefundView, EngineError> {
        let owed = match accrued {
            Sats::ZERO => None,
            _ => self.core.ports.store.obligation(account).await?,
        };
        self.refund_view(&owed.unwrap_or_else(|| Obligation::open(account, Timestamp::UNIX_EPOCH)))
    }

    /// What is owed to the customers of these accounts. Accounts of whose customers nothing was ever owed are left out.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn refunds(
        &self,
        accounts: &[AccountId],
    ) -> Result<HashMap<AccountId, RefundView>, EngineError> {
        if accounts.is_empty() {
            return Ok(HashMap::new());
        }
        let owed = self.core.ports.store.obligations_of(accounts).await?;
        owed.iter().map(|owed| Ok((owed.account, self.refund_view(owed)?))).collect()
    }

    /// How customers see an obligation.
    pub(crate) fn refund_view(&self, owed: &Obligation) -> Result<RefundView, EngineError> {
        Ok(RefundView {
            state: owed.state(),
            accrued: owed.accrued,
            quote: self.fees().quote(owed.due)?,
            payment_hash: owed.payment_hash(),
            has_destination: owed.destination.is_some(),
            problem: owed.problem.clone().filter(|_| !owed.due.is_zero()),
            updated_at: owed.updated_at,
        })
    }
}
