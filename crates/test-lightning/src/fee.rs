//! What a node charges for forwarding a payment.

/// The fee for forwarding a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingFee {
    /// The fixed part, in millisats.
    pub base_msats: u32,
    /// The part that grows with the amount, in millionths of it.
    pub millionths: u32,
}

impl RoutingFee {
    /// No fee.
    pub const NONE: Self = Self { base_msats: 0, millionths: 0 };

    /// The trampoline fee that phoenixd pays on every payment: 4 sat and 0.4 %.
    pub const TRAMPOLINE: Self = Self { base_msats: 4_000, millionths: 4_000 };

    /// The fee in millisats for an amount in millisats. As the protocol wants, the growing part is rounded down.
    #[must_use]
    pub fn of_msats(self, msats: u64) -> u64 {
        let share = u128::from(msats) * u128::from(self.millionths) / 1_000_000;
        u64::try_from(share).unwrap_or(u64::MAX).saturating_add(u64::from(self.base_msats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_a_fixed_part_and_a_share_that_is_rounded_down() {
        assert_eq!(RoutingFee::NONE.of_msats(21_000), 0);
        assert_eq!(RoutingFee::TRAMPOLINE.of_msats(0), 4_000);
        assert_eq!(RoutingFee::TRAMPOLINE.of_msats(100_249), 4_400);
        assert_eq!(RoutingFee::TRAMPOLINE.of_msats(100_250), 4_401);
    }
}
