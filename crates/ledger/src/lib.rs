//! A double-entry ledger with guarded accounts and two-phase holds.
//!
//! A [`Transfer`] moves an amount from one [`AccountId`] to another; it is never changed or deleted. Accounts that must
//! not go below zero (jobs, sessions, the pool) are *guarded*: each has a row, [`Account`], with its balance and the
//! amount held on it. The others (the wallet, revenue, …) are the sums of their transfers and have no row, which would
//! be contended. A [`Hold`] reserves an amount before work starts and ends exactly once: settled, released or expired.
//!
//! Everything here is a pure function from values to values. This crate decides what to store; a store persists it.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_ledger::{Account, AccountId, Hold, HoldId};
//! use tithe_money::Msats;
//! use uuid::Uuid;
//!
//! let now = Timestamp::UNIX_EPOCH;
//! let session = Account::open(AccountId::Session(Uuid::nil())).credit(Msats::new(10_000)?)?;
//!
//! // Reserve the maximum cost, do the work, charge the actual cost.
//! let (session, hold) = Hold::place(&session, HoldId(Uuid::nil()), Msats::new(6_000)?, now, Duration::from_secs(60))?;
//! assert_eq!(session.available(), Msats::new(4_000)?);
//! let settled = hold.settle(&session, Msats::new(2_500)?, now)?;
//! assert_eq!(settled.account.balance(), Msats::new(7_500)?);
//! assert_eq!(settled.account.available(), Msats::new(7_500)?);
//! assert!(settled.hold.settle(&settled.account, Msats::new(2_500)?, now).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod audit;
mod hold;
mod repository;
mod transfer;

pub use account::{Account, AccountId, UnknownAccount};
pub use audit::{Auditor, Finding, Invariant};
pub use hold::{Hold, HoldId, HoldSettled, HoldState};
pub use repository::LedgerRepository;
pub use transfer::{Transfer, TransferKey, TransferKind};

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
    /// A transfer must move a positive amount between two different accounts.
    #[error("invalid transfer: expected a positive amount between two different accounts")]
    ZeroAmount,
    /// An amount is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
