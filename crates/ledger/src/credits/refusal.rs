//! Why a credit is refused, and what can go wrong with one.

use super::{CreditId, InstallId};
use crate::lifecycle::LifecycleError;

/// Why an install has no credit for a request. There are no other reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CreditRefusal {
    /// The plan includes no more requests.
    #[error("out of credits: the plan includes no more requests")]
    OutOfCredits,
    /// The plan includes more requests, but not in the cloud, and there is no hardware.
    #[error(
        "cloud cap exceeded: the plan includes no more requests in the cloud, and this server has no hardware of its own"
    )]
    CloudCapExceededNoHardware,
}

impl CreditRefusal {
    /// The stable code of the reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfCredits => "out_of_credits",
            Self::CloudCapExceededNoHardware => "cloud_cap_exceeded_no_hardware",
        }
    }
}

/// Why an operation on a credit was rejected. A rejected operation changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreditError {
    /// The install has no credit for the request.
    #[error(transparent)]
    Refused(#[from] CreditRefusal),
    /// The credit has already ended (invariant I4).
    #[error("credit already ended: {credit} is {state}")]
    Ended {
        /// The credit.
        credit: CreditId,
        /// Its final state.
        state: &'static str,
    },
    /// The lease of the credit has not ended yet.
    #[error("credit not expired yet: {0}")]
    Live(CreditId),
    /// The credit belongs to a different install.
    #[error("wrong install: credit {credit} is not of {install}")]
    OtherInstall {
        /// The credit.
        credit: CreditId,
        /// The install that was passed.
        install: InstallId,
    },
}

impl CreditError {
    pub(super) const fn of(credit: CreditId, failure: LifecycleError) -> Self {
        match failure {
            LifecycleError::Ended(state) => Self::Ended { credit, state },
            LifecycleError::Live => Self::Live(credit),
        }
    }
}
