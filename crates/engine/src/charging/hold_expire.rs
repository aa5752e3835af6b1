//! Ends a hold whose lease has run out.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::{AccountId, Hold, HoldId};

/// Ends a hold: its lease has run out. The whole amount becomes available again.
#[derive(Debug, Clone)]
pub struct HoldExpire {
    /// The hold.
    pub hold: HoldId,
    /// The account that it is on.
    pub account: AccountId,
}

impl Command for HoldExpire {
    type Reply = Hold;
    const NAME: &'static str = "hold_expire";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_hold(self.hold, self.account);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Hold, Refusal> {
        let account = books.account(self.account)?;
        let ended = books.hold(self.hold)?.expire(&account, books.now())?;
        books.hold_write(ended.hold.clone(), ended.account)?;
        Ok(ended.hold)
    }
}
