//! Obligations to customers and the payouts that meet them, as pure functions.
//!
//! An [`Obligation`] is what is owed to one customer's account: to the customer of a job, of a session, of a bootstrap. It is met by
//! [`Payout`]s, Lightning payments to where the customer said ([`Destination`]), at most one at a time (invariant I6 of Tithe).
//! Every function takes the rows as they are and returns them as they will be, with the transfers of the ledger; the caller writes
//! all of it in one transaction.
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_ledger::AccountId;
//! use tithe_money::{BasisPoints, Sats};
//! use tithe_payouts::{FeePolicy, Obligation, ObligationState};
//! use uuid::Uuid;
//!
//! let now = Timestamp::UNIX_EPOCH;
//! let owed = Obligation::open(AccountId::Job(Uuid::nil()), now).accrue(Sats::new(100)?, now)?;
//! assert_eq!(owed.state(), ObligationState::Pending);
//! // The customer leaves 2 sats + 1 % for routing fees.
//! let fees = FeePolicy { base: Sats::new(2)?, share: BasisPoints::from_percent(1)? };
//! assert_eq!(fees.quote(owed.due)?.payable, Sats::new(97)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `ports` has the traits `AddressResolver` and `ObligationRepository` (`async-trait`); `serde` serializes everything that is stored.
//! Neither is on by default.

mod address;
mod destination;
mod error;
mod fee;
mod obligation;
mod payout;
#[cfg(feature = "ports")]
mod repository;
mod settle;

#[cfg(feature = "ports")]
pub use address::{AddressError, AddressResolver};
pub use address::{InvalidLightningAddress, LightningAddress};
pub use destination::{Destination, InvalidDestination};
pub use error::PayoutError;
pub use fee::{FeePolicy, PayoutQuote};
pub use obligation::{Deferral, NewPayout, Obligation, ObligationState};
pub use payout::{Payout, PayoutState};
#[cfg(feature = "ports")]
pub use repository::ObligationRepository;
pub use settle::{Attempt, Failure, Settled};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use tithe_clock;
pub use tithe_ledger;
pub use tithe_lightning;
pub use tithe_money;
pub use uuid;
