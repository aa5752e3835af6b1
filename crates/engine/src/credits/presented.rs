//! What a request presents of an install, and what that proves.

use tithe_ledger::credits::{InstallId, Plan};
use tithe_licences::LicenceId;

/// What a request presents of an install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedInstall {
    /// The install.
    pub id: InstallId,
    /// The licence, if it has one.
    pub licence: Option<String>,
}

/// The plan that an install has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenPlan {
    /// The install.
    pub install: InstallId,
    /// The plan.
    pub plan: Plan,
    /// The licence that proves it; `None` for `core`. Whether it was revoked is decided with each request.
    pub licence: Option<LicenceId>,
}
