//! Prices: the BTC price, and the operator's margin and costs.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use tithe_money::{BasisPoints, BtcPrice, UsdMicros};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_BTC_PRICE_USD",
        "btc_price_usd",
        "",
        "The BTC price: a fixed number of dollars, or live (from public sources). Empty: live, or 100000 with the simulated wallet",
    )
    .same(),
    Setting::new("TITHE_MARGIN_PCT", "margin_pct", "40", "The margin on top of the cost of work, in percent")
    .same(),
    Setting::new(
        "TITHE_FIXED_COST_USD",
        "fixed_cost_usd",
        "0",
        "What each request costs the operator besides its tokens, in dollars",
    )
    .same(),
];

/// Where the BTC price comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriceSource {
    /// Given by the operator.
    Fixed(BtcPrice),
    /// Made up, because no money is real with a simulated wallet.
    Simulated(BtcPrice),
    /// Public sources.
    Live,
}

/// Prices.
pub(crate) struct Prices {
    pub(crate) btc: PriceSource,
    pub(super) margin: BasisPoints,
    pub(super) fixed_cost: UsdMicros,
}

impl Prices {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            btc: match values.text("TITHE_BTC_PRICE_USD") {
                // Real money is worth what it is worth.
                "" if values.text("TITHE_WALLET") != "sim" => PriceSource::Live,
                "" => PriceSource::Simulated(
                    values.parse("TITHE_BTC_PRICE_USD", |_| BtcPrice::parse("100000"))?,
                ),
                "live" => PriceSource::Live,
                _ => PriceSource::Fixed(values.parse("TITHE_BTC_PRICE_USD", BtcPrice::parse)?),
            },
            margin: values.parse("TITHE_MARGIN_PCT", BasisPoints::parse_percent)?,
            fixed_cost: values.parse("TITHE_FIXED_COST_USD", UsdMicros::parse)?,
        })
    }
}
