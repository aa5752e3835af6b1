//! The state transitions of a job whose payment is held.

use crate::{Job, JobEvent, JobState, Lease, WorkPayment};
use tithe_pricing::Priced;

impl<Q: Priced> Job<Q> {
    /// The state and the lease after an event of a payment that is held; `None` if the event is not one, or is not allowed now.
    ///
    /// A payment that is settled without a decision of this job's, as after the restore of a backup, is a payment like any other.
    pub(crate) fn next_of_hold(&self, event: &JobEvent<Q>) -> Option<(JobState<Q>, Lease)> {
        let ended = self.lease.ended();
        Some(match (&self.state, event) {
            (
                JobState::AwaitingWorkPayment { work, invoice: Some(invoice) },
                JobEvent::WorkHeld { until },
            ) if self.work_payment == WorkPayment::Held => {
                (JobState::Held { work: work.clone(), invoice: *invoice, until: *until }, ended)
            }
            (
                JobState::AwaitingWorkPayment { work, invoice: Some(invoice) },
                JobEvent::WorkCancelled { message },
            ) if self.work_payment == WorkPayment::Held => {
                let (work, message) = (work.clone(), message.clone());
                (JobState::Cancelling { work, invoice: *invoice, message }, ended)
            }
            (JobState::Held { work, invoice, .. }, JobEvent::WorkCancelled { message }) => {
                let (work, message) = (work.clone(), message.clone());
                (JobState::Cancelling { work, invoice: *invoice, message }, self.lease.carried_on())
            }
            (JobState::Held { work, invoice, .. }, JobEvent::WorkDone { answer }) => {
                let (work, answer) = (work.clone(), answer.clone());
                (JobState::Settling { work, invoice: *invoice, answer }, self.lease.carried_on())
            }
            (JobState::Held { work, invoice, .. }, JobEvent::WorkPaid) => {
                (JobState::Executing { work: work.clone(), invoice: Some(*invoice) }, ended)
            }
            (JobState::Settling { work, invoice, .. }, JobEvent::Completed { completion }) => {
                let (work, completion) = (work.clone(), completion.clone());
                (JobState::Complete { work, invoice: Some(*invoice), completion }, ended)
            }
            (
                JobState::Settling { work, invoice, .. } | JobState::Cancelling { work, invoice, .. },
                JobEvent::Failed { message },
            ) => {
                let (work, message) = (Some(work.clone()), message.clone());
                (JobState::Failed { message, work, invoice: Some(*invoice) }, ended)
            }
            _ => return None,
        })
    }
}
