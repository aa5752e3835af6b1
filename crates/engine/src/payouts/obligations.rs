//! What commands do with obligations and payouts.

use crate::books::rows::{self, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use crate::log;
use tithe_ledger::AccountId;
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_money::Sats;
use tithe_payouts::{LightningAddress, Obligation, Payout};
use tracing::error;

impl RowKeys {
    /// Declares a customer's account, and what is owed to that customer.
    pub(crate) fn declare_refund(&mut self, account: AccountId) {
        self.accounts.insert(account);
        self.obligations.insert(account);
    }

    /// Declares a payout and its obligation.
    pub(super) fn declare_payout(&mut self, account: AccountId, payment_hash: PaymentHash) {
        self.obligations.insert(account);
        self.payouts.insert(payment_hash);
    }
}

impl Books<'_> {
    /// The obligation of this account.
    pub(crate) fn obligation(&self, account: AccountId) -> Result<Obligation, Refusal> {
        let stored = self.rows.obligations.get(&account)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(rows::Obligations::NAME, &account))
    }

    /// The payout of this payment hash.
    pub(super) fn payout(&self, payment_hash: PaymentHash) -> Result<Payout, Refusal> {
        let stored = self.rows.payouts.get(&payment_hash)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(rows::Payouts::NAME, &payment_hash))
    }

    /// Adds a refund to what is owed to the customer of `account`.
    pub(crate) fn obligation_accrue(&mut self, account: AccountId, amount: Sats) -> Result<(), Refusal> {
        let now = self.now();
        let stored = self.rows.obligations.get(&account)?.cloned();
        let owed = stored.unwrap_or_else(|| Obligation::open(account, now)).accrue(amount, now)?;
        self.rows.obligations.put(owed)
    }

    /// Sends what is owed to the customer of `account` to an address that the customer named in advance, unless there is another
    /// destination already.
    pub(crate) fn obligation_address(
        &mut self,
        account: AccountId,
        address: &LightningAddress,
    ) -> Result<(), Refusal> {
        let Some(owed) = self.rows.obligations.get(&account)?.cloned() else { return Ok(()) };
        if owed.destination.is_some() || owed.due.is_zero() {
            return Ok(());
        }
        let directed = owed.direct_in_advance(&address.clone().into(), self.now())?;
        self.rows.obligations.put(directed)
    }

    /// Sends what is owed to the customer of `account` to an invoice without an amount that the customer named in advance, unless there is
    /// another destination already, or the invoice was paid.
    pub(crate) fn obligation_invoice(&mut self, account: AccountId, invoice: &str) -> Result<(), Refusal> {
        let Some(owed) = self.rows.obligations.get(&account)?.cloned() else { return Ok(()) };
        let Ok(request) = invoice.parse::<Bolt11>() else {
            let session_id = log::Owner::of_account(account).session();
            error!(session_id, "the return invoice cannot be read");
            return Ok(());
        };
        let directed = owed.direct_to_return_invoice(request, self.now());
        if directed != owed {
            self.rows.obligations.put(directed)?;
        }
        Ok(())
    }
}
