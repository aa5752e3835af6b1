//! The settings of the wallet.

use crate::NwcConnection;
use std::time::Duration;
use tithe_lightning::Network;
use tithe_money::{BasisPoints, MoneyError, Msats, Sats};

/// What is known about the fee that the wallet pays at most. NIP-47 has no fee limit, so this must be stated by the
/// operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeeLimit {
    /// Nothing is known: the adapter makes no payments.
    #[default]
    Unknown,
    /// The wallet never pays more than the greater of these two for one payment. The adapter refuses a payment when that
    /// exceeds the payment's own limit.
    WalletLimit {
        /// A share of the amount, rounded up to the millisat.
        share: BasisPoints,
        /// The fee that the wallet accepts for any amount.
        minimum: Sats,
    },
    /// The wallet keeps the limit in the parameter `max_fee` of `pay_invoice`, which is proposed in
    /// <https://github.com/nostr-protocol/nips/pull/2444>. The proposal has no way to announce support, and a wallet without
    /// it ignores the parameter or rejects the request: choose this only for a wallet that documents it.
    MaxFee,
}

impl FeeLimit {
    /// The limit of Alby Hub, on its own LDK node and on LND: the greater of 1 % and 10 sats (`CalculateFeeReserveMsat` in
    /// `transactions/transactions_service.go`, passed to the node as the maximum routing fee; read in August 2026).
    pub const ALBY_HUB: Self = Self::WalletLimit {
        share: match BasisPoints::new(100) {
            Ok(share) => share,
            Err(_) => BasisPoints::WHOLE,
        },
        minimum: match Sats::new(10) {
            Ok(minimum) => minimum,
            Err(_) => Sats::MAX,
        },
    };

    /// The most that the wallet pays for sending `amount`, or `None` if that is unknown or chosen by the request.
    pub(crate) fn wallet_fee_max(self, amount: Msats) -> Option<Result<Msats, MoneyError>> {
        let Self::WalletLimit { share, minimum } = self else { return None };
        let part = u128::from(amount.get()) * u128::from(share.get());
        let part = part.div_ceil(u128::from(BasisPoints::WHOLE.get()));
        let part = u64::try_from(part).map_err(|_| MoneyError::TooLarge).and_then(Msats::new);
        Some(part.map(|part| part.max(minimum.to_msats())))
    }
}

/// The settings of an [`NwcWallet`](crate::NwcWallet).
#[derive(Debug, Clone)]
pub struct NwcSettings {
    /// The parsed connection string.
    pub connection: NwcConnection,
    /// The network that the wallet must be on. It is compared with what the wallet's `get_info` says before the first
    /// invoice, payment or balance.
    pub network: Network,
    /// How long a request may take, from the call to the wallet's response. A payment that takes longer is looked up later.
    pub timeout: Duration,
    /// What is known about the wallet's fees.
    pub fee_limit: FeeLimit,
    /// The longest time from the creation of an invoice or a payment to its settlement. NIP-47 lists transactions by their
    /// creation, so a list of the payments that were settled since some time begins that much earlier.
    pub settlement_lag_max: Duration,
}

impl NwcSettings {
    /// Settings for a connection: 30 seconds per request, no payments (see [`FeeLimit`]), one day to settlement.
    #[must_use]
    pub const fn new(connection: NwcConnection, network: Network) -> Self {
        Self {
            connection,
            network,
            timeout: Duration::from_secs(30),
            fee_limit: FeeLimit::Unknown,
            settlement_lag_max: Duration::from_hours(24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alby_hub_pays_at_most_one_percent_or_ten_sats() {
        // The first five are from the hub's own test.
        let cases = [
            (0, 10_000),
            (10_000, 10_000),
            (100_000, 10_000),
            (1_000_000, 10_000),
            (2_000_000, 20_000),
            (2_000_001, 20_001),
        ];
        for (amount, fee) in cases {
            let found = FeeLimit::ALBY_HUB.wallet_fee_max(Msats::new(amount).unwrap());
            assert_eq!(found, Some(Ok(Msats::new(fee).unwrap())), "{amount}");
        }
        assert_eq!(FeeLimit::Unknown.wallet_fee_max(Msats::ZERO), None);
        assert_eq!(FeeLimit::MaxFee.wallet_fee_max(Msats::ZERO), None);
    }
}
