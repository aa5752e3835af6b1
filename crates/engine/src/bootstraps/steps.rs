//! What commands do with bootstraps.

use crate::books::rows::{self, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use tithe_bootstrap::{Bootstrap, BootstrapId};
use tithe_ledger::AccountId;
use tithe_money::Msats;

/// The account of what was paid for a bootstrap.
pub(super) const fn account_of(bootstrap: BootstrapId) -> AccountId {
    AccountId::Bootstrap(bootstrap.0)
}

impl RowKeys {
    /// Declares a bootstrap and its account.
    pub(super) fn declare_bootstrap(&mut self, bootstrap: BootstrapId) {
        self.bootstraps.insert(bootstrap);
        self.declare_refund(account_of(bootstrap));
    }
}

impl Books<'_> {
    /// The bootstrap of this id.
    pub(super) fn bootstrap(&self, id: BootstrapId) -> Result<Bootstrap, Refusal> {
        let stored = self.rows.bootstraps.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(rows::Bootstraps::NAME, &id))
    }

    /// Refunds what an ended bootstrap has left in its account, and writes the bootstrap. `occasion` distinguishes several refunds
    /// of one bootstrap.
    pub(super) fn bootstrap_refund(
        &mut self,
        bootstrap: &Bootstrap,
        occasion: &str,
    ) -> Result<Bootstrap, Refusal> {
        let account = account_of(bootstrap.id);
        let before = self.account(account)?.balance();
        let refund = self.accrue_refund(account, bootstrap.id.0, occasion)?;
        let moved = before.checked_sub(self.account(account)?.balance())?;
        let rounding = moved.checked_sub(refund.to_msats())?;
        let refunded = if moved == Msats::ZERO {
            bootstrap.clone()
        } else {
            bootstrap.refunded(refund, rounding, self.now())?
        };
        self.rows.bootstraps.put(refunded.clone())?;
        Ok(refunded)
    }
}
