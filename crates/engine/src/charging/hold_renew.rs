//! Extends the lease of a hold.

use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_ledger::{AccountId, Hold, HoldId};

/// Extends the lease of a hold.
#[derive(Debug, Clone)]
pub struct HoldRenew {
    /// The hold.
    pub hold: HoldId,
    /// The account that it is on.
    pub account: AccountId,
    /// How long from now the hold lives.
    pub lease: Duration,
}

impl Command for HoldRenew {
    type Reply = Hold;
    const NAME: &'static str = "hold_renew";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_hold(self.hold, self.account);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Hold, Refusal> {
        let hold = books.hold(self.hold)?.renew(books.now(), self.lease)?;
        books.rows.holds.put(hold.clone())?;
        Ok(hold)
    }
}
