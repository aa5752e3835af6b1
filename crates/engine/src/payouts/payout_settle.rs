//! The operator settles what is due by other means.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Sats;
use tithe_payouts::Obligation;
use uuid::Uuid;

/// How the operator settles what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorSettlement {
    /// It was paid by other means: the operator bears it.
    PaidElsewhere,
    /// Nobody claims it: it becomes revenue, by this explicit act only.
    Forfeited,
}

/// Books that the operator has settled a part of what is due. Returns the obligation. The second time for its id it changes nothing.
#[derive(Debug, Clone)]
pub struct PayoutSettle {
    /// The id of this act.
    pub id: Uuid,
    /// The account of the obligation.
    pub account: AccountId,
    /// The amount.
    pub amount: Sats,
    /// How.
    pub how: OperatorSettlement,
}

impl PayoutSettle {
    fn key(&self) -> TransferKey {
        TransferKey::new(format!("settlement:{}", self.id))
    }
}

impl Command for PayoutSettle {
    type Reply = Box<Obligation>;
    const NAME: &'static str = "payout_settle";

    fn declare(&self, keys: &mut RowKeys) {
        keys.obligations.insert(self.account);
        keys.transfers.insert(self.key());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Obligation>, Refusal> {
        let owed = books.obligation(self.account)?;
        if books.rows.transfers.exists(&self.key())? {
            return Ok(Box::new(owed));
        }
        let kind = match self.how {
            OperatorSettlement::PaidElsewhere => TransferKind::RefundSettled,
            OperatorSettlement::Forfeited => TransferKind::RefundForfeited,
        };
        let (owed, transfer) = owed.settled_by_operator(self.amount, kind, self.key(), books.now())?;
        books.rows.obligations.put(owed.clone())?;
        books.transfers_write(vec![transfer]);
        Ok(Box::new(owed))
    }
}
