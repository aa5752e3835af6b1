//! Faults on demand.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A fault of one call or of one node.
///
/// Faults of different calls are independent: after `Unknown { made: true }` and `Pending { lookups: 2 }` have been queued, the
/// next call to create makes a node that is pending for two lookups, and returns that its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimFault {
    /// The next call to create makes no node and returns `CreateError::Unavailable`.
    Unavailable {
        /// The delay before the next attempt that the error suggests.
        retry_after: Option<Duration>,
    },
    /// The next call to create makes no node and returns `CreateError::Refused`.
    Refused,
    /// The next call to create returns `CreateError::Unknown`.
    Unknown {
        /// Whether it makes the node all the same.
        made: bool,
    },
    /// The next node that is made is pending until it has been looked up this often, and then ready.
    Pending {
        /// The number of lookups that report the node as pending. If it is 0, the node is ready at once.
        lookups: u32,
    },
    /// The next node that is made is pending until it has been looked up this often, and then failed.
    Failed {
        /// The number of lookups that report the node as pending. If it is 0, the call to create already reports the failure.
        lookups: u32,
    },
    /// The next call to find returns an error.
    FindFails,
    /// The next call to destroy returns an error and destroys nothing.
    DestroyFails,
}

/// The faults of upcoming calls, in the order in which they were queued. None by default.
#[derive(Debug, Default)]
pub struct SimFaults(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    creates: VecDeque<CreateFault>,
    nodes: VecDeque<NodeFault>,
    finds_failing: u32,
    destroys_failing: u32,
}

/// How a call to create fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum CreateFault {
    Unavailable { retry_after: Option<Duration> },
    Refused,
    Unknown { made: bool },
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeFault {
    pub pending_lookups: u32,
    pub fails: bool,
}

impl SimFaults {
    /// Queues a fault for the next call, or the next node, that has no fault of this kind queued yet.
    pub fn queue(&self, fault: SimFault) {
        let mut queues = self.queues();
        match fault {
            SimFault::Unavailable { retry_after } => {
                queues.creates.push_back(CreateFault::Unavailable { retry_after });
            }
            SimFault::Refused => queues.creates.push_back(CreateFault::Refused),
            SimFault::Unknown { made } => queues.creates.push_back(CreateFault::Unknown { made }),
            SimFault::Pending { lookups } => {
                queues.nodes.push_back(NodeFault { pending_lookups: lookups, fails: false });
            }
            SimFault::Failed { lookups } => {
                queues.nodes.push_back(NodeFault { pending_lookups: lookups, fails: true });
            }
            SimFault::FindFails => queues.finds_failing += 1,
            SimFault::DestroyFails => queues.destroys_failing += 1,
        }
    }

    pub(super) fn next_create(&self) -> Option<CreateFault> {
        self.queues().creates.pop_front()
    }

    pub(super) fn next_node(&self) -> Option<NodeFault> {
        self.queues().nodes.pop_front()
    }

    pub(super) fn next_find_fails(&self) -> bool {
        take(&mut self.queues().finds_failing)
    }

    pub(super) fn next_destroy_fails(&self) -> bool {
        take(&mut self.queues().destroys_failing)
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}
