//! What customers may buy.

use tithe_money::Sats;

/// A plan that customers may buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapPlan {
    /// The name, which the provisioner knows.
    pub name: String,
    /// The price.
    pub price: Sats,
}
