//! The operator's rules that commands are decided by.

use tithe_free_tier::FreeTierPolicy;
use tithe_trust::TrustPolicy;

/// The operator's rules that commands are decided by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How trust is earned and lost.
    pub trust: TrustPolicy,
    /// What the pool pays for, and what it receives.
    pub free_tier: FreeTierPolicy,
}
