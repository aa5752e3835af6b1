//! The chart of accounts: which kind of transfer may move money from where to where.

use crate::{AccountId, AccountName, Transfer, TransferKind};
use std::collections::BTreeSet;

/// A kind of account: an [`AccountId`] without its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountKind {
    /// [`AccountId::Wallet`].
    Wallet,
    /// [`AccountId::Revenue`].
    Revenue,
    /// [`AccountId::RefundsDue`].
    RefundsDue,
    /// [`AccountId::RoutingFees`].
    RoutingFees,
    /// [`AccountId::Rounding`].
    Rounding,
    /// [`AccountId::Operator`].
    Operator,
    /// [`AccountId::Custom`].
    Custom(AccountName),
    /// [`AccountId::Job`].
    Job,
    /// [`AccountId::Session`].
    Session,
    /// [`AccountId::Bootstrap`].
    Bootstrap,
    /// [`AccountId::Owned`].
    Owned(AccountName),
    /// [`AccountId::Pool`].
    Pool,
}

impl AccountId {
    /// The account's kind.
    #[must_use]
    pub const fn kind(self) -> AccountKind {
        match self {
            Self::Wallet => AccountKind::Wallet,
            Self::Revenue => AccountKind::Revenue,
            Self::RefundsDue => AccountKind::RefundsDue,
            Self::RoutingFees => AccountKind::RoutingFees,
            Self::Rounding => AccountKind::Rounding,
            Self::Operator => AccountKind::Operator,
            Self::Custom(name) => AccountKind::Custom(name),
            Self::Job(_) => AccountKind::Job,
            Self::Session(_) => AccountKind::Session,
            Self::Bootstrap(_) => AccountKind::Bootstrap,
            Self::Owned(name, _) => AccountKind::Owned(name),
            Self::Pool => AccountKind::Pool,
        }
    }
}

/// The transfers that a ledger may have: of each kind, from which kinds of accounts to which.
///
/// [`Chart::default`] has Tithe's own. A service adds what it uses; every other transfer is a finding of the
/// [`crate::Auditor`], so a misspelt account or kind cannot go unnoticed.
///
/// ```
/// use tithe_ledger::{AccountKind, AccountName, Chart, KindName, TransferKind};
///
/// const CUSTOMER: AccountKind = AccountKind::Owned(AccountName::literal("customer"));
/// const DEPOSIT: TransferKind = TransferKind::Custom(KindName::literal("card_deposit"));
///
/// let chart = Chart::default().allow(DEPOSIT, AccountKind::Wallet, CUSTOMER).allow_customer(CUSTOMER);
/// assert!(chart.allows(DEPOSIT, AccountKind::Wallet, CUSTOMER));
/// assert!(chart.allows(TransferKind::Charge, CUSTOMER, AccountKind::Revenue));
/// assert!(!chart.allows(DEPOSIT, CUSTOMER, AccountKind::Wallet));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart(BTreeSet<(TransferKind, AccountKind, AccountKind)>);

impl Chart {
    /// Allows transfers of this kind from accounts of the kind `debit` to accounts of the kind `credit`.
    #[must_use]
    pub fn allow(mut self, kind: TransferKind, debit: AccountKind, credit: AccountKind) -> Self {
        self.0.insert((kind, debit, credit));
        self
    }

    /// Allows what happens to the money of a customer's account: charges with their tithe, refunds and rounding.
    #[must_use]
    pub fn allow_customer(self, customer: AccountKind) -> Self {
        self.allow(TransferKind::Charge, customer, AccountKind::Revenue)
            .allow(TransferKind::Tithe, customer, AccountKind::Pool)
            .allow(TransferKind::RefundAccrued, customer, AccountKind::RefundsDue)
            .allow(TransferKind::Rounding, customer, AccountKind::Rounding)
    }

    /// Returns true if such a transfer may exist. The operator may adjust all accounts that the chart has.
    #[must_use]
    pub fn allows(&self, kind: TransferKind, debit: AccountKind, credit: AccountKind) -> bool {
        if kind == TransferKind::Adjustment {
            return self.has(debit) && self.has(credit);
        }
        self.0.contains(&(kind, debit, credit))
    }

    /// Returns true if the chart allows the transfer.
    #[must_use]
    pub fn allows_transfer(&self, transfer: &Transfer) -> bool {
        self.allows(transfer.kind, transfer.debit.kind(), transfer.credit.kind())
    }

    fn has(&self, account: AccountKind) -> bool {
        let added = matches!(account, AccountKind::Custom(_) | AccountKind::Owned(_));
        !added || self.0.iter().any(|(_, debit, credit)| *debit == account || *credit == account)
    }
}

impl Default for Chart {
    fn default() -> Self {
        Self(BTreeSet::new())
            .allow(TransferKind::JobPayment, AccountKind::Wallet, AccountKind::Job)
            .allow_customer(AccountKind::Job)
            .allow(TransferKind::Deposit, AccountKind::Wallet, AccountKind::Session)
            .allow(TransferKind::TopUp, AccountKind::Wallet, AccountKind::Session)
            .allow(TransferKind::DepositMoved, AccountKind::Session, AccountKind::Session)
            .allow_customer(AccountKind::Session)
            .allow(TransferKind::BootstrapPayment, AccountKind::Wallet, AccountKind::Bootstrap)
            .allow_customer(AccountKind::Bootstrap)
            .allow(TransferKind::Uncollected, AccountKind::Operator, AccountKind::Revenue)
            .allow(TransferKind::InstallCredit, AccountKind::Operator, AccountKind::Revenue)
            .allow(TransferKind::Grant, AccountKind::Pool, AccountKind::Revenue)
            .allow(TransferKind::PoolSeed, AccountKind::Operator, AccountKind::Pool)
            .allow(TransferKind::RefundPaid, AccountKind::RefundsDue, AccountKind::Wallet)
            .allow(TransferKind::FeeReserve, AccountKind::RefundsDue, AccountKind::RoutingFees)
            .allow(TransferKind::RoutingFee, AccountKind::RoutingFees, AccountKind::Wallet)
            .allow(TransferKind::LiquidityFee, AccountKind::RoutingFees, AccountKind::Wallet)
            .allow(TransferKind::RefundOverpaid, AccountKind::Operator, AccountKind::RefundsDue)
            .allow(TransferKind::RefundCredited, AccountKind::RefundsDue, AccountKind::Session)
            .allow(TransferKind::RefundSettled, AccountKind::RefundsDue, AccountKind::Operator)
            .allow(TransferKind::RefundForfeited, AccountKind::RefundsDue, AccountKind::Revenue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_adjusts_known_accounts_only() {
        let customer = AccountKind::Owned(AccountName::literal("customer"));
        let (chart, adjustment) = (Chart::default(), TransferKind::Adjustment);
        assert!(chart.allows(adjustment, AccountKind::Operator, AccountKind::Session));
        assert!(chart.allows(adjustment, AccountKind::Wallet, AccountKind::Operator));
        assert!(chart.allows(adjustment, AccountKind::Session, AccountKind::Session));
        assert!(!chart.allows(adjustment, AccountKind::Operator, customer));
        assert!(chart.allow_customer(customer).allows(adjustment, AccountKind::Operator, customer));
    }
}
