//! The names that a service adds to the ledger's own.

use tithe_label::{Label, Vocabulary};

/// The vocabulary of accounts. Tithe's own names are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNames;

impl Vocabulary for AccountNames {
    const RESERVED: &'static [&'static str] = &[
        "wallet",
        "revenue",
        "refunds_due",
        "routing_fees",
        "rounding",
        "operator",
        "pool",
        "job",
        "session",
        "bootstrap",
    ];
}

/// The vocabulary of kinds of transfers. Tithe's own names are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindNames;

impl Vocabulary for KindNames {
    const RESERVED: &'static [&'static str] = &[
        "job_payment",
        "deposit",
        "top_up",
        "deposit_moved",
        "bootstrap_payment",
        "charge",
        "refund_accrued",
        "rounding",
        "uncollected",
        "install_credit",
        "grant",
        "tithe",
        "pool_seed",
        "refund_paid",
        "fee_reserve",
        "routing_fee",
        "liquidity_fee",
        "refund_overpaid",
        "refund_credited",
        "refund_settled",
        "refund_forfeited",
        "adjustment",
    ];
}

/// The name of an account that a service adds, such as `customer`.
pub type AccountName = Label<AccountNames>;

/// The name of a kind of transfer that a service adds, such as `card_deposit`.
pub type KindName = Label<KindNames>;
