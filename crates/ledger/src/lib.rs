//! A double-entry ledger with guarded accounts and two-phase holds.
//!
//! A [`Transfer`] moves an amount from one [`AccountId`] to another; it is never changed or deleted. Accounts that must
//! not go below zero (jobs, sessions, the pool) are *guarded*: they keep a row, [`Account`], with their balance and what
//! is held on it. The others (the wallet, revenue, …) are sums of their transfers and have no row that everyone would
//! write to. A [`Hold`] sets an amount aside before work starts and ends exactly once: settled, released or expired.
//!
//! Everything here is a pure function from values to values. What is kept is decided here; keeping it is a store's work.
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
//! // Set the worst case aside, do the work, charge what it really cost.
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

/// Why the ledger refused. A refusal changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The account has less than is needed, besides what is held on it (invariant I2).
    #[error("{account} has {available} available; {needed} are needed")]
    Insufficient {
        /// Which account.
        account: AccountId,
        /// What it could give.
        available: Msats,
        /// What was asked of it.
        needed: Msats,
    },
    /// The hold has ended before (invariant I4).
    #[error("hold {hold} has ended already: it is {state}")]
    HoldEnded {
        /// Which hold.
        hold: HoldId,
        /// How it ended.
        state: &'static str,
    },
    /// The hold's lease still runs.
    #[error("hold {0} has not run out yet")]
    HoldLive(HoldId),
    /// The hold is on another account.
    #[error("hold {hold} is not on {account}")]
    OtherAccount {
        /// Which hold.
        hold: HoldId,
        /// The account that was given.
        account: AccountId,
    },
    /// A transfer must move something, from one account to another.
    #[error("a transfer must move more than nothing, between two accounts")]
    Pointless,
    /// An amount left its range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
