//! The settings of the connection, and phoenixd's fee.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_lightning::Network;
use tithe_money::{MoneyError, Msats};
use url::Url;

/// The `http-password` of phoenixd's configuration, which allows everything. The password for limited access cannot pay.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpPassword(String);

/// The text is not a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid phoenixd password: expected visible ASCII characters without spaces")]
pub struct HttpPasswordError;

impl HttpPassword {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpPassword {
    type Err = HttpPasswordError;

    /// Reads a password; the white space around it, such as the line feed at the end of a file, is not part of it.
    fn from_str(text: &str) -> Result<Self, HttpPasswordError> {
        let password = text.trim();
        if password.is_empty() || !password.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HttpPasswordError);
        }
        Ok(Self(password.to_owned()))
    }
}

impl fmt::Debug for HttpPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpPassword(hidden)")
    }
}

/// The fee that phoenixd charges for a Lightning payment. Its API has no fee limit; the fee is a fixed function of the amount
/// (`trampolineFees` in phoenixd's `Lsp.kt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendFee {
    /// The fixed part.
    pub base: Msats,
    /// The part of the amount, in millionths.
    pub millionths: u32,
}

impl Default for SendFee {
    /// 4 sat and 0.4 % of the amount, as up to phoenixd 0.8.
    fn default() -> Self {
        Self { base: FOUR_SAT, millionths: 4_000 }
    }
}

const FOUR_SAT: Msats = match Msats::new(4_000) {
    Ok(amount) => amount,
    Err(_) => Msats::ZERO,
};

impl SendFee {
    /// The most that a payment of `amount` may cost besides the amount. phoenixd rounds the share down, so the real fee may be
    /// a millisat less.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] for absurd amounts.
    pub fn most(self, amount: Msats) -> Result<Msats, MoneyError> {
        let share = u128::from(amount.get()) * u128::from(self.millionths);
        let share = u64::try_from(share.div_ceil(1_000_000)).map_err(|_| MoneyError::TooLarge)?;
        self.base.checked_add(Msats::new(share)?)
    }
}

/// The connection to phoenixd.
#[derive(Debug, Clone)]
pub struct PhoenixdSettings {
    /// The address of its HTTP API, such as `http://127.0.0.1:9740`; it may have a path.
    pub url: Url,
    /// Its password.
    pub password: HttpPassword,
    /// The network that it is expected to be on.
    pub network: Network,
    /// How long one request may take. A payment that takes longer has an unknown outcome until it is looked up.
    pub timeout: Duration,
    /// What it charges for a payment.
    pub send_fee: SendFee,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msats(amount: u64) -> Msats {
        Msats::new(amount).unwrap()
    }

    #[test]
    fn a_password_is_never_printed() {
        let password: HttpPassword = " secret\n".parse().unwrap();
        assert_eq!(password.reveal(), "secret");
        assert_eq!(format!("{password:?}"), "HttpPassword(hidden)");
        for wrong in ["", " \n", "two words", "pässword"] {
            assert_eq!(wrong.parse::<HttpPassword>(), Err(HttpPasswordError), "{wrong:?}");
        }
    }

    #[test]
    fn the_fee_is_4_sat_and_4_per_mille_rounded_up() {
        let fee = SendFee::default();
        for (amount, most) in [(0, 4_000), (1, 4_001), (250, 4_001), (1_000_000, 8_000), (1_000_001, 8_001)] {
            assert_eq!(fee.most(msats(amount)).unwrap(), msats(most), "{amount}");
        }
        let double = SendFee { millionths: 2_000_000, ..fee };
        assert!(double.most(Msats::MAX).is_err(), "more than can exist");
    }
}
