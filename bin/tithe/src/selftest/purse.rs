//! The budget: what was paid, and what may still be.

use tithe_lightning::PaymentHash;
use tithe_money::{MoneyError, Msats, Sats};

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PaymentState {
    /// The payment may have been made: it counts with the most that it can cost.
    Unknown,
    /// The payment was made.
    Paid,
    /// The payment was not made.
    Failed,
}

impl PaymentState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Paid => "paid",
            Self::Failed => "failed",
        }
    }
}

/// A payment, recorded before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payment {
    pub(super) check: &'static str,
    pub(super) hash: PaymentHash,
    pub(super) amount: Sats,
    /// What it has cost, or the most that it can cost, with the routing fee.
    pub(super) cost: Msats,
    pub(super) state: PaymentState,
}

/// Why a payment is not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PurseError {
    /// It could cost more than is left.
    #[error("it may cost {cost}, and {left} of the budget are left")]
    OverBudget { cost: Msats, left: Msats },
    /// A payment of this hash was begun before.
    #[error("an invoice with this payment hash was paid before")]
    AlreadyBegun,
}

/// The budget, and the payments that count against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purse {
    budget: Sats,
    payments: Vec<Payment>,
}

impl Purse {
    pub(super) const fn new(budget: Sats) -> Self {
        Self { budget, payments: Vec::new() }
    }

    pub(super) const fn budget(&self) -> Sats {
        self.budget
    }

    pub(super) fn payments(&self) -> &[Payment] {
        &self.payments
    }

    /// What was spent, and what may have been.
    pub(super) fn spent(&self) -> Msats {
        let costs = self.payments.iter().filter(|payment| payment.state != PaymentState::Failed);
        let sum: Result<Msats, MoneyError> =
            costs.map(|payment| payment.cost).try_fold(Msats::ZERO, Msats::checked_add);
        sum.unwrap_or(Msats::MAX)
    }

    /// What may still be spent.
    pub(super) fn left(&self) -> Msats {
        self.budget.to_msats().saturating_sub(self.spent())
    }

    /// Records a payment before it is made. Whatever happens to the caller, it counts from now on.
    pub(super) fn begin(
        &mut self,
        check: &'static str,
        hash: PaymentHash,
        amount: Sats,
        max_fee: Msats,
    ) -> Result<(), PurseError> {
        if self.payments.iter().any(|payment| payment.hash == hash && payment.state != PaymentState::Failed) {
            return Err(PurseError::AlreadyBegun);
        }
        let cost = amount.to_msats().checked_add(max_fee).unwrap_or(Msats::MAX);
        let left = self.left();
        if cost > left {
            return Err(PurseError::OverBudget { cost, left });
        }
        self.payments.push(Payment { check, hash, amount, cost, state: PaymentState::Unknown });
        Ok(())
    }

    /// Records that the payment was made, with this fee.
    pub(super) fn paid(&mut self, hash: PaymentHash, fee: Msats) {
        if let Some(payment) = self.last(hash) {
            payment.cost = payment.amount.to_msats().checked_add(fee).unwrap_or(Msats::MAX);
            payment.state = PaymentState::Paid;
        }
    }

    /// Records that the payment was certainly not made.
    pub(super) fn failed(&mut self, hash: PaymentHash) {
        if let Some(payment) = self.last(hash) {
            payment.state = PaymentState::Failed;
        }
    }

    fn last(&mut self, hash: PaymentHash) -> Option<&mut Payment> {
        self.payments.iter_mut().rev().find(|payment| payment.hash == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "a-check";

    fn hash(n: u8) -> PaymentHash {
        PaymentHash::from_bytes([n; 32])
    }

    fn sats(n: u64) -> Sats {
        Sats::new(n).unwrap()
    }

    #[test]
    fn a_payment_counts_with_its_highest_fee_until_the_fee_is_known() {
        let mut purse = Purse::new(sats(100));
        purse.begin(CHECK, hash(1), sats(60), sats(10).to_msats()).unwrap();
        assert_eq!(purse.left(), sats(30).to_msats());
        purse.paid(hash(1), Msats::new(1).unwrap());
        assert_eq!(purse.left(), Msats::new(39_999).unwrap());
    }

    #[test]
    fn nothing_is_begun_that_could_exceed_the_budget() {
        let mut purse = Purse::new(sats(100));
        purse.begin(CHECK, hash(1), sats(60), Msats::ZERO).unwrap();
        let refused = purse.begin(CHECK, hash(2), sats(40), Msats::new(1).unwrap()).unwrap_err();
        assert!(matches!(refused, PurseError::OverBudget { .. }), "{refused}");
        purse.begin(CHECK, hash(3), sats(40), Msats::ZERO).unwrap();
        assert_eq!(purse.left(), Msats::ZERO);
        let refused = Purse::new(Sats::ZERO).begin(CHECK, hash(1), sats(1), Msats::ZERO).unwrap_err();
        assert!(matches!(refused, PurseError::OverBudget { .. }), "{refused}");
    }

    #[test]
    fn a_payment_that_was_not_made_gives_its_share_back_and_one_that_may_have_been_does_not() {
        let mut purse = Purse::new(sats(100));
        purse.begin(CHECK, hash(1), sats(60), Msats::ZERO).unwrap();
        purse.failed(hash(1));
        assert_eq!(purse.spent(), Msats::ZERO);
        purse.begin(CHECK, hash(1), sats(70), Msats::ZERO).unwrap();
        assert_eq!(purse.spent(), sats(70).to_msats());
    }

    #[test]
    fn an_invoice_is_paid_once() {
        let mut purse = Purse::new(sats(100));
        purse.begin(CHECK, hash(1), sats(1), Msats::ZERO).unwrap();
        assert_eq!(purse.begin(CHECK, hash(1), sats(1), Msats::ZERO), Err(PurseError::AlreadyBegun));
        purse.paid(hash(1), Msats::ZERO);
        assert_eq!(purse.begin(CHECK, hash(1), sats(1), Msats::ZERO), Err(PurseError::AlreadyBegun));
    }
}
