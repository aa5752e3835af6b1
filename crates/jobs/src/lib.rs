//! The paid job: a state machine as a pure function.
//!
//! `awaiting_eval_payment → evaluating → rejected | awaiting_work_payment | executing → complete | failed`, plus
//! `expired` when an invoice expires unpaid. [`Job::apply`] takes an event and the current time and returns the job's
//! next state; every other combination is an [`InvalidTransition`] that names both. Nothing else changes a job.
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_jobs::{Job, JobEvent, JobId, NewJob};
//! # use tithe_money::{BasisPoints, BtcPrice, Sats, UsdMicros};
//! # use tithe_pricing::{BtcQuote, Catalogue, Terms};
//! # use uuid::Uuid;
//! # let price = BtcPrice::parse("100000")?;
//! # let btc = BtcQuote { price, as_of: Timestamp::UNIX_EPOCH };
//! # let terms = Terms { margin: BasisPoints::ZERO, fixed_cost: UsdMicros::ZERO, btc };
//! # let quote = Catalogue::built_in().model("sim-small").ok_or("no model")?.quote(&["hi"], None, &terms)?;
//! # let now = Timestamp::UNIX_EPOCH;
//! # let payment_hash = "00".repeat(32).parse()?;
//! let job = Job::new(NewJob {
//!     id: JobId(Uuid::nil()),
//!     request: "Why is the sky blue?".into(),
//!     model: "sim-small".to_owned(),
//!     max_output_tokens: None,
//!     identity: None,
//!     evaluation: quote,
//!     evaluation_fee: Sats::new(2)?,
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

mod job;
mod lease;
mod repository;
mod transition;

pub use job::{Completion, Evaluation, Job, JobId, JobState, NewJob, Refund, StateName, WorkTerms};
pub use lease::{Lease, LeaseOwner};
pub use repository::{JobChange, JobClaim, JobRepository};
pub use transition::{InvalidTransition, JobEvent};
