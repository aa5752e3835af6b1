//! The routing fee that a customer leaves for a payout.

use crate::PayoutError;
use tithe_money::{BasisPoints, MoneyError, Sats};

/// How much the routing fee of a payout may be. The customer bears it: the payout is what is due less the fee limit, whatever the fee
/// turns out to be. The unused part of the limit stays in the account `routing_fees`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    /// The fixed part.
    pub base: Sats,
    /// The part of what is due, rounded up to the sat.
    pub share: BasisPoints,
}

/// What is paid out of what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutQuote {
    /// What is due.
    pub due: Sats,
    /// What the routing fee may be.
    pub fee_limit: Sats,
    /// What is paid to the customer: zero when no more is due than the fee may be (dust).
    pub payable: Sats,
}

impl FeePolicy {
    /// What is paid out of `due`.
    ///
    /// # Errors
    /// [`MoneyError`] if an amount is out of range.
    pub fn quote(&self, due: Sats) -> Result<PayoutQuote, MoneyError> {
        let whole = due.to_msats();
        // Rounded up: what is left of the whole is rounded down.
        let rest = BasisPoints::WHOLE.get().saturating_sub(self.share.get());
        let share = whole.checked_sub(whole.share_rounding_down(BasisPoints::new(rest)?))?;
        let limit = self.base.to_msats().checked_add(share.to_sats_rounding_up()?.to_msats())?;
        let fee_limit = limit.min(whole);
        let payable = whole.checked_sub(fee_limit)?.to_sats_rounding_down();
        Ok(PayoutQuote { due, fee_limit: fee_limit.to_sats_rounding_down(), payable })
    }
}

impl PayoutQuote {
    /// The quote, if something can be paid.
    ///
    /// # Errors
    /// [`PayoutError::NothingDue`], [`PayoutError::Dust`].
    pub const fn payable(self) -> Result<Self, PayoutError> {
        if self.due.is_zero() {
            return Err(PayoutError::NothingDue);
        }
        if self.payable.is_zero() {
            return Err(PayoutError::Dust { due: self.due, fee_limit: self.fee_limit });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(base: u64, basis_points: u32) -> FeePolicy {
        FeePolicy { base: Sats::new(base).unwrap(), share: BasisPoints::new(basis_points).unwrap() }
    }

    #[test]
    fn the_fee_limit_is_the_base_and_the_share_rounded_up() {
        for (base, share, due, limit, payable) in [
            (2, 100, 0, 0, 0),
            (2, 100, 3, 3, 0),
            (2, 100, 4, 3, 1),
            (2, 100, 100, 3, 97),
            (2, 100, 101, 4, 97),
            (0, 0, 1, 0, 1),
            (4, 40, 10_000, 44, 9_956),
            (0, 10_000, 7, 7, 0),
        ] {
            let quote = policy(base, share).quote(Sats::new(due).unwrap()).unwrap();
            assert_eq!(
                (quote.fee_limit.get(), quote.payable.get()),
                (limit, payable),
                "{base} {share} {due}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_limit_and_the_payout_are_what_is_due(base in 0_u64..1_000, share in 0_u32..=10_000, due in 0_u64..2_100_000_000_000_000) {
            let quote = policy(base, share).quote(Sats::new(due).unwrap()).unwrap();
            prop_assert_eq!(quote.fee_limit.get() + quote.payable.get(), due);
        }
    }
}
