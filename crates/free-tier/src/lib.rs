//! The generosity pool: which work it pays for, how much it pays, and the enforcement of its limits.
//!
//! A [`FreeTierPolicy`] decides who pays for a piece of work: the pool (`free`), both (`partial`), or the customer
//! (`gate`). The pool's part is reserved before the work, from the pool and from the identity's [`BudgetWindow`] at the
//! same time, as a [`Reservation`] that ends exactly once. What the pool has paid is a [`Grant`], which never changes.
//! Everything is a pure function from values to values. Each operation returns all that it changes, which the caller stores in
//! **one** transaction: the reservation, the identity, the pool's rows, the grant and the transfers of the ledger.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_free_tier::{
//!     GrantId, GrantRequest, Identity, NewReservation, PoolCounters, PoolState, RequestHash, ReservationId, Rules, Serve,
//! };
//! use tithe_ledger::{Account, AccountId, TransferKey, TransferKeys};
//! use tithe_money::{Msats, Sats};
//! use tithe_trust::NostrPubkey;
//! use uuid::Uuid;
//!
//! // An operator who gives new identities 50 sats a day, from a pool of 10 000 sats.
//! let mut rules = Rules::default();
//! rules.free_tier.budgets.new = Sats::new(50)?;
//! let account = Account::open(AccountId::Pool)?.credit(Msats::new(10_000_000)?)?;
//! let pool = PoolState::new(account, PoolCounters::default())?;
//!
//! // An identity asks for work that costs at most 80 sats: the pool pays a part.
//! let now = Timestamp::UNIX_EPOCH;
//! let pubkey: NostrPubkey = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg".parse()?;
//! let identity = Identity::new(pubkey, now);
//! let decision = identity.decide(&rules, pool.view(), Msats::new(80_000)?, now)?;
//! assert_eq!((decision.serve, decision.absorb), (Serve::Partial, Msats::new(50_000)?));
//!
//! // Reserve the amount, do the work, pay the actual cost.
//! let work = Uuid::nil();
//! let new = NewReservation { id: ReservationId(work), amount: decision.absorb, budget: identity.budget(&rules, now) };
//! let reserved = new.hold(&identity, &pool, Some(Duration::from_secs(60)), now)?;
//! let mut keys = TransferKeys::new(TransferKey::new("work:1"));
//! let request = GrantRequest {
//!     id: GrantId(work),
//!     request_hash: RequestHash::of("Why is the sky blue?"),
//!     cost: Msats::new(12_345)?,
//!     keys: &mut keys,
//! };
//! let settled = reserved.reservation.settle(&reserved.identity, &reserved.pool, request, &rules, now)?;
//! assert_eq!(settled.absorbed, Msats::new(12_345)?);
//! assert_eq!(settled.identity.window.used(now)?, Msats::new(12_345)?);
//! assert_eq!((settled.transfers.len(), settled.grant.is_some()), (1, true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The invariant
//!
//! **I5** At every instant, for any concurrency: what the pool has granted and reserved is at most what it received, and what an
//! identity was granted and has reserved in the current window is at most its tier's budget. [`PoolAuditor`] checks it on stored
//! rows.
//!
//! # Features
//!
//! `serde` serializes everything that is stored or configured; `ports` has the repository port (`async-trait`). Neither is on by
//! default.

mod audit;
mod budget_window;
mod error;
mod grant;
mod grant_lease;
mod identity;
mod new_reservation;
mod policy;
mod pool;
#[cfg(feature = "ports")]
mod repository;
mod reservation;
mod reservation_id;
mod rules;
mod settle;
mod settlement;

pub use audit::PoolAuditor;
pub use budget_window::BudgetWindow;
pub use error::FreeTierError;
pub use grant::{Grant, GrantId, InvalidRequestHash, RequestHash};
pub use grant_lease::{GrantLease, ReservationState};
pub use identity::Identity;
pub use new_reservation::NewReservation;
pub use policy::{Budgets, Decision, FreeTierPolicy, PoolView, Serve};
pub use pool::{PoolCounters, PoolState};
#[cfg(feature = "ports")]
pub use repository::FreeTierRepository;
pub use reservation::{Reservation, ReservationEnded, Reserved};
pub use reservation_id::ReservationId;
pub use rules::Rules;
pub use settle::{GrantRequest, Granted, grant};
pub use settlement::{Absorb, FinishedWork, Payer, WorkSettled, settle, work_key};

pub use tithe_clock;
pub use tithe_ledger;
pub use tithe_money;
pub use tithe_trust;
pub use uuid;
