//! A double-entry ledger with guarded accounts, two-phase holds and install credits.
//!
//! A [`Transfer`] moves an amount from one [`AccountId`] to another; it is never changed or deleted. Accounts that must
//! not go below zero (jobs, sessions, the pool, a service's own customers) are *guarded*: each has a row, [`Account`], with its
//! balance and the amount held on it. The others (the wallet, revenue, …) are the sums of their transfers and have no row, which
//! would be contended. A [`Hold`] reserves an amount before work starts and ends exactly once: settled, released or expired.
//!
//! Everything here is a pure function from values to values. This crate decides what to store; the caller stores it. Each
//! operation returns all that it changes: the account rows, the hold and the transfers, which the caller writes in **one**
//! database transaction. [`Auditor`] reads what is stored and names every violated [`Invariant`].
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_ledger::{post, Account, AccountId, AccountName, Charge, Hold, HoldId, KindName, Transfer, TransferKey, TransferKind};
//! use tithe_money::Msats;
//! use uuid::Uuid;
//!
//! // A service names its own accounts and kinds of transfers.
//! const CUSTOMER: AccountName = AccountName::literal("customer");
//! const DEPOSIT: TransferKind = TransferKind::Custom(KindName::literal("card_deposit"));
//!
//! let now = Timestamp::UNIX_EPOCH;
//! let customer = AccountId::Owned(CUSTOMER, Uuid::nil());
//!
//! // Post a deposit, once: write the transfer and the accounts in one transaction.
//! let deposit = Transfer {
//!     key: TransferKey::new("deposit:1"),
//!     debit: AccountId::Wallet,
//!     credit: customer,
//!     amount: Msats::new(10_000)?,
//!     kind: DEPOSIT,
//!     reference: Uuid::nil(),
//!     created_at: now,
//! };
//! let posted = post(deposit.clone(), None, &[Account::open(customer)?])?.ok_or("posted before")?;
//! assert!(post(deposit, Some(&posted.transfer), &posted.accounts)?.is_none());
//! let account = posted.account(customer).ok_or("no such account")?;
//!
//! // Reserve the maximum cost, do the work, charge the actual cost.
//! let (hold, account) = Hold::place(account, HoldId(Uuid::nil()), Msats::new(6_000)?, now, Duration::from_secs(60))?;
//! assert_eq!(account.available(), Msats::new(4_000)?);
//! let mut keys = hold.keys();
//! let settled = hold.settle(&account, Charge::of(Msats::new(2_500)?, Uuid::nil(), &mut keys), now)?;
//! assert_eq!(settled.account.balance(), Msats::new(7_500)?);
//! assert_eq!(settled.account.available(), Msats::new(7_500)?);
//! assert_eq!(settled.transfers.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//!
//! - **I1** Every transfer debits and credits the same amount, so all accounts sum to zero; account rows match their transfers.
//! - **I2** No guarded account has a balance below zero or below the amount held on it.
//! - **I3** A payment hash is credited at most once.
//! - **I4** A hold ends exactly once, and what was charged for it is what its transfers say.
//! - **I5** The generosity pool has granted and reserved at most what it received (`tithe-free-tier`).
//! - **I7** The ledger's wallet account matches the payments in and out.
//! - **I8** For each piece of work: paid + absorbed = charged + refunded.
//! - **I9** No install has used and reserved more than its plan included, and its counters are those of its credits ([`credits`]).
//!
//! [`Auditor`] checks I1, I2 and I4 by itself and [`credits::CreditAuditor`] I9; whoever knows payments, the pool or pieces of work
//! adds findings of the others.
//!
//! # Install credits
//!
//! Not everything is paid for with money: [`credits`] has the requests that a plan gives to an installation of an app. Like holds, they
//! are reserved before work starts and end exactly once: both are a [`Lifecycle`].
//!
//! # Features
//!
//! `serde` serializes everything that is stored; `ports` has the repository port (`async-trait`). Neither is on by default.

mod account;
mod audit;
mod charge;
mod chart;
pub mod credits;
mod hold;
mod lifecycle;
mod names;
mod post;
mod refund;
#[cfg(feature = "ports")]
mod repository;
mod transfer;

pub use account::{Account, AccountId, UnknownAccount};
pub use audit::{Auditor, Finding, Invariant};
pub use charge::{
    Charge, Charged, Share, TransferKeys, charge, charge_in_full, included_in_plan, uncollected,
};
pub use chart::{AccountKind, Chart};
pub use hold::{Hold, HoldEnded, HoldId, HoldState};
pub use lifecycle::{Lease, Lifecycle, LifecycleError};
pub use names::{AccountName, AccountNames, KindName, KindNames};
pub use post::{Posted, post};
pub use refund::{Refunded, refund};
#[cfg(feature = "ports")]
pub use repository::LedgerRepository;
pub use transfer::{Transfer, TransferKey, TransferKind};

pub use tithe_clock;
pub use tithe_label::InvalidLabel;
pub use tithe_money;
pub use uuid;

use tithe_money::{MoneyError, Msats};

/// The reason why the ledger rejected an operation. A rejected operation changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The account's available balance is too low (invariant I2).
    #[error("insufficient funds on {account}: expected {needed}, got {available} available")]
    Insufficient {
        /// The account.
        account: AccountId,
        /// The available balance.
        available: Msats,
        /// The amount required.
        needed: Msats,
    },
    /// The hold has already ended (invariant I4).
    #[error("hold already ended: {hold} is {state}")]
    HoldEnded {
        /// The hold.
        hold: HoldId,
        /// The hold's final state.
        state: &'static str,
    },
    /// The hold's lease has not ended yet.
    #[error("hold not expired yet: {0}")]
    HoldLive(HoldId),
    /// The hold belongs to a different account.
    #[error("wrong account: hold {hold} is not on {account}")]
    OtherAccount {
        /// The hold.
        hold: HoldId,
        /// The account that was passed.
        account: AccountId,
    },
    /// The account has no row: its balance is the sum of its transfers.
    #[error("wrong account: {0} is not guarded, so it has no balance of its own")]
    NotGuarded(AccountId),
    /// The row of a guarded account that a transfer touches was not passed.
    #[error("missing account: the row of {0} is needed")]
    MissingAccount(AccountId),
    /// A different transfer has this key.
    #[error("transfer key already used: {0} belongs to a different transfer")]
    KeyReused(TransferKey),
    /// A transfer must move a positive amount between two different accounts.
    #[error("invalid transfer: expected a positive amount between two different accounts")]
    ZeroAmount,
    /// An amount is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
