//! Jobs: one request each, paid in two steps, evaluated and worked on by leased workers.

mod create;
mod evaluate;
mod evaluation_finish;
mod execute;
mod feed;
mod follow;
mod held;
mod hold_end;
mod job_abandon;
mod job_create;
mod owner;
mod refund;
mod relay;
mod service;
mod step;
mod steps;
mod sweep;
mod view;
mod work_finish;
mod worker;

pub use crate::admission::Origin;
pub use create::{CreatedJob, NewJobRequest, RenderJob};
pub(crate) use evaluation_finish::evaluation_key;
pub use evaluation_finish::{EvaluationFinish, Verdict};
pub use feed::JobFeed;
pub use follow::{JobCursor, JobFollower, JobUpdate};
pub use hold_end::HoldEnd;
pub use job_abandon::{Abandoned, JobAbandon};
pub use job_create::JobCreate;
pub use owner::{JobOwner, JobOwners};
pub(crate) use service::JobSteps;
pub use service::Jobs;
pub use view::{JobListing, JobView};
pub use work_finish::{Fault, WorkFinish, WorkOutcome};
