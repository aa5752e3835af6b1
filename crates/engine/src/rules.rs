//! The operator's rules that the books decide by.

use tithe_free_tier::FreeTierPolicy;
use tithe_trust::TrustPolicy;

/// The operator's rules that the books decide by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How trust is earned and lost.
    pub trust: TrustPolicy,
    /// What trust is given from the pool.
    pub free_tier: FreeTierPolicy,
}
