//! The generosity pool: who is served from it, how much, and the proof that no limit was passed.
//!
//! A [`FreeTierPolicy`] decides who pays for a piece of work: the pool (`free`), both (`partial`), or the customer
//! (`gate`). What the pool is to pay is set aside before the work, of the pool and of the identity's [`Day`] at once, as a
//! [`Reservation`] that ends exactly once; what it has paid is a [`Grant`], which is never changed. Everything is a pure
//! function from values to values; keeping them, and the pool's own money, is the caller's.
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_free_tier::{FreeTierPolicy, Reservation, ReservationId, ReservationState, Serve, Standing};
//! use tithe_money::Msats;
//! use tithe_trust::{NostrPubkey, Tier};
//! use uuid::Uuid;
//!
//! let (policy, now) = (FreeTierPolicy::default(), Timestamp::UNIX_EPOCH);
//! let pubkey: NostrPubkey = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg".parse()?;
//! let standing = Standing::new(pubkey, now);
//!
//! // An established identity asks for work that costs 80 sats at most; its day has 50.
//! let (budget, pool) = (policy.budget(Tier::Established), Msats::new(10_000_000)?);
//! let decision = policy.decide(Tier::Established, standing.day.used(now)?, pool, Msats::new(80_000)?);
//! assert_eq!((decision.serve, decision.absorb), (Serve::Partial, Msats::new(50_000)?));
//!
//! // Set it aside, do the work, pay what it really cost.
//! let held = ReservationState::Held { until: None };
//! let (reservation, standing) =
//!     Reservation::make(ReservationId(Uuid::nil()), &standing, decision.absorb, budget, held, now)?;
//! let settled = reservation.settle(&standing, Msats::new(12_345)?, now)?;
//! assert_eq!(settled.absorbed, Msats::new(12_345)?);
//! assert_eq!(settled.standing.day.used(now)?, Msats::new(12_345)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod day;
mod grant;
mod policy;
mod repository;
mod reservation;
mod standing;

pub use day::Day;
pub use grant::{Grant, GrantId, InvalidRequestHash, PoolTally, RequestHash};
pub use policy::{Budgets, Decision, FreeTierPolicy, PoolView, Serve};
pub use repository::FreeTierRepository;
pub use reservation::{Reservation, ReservationId, ReservationSettled, ReservationState};
pub use standing::Standing;

use tithe_money::{MoneyError, Msats};

/// Why the free tier refused. A refusal changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FreeTierError {
    /// More than is left of the day's budget (invariant I5).
    #[error("{amount} are more than is left today: {used} of {budget} are used")]
    OverBudget {
        /// What counts against the budget already.
        used: Msats,
        /// What was asked for.
        amount: Msats,
        /// The budget.
        budget: Msats,
    },
    /// Nothing is no reservation.
    #[error("nothing cannot be reserved")]
    Pointless,
    /// The identity has an offer that it has not paid its part of.
    #[error("the offer {0} waits to be paid; there is one at a time")]
    OfferOpen(ReservationId),
    /// It has ended before.
    #[error("reservation {reservation} cannot do that: it is {state}")]
    Ended {
        /// Which.
        reservation: ReservationId,
        /// How it stands.
        state: &'static str,
    },
    /// It has not lapsed.
    #[error("reservation {0} has not run out")]
    Live(ReservationId),
    /// It is somebody else's.
    #[error("reservation {0} is another identity's")]
    OtherIdentity(ReservationId),
    /// An amount left its range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
