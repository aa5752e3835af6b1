//! Numbers of phoenixd's answers as amounts and times.

use tithe_clock::Timestamp;
use tithe_lightning::WalletError;
use tithe_money::{Msats, Sats};

/// An amount that was worked out from several fields.
pub(crate) fn msats(what: &str, amount: i128) -> Result<Msats, WalletError> {
    let amount = u64::try_from(amount).ok().and_then(|amount| Msats::new(amount).ok());
    amount.ok_or_else(|| WalletError::Nonsense(format!("amount out of range: {what}")))
}

pub(crate) fn sats(what: &str, amount: u64) -> Result<Sats, WalletError> {
    Sats::new(amount).map_err(|_| WalletError::Nonsense(format!("amount out of range: {what}")))
}

/// A time in milliseconds since 1970.
pub(crate) fn time(what: &str, millis: i64) -> Result<Timestamp, WalletError> {
    let time = millis.checked_mul(1_000).and_then(|micros| Timestamp::from_unix_micros(micros).ok());
    time.ok_or_else(|| WalletError::Nonsense(format!("time out of range: {what}")))
}
