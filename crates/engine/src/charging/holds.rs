//! What commands do with holds.

use crate::books::rows::{Holds, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use tithe_ledger::{Account, AccountId, Hold, HoldId};

impl RowKeys {
    /// Declares a hold and its account.
    pub(crate) fn declare_hold(&mut self, hold: HoldId, account: AccountId) {
        self.holds.insert(hold);
        self.accounts.insert(account);
    }
}

impl Books<'_> {
    /// The hold of this id.
    pub(crate) fn hold(&self, id: HoldId) -> Result<Hold, Refusal> {
        let stored = self.rows.holds.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(Holds::NAME, &id))
    }

    /// Writes a hold and its account.
    pub(crate) fn hold_write(&mut self, hold: Hold, account: Account) -> Result<(), Refusal> {
        self.rows.accounts.put(account)?;
        self.rows.holds.put(hold)
    }
}
