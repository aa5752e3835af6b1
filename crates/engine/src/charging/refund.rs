//! Refunds: what an ended job or session has left is owed to the customer.

use crate::books::{Books, Refusal};
use tithe_ledger::AccountId;
use tithe_money::Sats;
use uuid::Uuid;

impl Books<'_> {
    /// Empties the account of something that has ended: whole sats are owed to the customer, the rest, which no payment can
    /// carry, is booked to `rounding`. `owner` is the id of what has ended; `occasion` distinguishes several refunds of one
    /// owner. Returns what is owed now, which is added to the customer's obligation; the caller has declared both
    /// ([`RowKeys::declare_refund`](crate::books::RowKeys)).
    pub(crate) fn accrue_refund(
        &mut self,
        account: AccountId,
        owner: Uuid,
        occasion: &str,
    ) -> Result<Sats, Refusal> {
        let done = tithe_ledger::refund(&self.account(account)?, owner, occasion, self.now())?;
        if !done.refund.is_zero() {
            self.obligation_accrue(account, done.refund)?;
        }
        if !done.transfers.is_empty() {
            self.rows.accounts.put(done.account)?;
            self.transfers_write(done.transfers);
        }
        Ok(done.refund)
    }
}
