//! Transfers: the permanent record of money movements.

use crate::{AccountId, KindName, LedgerError};
use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;
use tithe_label::InvalidLabel;
use tithe_money::Msats;
use uuid::Uuid;

/// The kind of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub enum TransferKind {
    /// A customer paid an invoice of a job: `wallet → job`.
    JobPayment,
    /// A customer paid the deposit of a session: `wallet → session`.
    Deposit,
    /// A customer paid a top-up of a session: `wallet → session`.
    TopUp,
    /// A deposit that was paid for a session of its own tops another one up: `session → session`.
    DepositMoved,
    /// A customer paid for a node: `wallet → bootstrap`.
    BootstrapPayment,
    /// Work was charged: from the customer's account to `revenue`, minus the pool's share.
    Charge,
    /// A payment in excess of the charge is refunded: from the customer's account to `refunds_due`.
    RefundAccrued,
    /// A fraction of a sat that cannot be refunded: from the customer's account to `rounding`.
    Rounding,
    /// A charge that the account could not cover: `operator → revenue`.
    Uncollected,
    /// Work that an install's plan includes, which the operator gives: `operator → revenue`.
    InstallCredit,
    /// The pool paid for work: `pool → revenue`.
    Grant,
    /// The pool's share of a payment for work: from the customer's account to `pool`.
    Tithe,
    /// The pool's initial funding: `operator → pool`.
    PoolSeed,
    /// A refund was paid to the customer: `refunds_due → wallet`.
    RefundPaid,
    /// What a customer leaves of a refund for the routing fee: `refunds_due → routing_fees`.
    FeeReserve,
    /// The routing fee of a payment that was sent: `routing_fees → wallet`.
    RoutingFee,
    /// What the wallet kept of a payment that it received: `routing_fees → wallet`.
    LiquidityFee,
    /// A customer was paid more than was due, because the wallet had called a payment failed that it made: `operator → refunds_due`.
    RefundOverpaid,
    /// A refund that the customer wants in a session: `refunds_due → session`.
    RefundCredited,
    /// A refund that the operator paid by other means: `refunds_due → operator`.
    RefundSettled,
    /// A refund that nobody claims, by the operator's explicit act: `refunds_due → revenue`.
    RefundForfeited,
    /// The operator moved money manually, between any two accounts.
    Adjustment,
    /// A kind of the service's own, such as a deposit.
    Custom(KindName),
}

impl TransferKind {
    /// The kinds that Tithe uses itself.
    pub const BUILT_IN: [Self; 22] = [
        Self::JobPayment,
        Self::Deposit,
        Self::TopUp,
        Self::DepositMoved,
        Self::BootstrapPayment,
        Self::Charge,
        Self::RefundAccrued,
        Self::Rounding,
        Self::Uncollected,
        Self::InstallCredit,
        Self::Grant,
        Self::Tithe,
        Self::PoolSeed,
        Self::RefundPaid,
        Self::FeeReserve,
        Self::RoutingFee,
        Self::LiquidityFee,
        Self::RefundOverpaid,
        Self::RefundCredited,
        Self::RefundSettled,
        Self::RefundForfeited,
        Self::Adjustment,
    ];

    /// The name used by the stores.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::JobPayment => "job_payment",
            Self::Deposit => "deposit",
            Self::TopUp => "top_up",
            Self::DepositMoved => "deposit_moved",
            Self::BootstrapPayment => "bootstrap_payment",
            Self::Charge => "charge",
            Self::RefundAccrued => "refund_accrued",
            Self::Rounding => "rounding",
            Self::Uncollected => "uncollected",
            Self::InstallCredit => "install_credit",
            Self::Grant => "grant",
            Self::Tithe => "tithe",
            Self::PoolSeed => "pool_seed",
            Self::RefundPaid => "refund_paid",
            Self::FeeReserve => "fee_reserve",
            Self::RoutingFee => "routing_fee",
            Self::LiquidityFee => "liquidity_fee",
            Self::RefundOverpaid => "refund_overpaid",
            Self::RefundCredited => "refund_credited",
            Self::RefundSettled => "refund_settled",
            Self::RefundForfeited => "refund_forfeited",
            Self::Adjustment => "adjustment",
            Self::Custom(name) => name.as_str(),
        }
    }
}

impl fmt::Display for TransferKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TransferKind {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let built_in = Self::BUILT_IN.into_iter().find(|kind| kind.as_str() == text);
        built_in.map_or_else(|| text.parse().map(Self::Custom), Ok)
    }
}

impl From<TransferKind> for String {
    fn from(kind: TransferKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl TryFrom<String> for TransferKind {
    type Error = InvalidLabel;
    fn try_from(text: String) -> Result<Self, InvalidLabel> {
        text.parse()
    }
}

/// The idempotency key of a transfer: no two transfers have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct TransferKey(String);

impl TransferKey {
    /// Creates a key from text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A movement of money: `amount` leaves `debit` and arrives at `credit`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transfer {
    /// The idempotency key.
    pub key: TransferKey,
    /// The account debited.
    pub debit: AccountId,
    /// The account credited.
    pub credit: AccountId,
    /// The amount; never zero.
    pub amount: Msats,
    /// The kind of transfer.
    pub kind: TransferKind,
    /// The id of the job, session, … that the transfer is for.
    pub reference: Uuid,
    /// When the transfer was made.
    pub created_at: Timestamp,
}

impl Transfer {
    /// Checks that the transfer moves a positive amount between two different accounts.
    ///
    /// # Errors
    /// [`LedgerError::ZeroAmount`] otherwise.
    pub fn checked(self) -> Result<Self, LedgerError> {
        if self.amount.is_zero() || self.debit == self.credit {
            return Err(LedgerError::ZeroAmount);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_and_the_built_in_names_are_reserved() {
        for kind in TransferKind::BUILT_IN {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.as_str().parse::<KindName>(), Err(InvalidLabel::Reserved));
        }
        let deposit = TransferKind::Custom(KindName::literal("card_deposit"));
        assert_eq!("card_deposit".parse(), Ok(deposit));
        assert!("De posit".parse::<TransferKind>().is_err());
    }
}
