//! The Lightning wallet.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use tithe_wallet_sim::FaultRates;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("TITHE_WALLET", "wallet", "sim", "The Lightning wallet: sim"),
    Setting::new(
        "TITHE_WALLET_SIM_FAULTS",
        "wallet_sim_faults",
        "",
        "How often the simulated wallet fails, in operations per thousand, such as lose=20,fail=10,delay_ms=50",
    ),
];

/// The Lightning wallet.
pub(crate) struct Wallet {
    pub(crate) sim_faults: FaultRates,
}

impl Wallet {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        values.one_of("TITHE_WALLET", &["sim"])?;
        Ok(Self {
            sim_faults: match values.text("TITHE_WALLET_SIM_FAULTS") {
                "" => FaultRates::default(),
                _ => values.parse("TITHE_WALLET_SIM_FAULTS", str::parse)?,
            },
        })
    }
}
