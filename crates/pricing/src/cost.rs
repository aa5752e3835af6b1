//! How the cost of a piece of work is shared.

use crate::Price;
use tithe_money::{MoneyError, Msats, Sats};

/// How the cost of a piece of work is shared: `absorbed + charged + uncollected` is the cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostShares {
    /// The amount that the pool pays.
    pub absorbed: Msats,
    /// The amount that the customer pays.
    pub charged: Msats,
    /// The amount that nobody pays: the operator's loss.
    pub uncollected: Msats,
}

impl CostShares {
    /// Splits `cost`. The pool pays first, at most `absorbable`; the customer pays the rest, at most `payable`.
    /// Together they pay at most `limit`, which is the quoted maximum.
    ///
    /// # Errors
    /// None in practice, because no share exceeds the cost.
    pub fn of(cost: Msats, limit: Msats, absorbable: Msats, payable: Msats) -> Result<Self, MoneyError> {
        let due = cost.min(limit);
        let absorbed = due.min(absorbable);
        let charged = due.checked_sub(absorbed)?.min(payable);
        let uncollected = cost.checked_sub(absorbed)?.checked_sub(charged)?;
        Ok(Self { absorbed, charged, uncollected })
    }
}

/// How a payment for a piece of work is split once the usage is known.
///
/// `paid = charged + refund + rounding`, and `charged + absorbed + uncollected` is the price of the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CostSplit {
    /// The actual price of the usage at the quote's rates.
    pub price: Price,
    /// The customer's part of it.
    pub charged: Msats,
    /// The pool's part of it.
    pub absorbed: Msats,
    /// The part that nobody pays: usage beyond the quote's maximum, which is the operator's loss.
    pub uncollected: Msats,
    /// The customer's refund.
    pub refund: Sats,
    /// The fraction of a sat that cannot be refunded; it is booked as rounding.
    pub rounding: Msats,
}

impl CostSplit {
    /// The split of a price into these shares, with the rest of the `paid` amount.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] if the charge exceeds the payment.
    pub fn new(price: Price, shares: CostShares, paid: Msats) -> Result<Self, MoneyError> {
        let CostShares { absorbed, charged, uncollected } = shares;
        let left = paid.checked_sub(charged)?;
        let refund = left.to_sats_rounding_down();
        let rounding = left.checked_sub(refund.to_msats())?;
        Ok(Self { price, charged, absorbed, uncollected, refund, rounding })
    }
}
