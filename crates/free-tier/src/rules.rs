//! The rules by which the pool gives.

use crate::FreeTierPolicy;
use tithe_trust::TrustPolicy;

/// The operator's rules: how trust is earned, and what the pool pays for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How trust is earned and lost.
    pub trust: TrustPolicy,
    /// What the pool pays for, and what it receives.
    pub free_tier: FreeTierPolicy,
}
