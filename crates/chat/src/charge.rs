//! What an answer cost.

use tithe_money::{Msats, UsdMicros};

/// What an answer cost, and who paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The price, in US dollars.
    pub usd: UsdMicros,
    /// The price.
    pub msats: Msats,
    /// The part of it that the pool paid; the rest is the customer's.
    pub absorbed: Msats,
}
