//! Refunds: what an ended job or session has left is owed to the customer.

use crate::books::{Books, Posting, Refusal};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Sats;
use uuid::Uuid;

impl Books<'_> {
    /// Empties the account of something that has ended: whole sats are owed to the customer, the rest, which no payment can
    /// carry, is booked to `rounding`. `owner` is the id of what has ended; `occasion` distinguishes several refunds of one
    /// owner. Returns what is owed.
    pub(crate) fn accrue_refund(
        &mut self,
        account: AccountId,
        owner: Uuid,
        occasion: &str,
    ) -> Result<Sats, Refusal> {
        let left = self.account(account)?.available();
        let refund = left.to_sats_rounding_down();
        let rest = left.checked_sub(refund.to_msats())?;
        if !rest.is_zero() {
            self.post(Posting {
                key: TransferKey::new(format!("rounding:{owner}:{occasion}")),
                debit: account,
                credit: AccountId::Rounding,
                amount: rest,
                kind: TransferKind::Rounding,
                reference: owner,
            })?;
        }
        if !refund.is_zero() {
            self.post(Posting {
                key: TransferKey::new(format!("refund:{owner}:{occasion}")),
                debit: account,
                credit: AccountId::RefundsDue,
                amount: refund.to_msats(),
                kind: TransferKind::RefundAccrued,
                reference: owner,
            })?;
        }
        Ok(refund)
    }
}
