//! The settings of the wallet.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_lightning::Network;
use tithe_money::{BasisPoints, MoneyError, Msats};
use url::Url;

/// The maximum length of a key. LNbits' keys have 32 digits.
const KEY_LENGTH_MAX: usize = 128;

/// The text is not a key of LNbits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid LNbits key: expected 1 to {KEY_LENGTH_MAX} letters, digits, - or _")]
pub struct InvalidApiKey;

/// The admin key or the invoice key of a wallet at LNbits. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key, for the request to LNbits only.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKey {
    type Err = InvalidApiKey;

    fn from_str(text: &str) -> Result<Self, InvalidApiKey> {
        let fits = (1..=KEY_LENGTH_MAX).contains(&text.len());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if fits && text.bytes().all(is_plain) { Ok(Self(text.to_owned())) } else { Err(InvalidApiKey) }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// What a payment costs at the most if LNbits' funding source ignores its fee limit: a base and a share of the amount. For phoenixd,
/// 4 sats and 0.4 %. If the operator of LNbits has set a service fee, it is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FundingFee {
    /// The fee of the smallest payment.
    pub base: Msats,
    /// The share of the amount that is added to it.
    pub share: BasisPoints,
}

impl FundingFee {
    /// The fee for a payment of `amount`, rounded up to a whole sat.
    pub(crate) fn of(self, amount: Msats) -> Result<Msats, MoneyError> {
        let fee = self.base.checked_add(amount.share_rounding_down(self.share))?;
        // The share was rounded down by less than a millisat.
        let one = if self.share == BasisPoints::ZERO { Msats::ZERO } else { Msats::new(1)? };
        Ok(fee.checked_add(one)?.to_sats_rounding_up()?.to_msats())
    }
}

/// The settings of [`crate::LnbitsWallet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LnbitsSettings {
    /// The URL of the LNbits server, such as `https://lnbits.example/` or `http://127.0.0.1:5000/lnbits`; `api/v1/…` is added to its
    /// path. It has no credentials, query or fragment.
    pub url: Url,
    /// The wallet's key: the admin key, or the invoice key for a wallet that only receives.
    pub key: ApiKey,
    /// The network of the node behind LNbits. LNbits does not report it, so every invoice is compared with it.
    pub network: Network,
    /// The timeout of a request that does not send a payment. 20 seconds by default: LNbits answers nothing while it waits for a
    /// payment to end, up to five seconds for each.
    pub timeout: Duration,
    /// The timeout of a request that sends a payment. 90 seconds by default.
    pub send_timeout: Duration,
    /// The fee of a funding source that ignores LNbits' fee limit. None by default: the funding source keeps the limit.
    pub funding_fee: Option<FundingFee>,
}

impl LnbitsSettings {
    /// The default settings for this server, key and network.
    #[must_use]
    pub const fn new(url: Url, key: ApiKey, network: Network) -> Self {
        Self {
            url,
            key,
            network,
            timeout: Duration::from_secs(20),
            send_timeout: Duration::from_secs(90),
            funding_fee: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msats(msats: u64) -> Msats {
        Msats::new(msats).unwrap()
    }

    #[test]
    fn a_key_is_plain_text_that_a_url_can_hold_and_debug_hides_it() {
        let key: ApiKey = "80964e3a25464211b83af162e6cba620".parse().unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        let settings = LnbitsSettings::new("https://lnbits.example".parse().unwrap(), key, Network::Mainnet);
        assert!(!format!("{settings:?}").contains("80964e3a"));
        for wrong in ["", "a b", "a/b", "a?b", "a%2fb", "ä", &"a".repeat(129)] {
            assert_eq!(wrong.parse::<ApiKey>(), Err(InvalidApiKey), "{wrong:?}");
        }
    }

    #[test]
    fn a_funding_fee_is_a_base_and_a_share_rounded_up_to_a_sat() {
        let phoenixd = FundingFee { base: msats(4_000), share: BasisPoints::new(40).unwrap() };
        for (amount, fee) in [(0, 5_000), (1_000, 5_000), (249_999, 5_000), (1_000_000, 9_000)] {
            assert_eq!(phoenixd.of(msats(amount)), Ok(msats(fee)), "{amount}");
        }
        let flat = FundingFee { base: msats(4_000), share: BasisPoints::ZERO };
        assert_eq!(flat.of(msats(1_000_000)), Ok(msats(4_000)));
    }
}
