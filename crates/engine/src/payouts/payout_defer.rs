//! Nothing is paid for now.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::AccountId;
use tithe_payouts::{Deferral, Destination, PayoutError};

/// Puts the next attempt off, or forgets a destination that cannot be paid. No payout has begun.
#[derive(Debug, Clone)]
pub struct PayoutDefer {
    /// The account of the obligation.
    pub account: AccountId,
    /// The destination that does not work. Another one that the customer has named meanwhile stays.
    pub destination: Destination,
    /// Why.
    pub why: Deferral,
    /// What the customer is shown.
    pub problem: String,
}

impl Command for PayoutDefer {
    type Reply = ();
    const NAME: &'static str = "payout_defer";

    fn declare(&self, keys: &mut RowKeys) {
        keys.obligations.insert(self.account);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let owed = books.obligation(self.account)?;
        if let Some(hash) = owed.in_flight {
            return Err(PayoutError::InFlight(hash).into());
        }
        if owed.destination.as_ref() != Some(&self.destination) {
            return Err(PayoutError::Destination.into());
        }
        let deferred = owed.deferred(self.why, &self.problem, books.now());
        books.rows.obligations.put(deferred)
    }
}
