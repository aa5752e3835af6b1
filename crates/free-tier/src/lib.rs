//! The generosity pool: which work it pays for, how much it pays, and the enforcement of its limits.
//!
//! A [`FreeTierPolicy`] decides who pays for a piece of work: the pool (`free`), both (`partial`), or the customer
//! (`gate`). The pool's part is reserved before the work, from the pool and from the identity's [`BudgetWindow`] at the
//! same time, as a [`Reservation`] that ends exactly once. What the pool has paid is a [`Grant`], which never changes.
//! Everything is a pure function from values to values; the caller stores them and moves the pool's money.
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_free_tier::{FreeTierPolicy, Reservation, ReservationId, ReservationState, Serve, Identity};
//! use tithe_money::Msats;
//! use tithe_trust::{NostrPubkey, Tier};
//! use uuid::Uuid;
//!
//! let (policy, now) = (FreeTierPolicy::default(), Timestamp::UNIX_EPOCH);
//! let pubkey: NostrPubkey = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg".parse()?;
//! let identity = Identity::new(pubkey, now);
//!
//! // An established identity asks for work that costs at most 80 sats; its budget is 50 sats.
//! let (budget, pool) = (policy.budget(Tier::Established), Msats::new(10_000_000)?);
//! let decision = policy.decide(Tier::Established, identity.window.used(now)?, pool, Msats::new(80_000)?);
//! assert_eq!((decision.serve, decision.absorb), (Serve::Partial, Msats::new(50_000)?));
//!
//! // Reserve the amount, do the work, pay the actual cost.
//! let held = ReservationState::Held { until: None };
//! let (reservation, identity) =
//!     Reservation::make(ReservationId(Uuid::nil()), &identity, decision.absorb, budget, held, now)?;
//! let settled = reservation.settle(&identity, Msats::new(12_345)?, now)?;
//! assert_eq!(settled.absorbed, Msats::new(12_345)?);
//! assert_eq!(settled.identity.window.used(now)?, Msats::new(12_345)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget_window;
mod grant;
mod identity;
mod policy;
mod repository;
mod reservation;
mod reservation_id;

pub use budget_window::BudgetWindow;
pub use grant::{Grant, GrantId, InvalidRequestHash, PoolCounters, RequestHash};
pub use identity::Identity;
pub use policy::{Budgets, Decision, FreeTierPolicy, PoolView, Serve};
pub use repository::FreeTierRepository;
pub use reservation::{Reservation, ReservationSettled, ReservationState};
pub use reservation_id::ReservationId;

use tithe_money::{MoneyError, Msats};

/// The reason why the free tier rejected an operation. A rejected operation changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FreeTierError {
    /// The amount exceeds the rest of the budget (invariant I5).
    #[error("budget exceeded: {amount} requested, {used} of {budget} already used")]
    OverBudget {
        /// The part of the budget already in use.
        used: Msats,
        /// The amount requested.
        amount: Msats,
        /// The budget.
        budget: Msats,
    },
    /// A reservation must be for a positive amount.
    #[error("invalid reservation: expected a positive amount")]
    ZeroAmount,
    /// The identity already has an unpaid offer.
    #[error("unpaid offer exists: {0}; only one is allowed at a time")]
    OfferOpen(ReservationId),
    /// The reservation's state does not allow the operation.
    #[error("invalid reservation state: {reservation} is {state}")]
    Ended {
        /// The reservation.
        reservation: ReservationId,
        /// The reservation's state.
        state: &'static str,
    },
    /// The reservation has not expired.
    #[error("reservation not expired yet: {0}")]
    Live(ReservationId),
    /// The reservation belongs to a different identity.
    #[error("wrong identity: reservation {0} belongs to another identity")]
    OtherIdentity(ReservationId),
    /// An amount is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
