//! Sets an amount aside on an account.

use crate::books::rows::{Holds, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_ledger::{AccountId, Hold, HoldId};
use tithe_money::Msats;

/// Sets an amount aside on a guarded account.
#[derive(Debug, Clone)]
pub struct HoldPlace {
    /// The id of the new hold.
    pub hold: HoldId,
    /// The account.
    pub account: AccountId,
    /// The amount.
    pub amount: Msats,
    /// How long the hold lives unless it is renewed.
    pub lease: Duration,
}

impl Command for HoldPlace {
    type Reply = Hold;
    const NAME: &'static str = "hold_place";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_hold(self.hold, self.account);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Hold, Refusal> {
        if books.rows.holds.contains(&self.hold)? {
            return Err(Refusal::exists(Holds::NAME, &self.hold));
        }
        let account = books.account(self.account)?;
        let (hold, account) = Hold::place(&account, self.hold, self.amount, books.now(), self.lease)?;
        books.hold_write(hold.clone(), account)?;
        Ok(hold)
    }
}
