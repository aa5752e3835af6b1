//! The paid job: a state machine as a pure function.
//!
//! `awaiting_eval_payment → evaluating → rejected | awaiting_work_payment | executing → complete | failed`, plus
//! `expired` when an invoice expires unpaid. [`Job::apply`] takes an event and the current time and returns the job's
//! next state; every other combination is an [`InvalidTransition`] that names both. Nothing else changes a job.
//!
//! Work can be paid with a hold invoice ([`WorkPayment::Held`]): its payment is held while the work runs, and then either settled
//! (`held → settling → complete`) or given back (`held → cancelling → failed`). The API reports all three as `executing`.
//!
//! A job that needs no evaluation starts with its work ([`JobStart::Work`]). A job is priced in tokens, or in whatever its quote
//! measures: `Job<UnitQuote>` is priced by the second, or by any other unit ([`Priced`](tithe_pricing::Priced)).
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_jobs::{Job, JobEvent, JobId, JobStart, NewJob};
//! # use std::num::NonZeroU64;
//! # use tithe_money::{BasisPoints, BtcPrice, Sats, UsdMicros};
//! # use tithe_pricing::{BtcQuote, Terms, UnitName, UnitRate};
//! # use uuid::Uuid;
//! # let btc = BtcQuote { price: BtcPrice::parse("100000")?, as_of: Timestamp::UNIX_EPOCH };
//! # let terms = Terms { margin: BasisPoints::ZERO, fixed_cost: UsdMicros::ZERO, btc };
//! # let (unit, price) = (UnitName::literal("request"), UsdMicros::parse("0.002")?);
//! # let quote = UnitRate { unit, price, per: NonZeroU64::MIN }.quote(1, &terms)?;
//! # let now = Timestamp::UNIX_EPOCH;
//! # let payment_hash = "00".repeat(32).parse()?;
//! let job = Job::new(NewJob {
//!     id: JobId(Uuid::nil()),
//!     request: "Why is the sky blue?".into(),
//!     model: "sim-small".to_owned(),
//!     max_output_tokens: None,
//!     identity: None,
//!     start: JobStart::Evaluation { quote, fee: Sats::new(2)? },
//!     created_at: now,
//! });
//! let job = job.apply(JobEvent::EvalInvoiced { invoice: payment_hash }, now)?;
//! let job = job.apply(JobEvent::EvalPaid, now)?;
//! assert_eq!(job.state.name().as_str(), "evaluating");
//!
//! // A job is paid once and never skips a state.
//! let refused = job.apply(JobEvent::WorkPaid, now).unwrap_err();
//! let message = "invalid transition: event \"work paid\" is not allowed while the job is evaluating";
//! assert_eq!(refused.to_string(), message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `serde` serializes everything that is stored; `ports` has the repository port (`async-trait`). Neither is on by default.

mod held;
mod hold_transition;
mod job;
mod lease;
#[cfg(feature = "ports")]
mod repository;
mod transition;

pub use held::{HeldAnswer, UnknownWorkPayment, WorkPayment};
pub use job::{
    Completion, Evaluation, Job, JobId, JobStart, JobState, NewJob, Refund, StateName, UnknownState,
    WorkTerms,
};
pub use lease::{Lease, LeaseOwner};
#[cfg(feature = "ports")]
pub use repository::{JobChange, JobClaim, JobRepository, JobSummary};
pub use transition::{InvalidTransition, JobEvent};

pub use tithe_pricing::{FinishReason, UnknownFinishReason};

pub use tithe_clock;
pub use tithe_lightning;
pub use tithe_money;
pub use tithe_pricing;
pub use tithe_trust;
pub use uuid;
