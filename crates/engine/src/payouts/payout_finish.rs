//! The outcome of a payout, or that it is not known yet.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::AccountId;
use tithe_lightning::{PaymentHash, Preimage};
use tithe_money::Msats;
use tithe_payouts::{Attempt, Deferral, Failure, Payout};

/// What the wallet says of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayoutOutcome {
    /// The customer was paid.
    Paid {
        /// The preimage.
        preimage: Preimage,
        /// The routing fee.
        fee: Msats,
    },
    /// It is certain that nothing was paid.
    Failed {
        /// The reason, for the operator.
        reason: String,
        /// What follows for the destination.
        why: Deferral,
        /// What the customer is shown.
        problem: String,
    },
    /// The outcome is unknown still.
    Unknown,
    /// The wallet has no record of the payment: the same invoice is about to be sent again, by the server that commits this.
    SendAgain,
}

/// Commits what the wallet says of an attempt at a payout. Refused when another server has committed the outcome, or has begun another
/// attempt. Returns the payout as it is now.
#[derive(Debug, Clone)]
pub struct PayoutFinish {
    /// The account of the obligation.
    pub account: AccountId,
    /// The payout.
    pub payment_hash: PaymentHash,
    /// The attempt that the wallet's word is about.
    pub attempt: Attempt,
    /// The wallet's word.
    pub outcome: PayoutOutcome,
}

impl Command for PayoutFinish {
    type Reply = Box<Payout>;
    const NAME: &'static str = "payout_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_payout(self.account, self.payment_hash);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Payout>, Refusal> {
        let (now, attempt) = (books.now(), self.attempt);
        let payout = books.payout(self.payment_hash)?;
        let settled = match &self.outcome {
            PayoutOutcome::Unknown => {
                let payout = payout.looked_up(attempt, now)?;
                books.rows.payouts.put(payout.clone())?;
                return Ok(Box::new(payout));
            }
            PayoutOutcome::SendAgain => {
                let payout = payout.sent_again(attempt, now)?;
                books.rows.payouts.put(payout.clone())?;
                return Ok(Box::new(payout));
            }
            PayoutOutcome::Paid { preimage, fee } => {
                books.obligation(self.account)?.paid(&payout, attempt, *preimage, *fee, now)?
            }
            PayoutOutcome::Failed { reason, why, problem } => {
                let failure = Failure { reason, why: *why, problem };
                books.obligation(self.account)?.failed(&payout, attempt, &failure, now)?
            }
        };
        books.rows.obligations.put(settled.obligation)?;
        books.rows.payouts.put(settled.payout.clone())?;
        books.transfers_write(settled.transfers);
        Ok(Box::new(settled.payout))
    }
}
