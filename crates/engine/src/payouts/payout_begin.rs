//! A payout begins.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::AccountId;
use tithe_lightning::{Bolt11, Network, PaymentId};
use tithe_payouts::{FeePolicy, NewPayout, Payout};

/// Commits the intent to pay: from now on the wallet may be paying. The server that has committed this, and no other, calls the
/// wallet.
#[derive(Debug, Clone)]
pub struct PayoutBegin {
    /// The account of the obligation.
    pub account: AccountId,
    /// The invoice.
    pub request: Bolt11,
    /// Our id of the attempt.
    pub id: PaymentId,
    /// What the routing fee may be.
    pub fees: FeePolicy,
    /// The network that the wallet is on.
    pub network: Network,
}

/// A payout that has begun.
pub type BegunPayout = Box<Payout>;

impl Command for PayoutBegin {
    type Reply = BegunPayout;
    const NAME: &'static str = "payout_begin";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_payout(self.account, self.request.payment_hash());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<BegunPayout, Refusal> {
        let owed = books.obligation(self.account)?;
        let before = books.rows.payouts.get(&self.request.payment_hash())?.cloned();
        let new =
            NewPayout { request: &self.request, id: self.id, before: before.as_ref(), network: self.network };
        let (owed, payout) = owed.begin(&new, &self.fees, books.now())?;
        books.rows.obligations.put(owed)?;
        books.rows.payouts.put(payout.clone())?;
        Ok(Box::new(payout))
    }
}
