//! Lightning addresses (LUD-16), and the port that gets invoices from them.

use std::fmt;
use std::str::FromStr;

/// The longest name, as in an e-mail address (RFC 5321).
const NAME_BYTES_MAX: usize = 64;
/// The longest host name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// A Lightning address, `name@host`, in lower case ([LUD-16](https://github.com/lnurl/luds/blob/luds/16.md)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub struct LightningAddress {
    text: String,
    at: usize,
}

/// The text is not a Lightning address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid Lightning address: expected name@host, got {0:?}")]
pub struct InvalidLightningAddress(String);

impl LightningAddress {
    /// The part before the `@`: letters, digits, `-`, `_`, `.` and `+`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The host, with a port if there is one.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(self.at.saturating_add(1)..).unwrap_or_default()
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for LightningAddress {
    type Err = InvalidLightningAddress;

    fn from_str(text: &str) -> Result<Self, InvalidLightningAddress> {
        let invalid = || InvalidLightningAddress(text.chars().take(100).collect());
        let text = text.trim().to_ascii_lowercase();
        let (name, host) = text.split_once('@').ok_or_else(invalid)?;
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let (bare, port) = host.split_once(':').map_or((host, None), |(bare, port)| (bare, Some(port)));
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let valid = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.chars().all(in_name)
            && bare.len() <= HOST_BYTES_MAX
            && bare.split('.').all(is_label)
            && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
        if !valid {
            return Err(invalid());
        }
        let at = name.len();
        Ok(Self { text, at })
    }
}

impl fmt::Display for LightningAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<LightningAddress> for String {
    fn from(address: LightningAddress) -> Self {
        address.text
    }
}

impl TryFrom<String> for LightningAddress {
    type Error = InvalidLightningAddress;
    fn try_from(text: String) -> Result<Self, InvalidLightningAddress> {
        text.parse()
    }
}

/// The reason why no invoice was got from a Lightning address. Nothing has been paid.
#[cfg(feature = "ports")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The address does not exist, its host is not allowed, or its service refuses the payment for good.
    #[error("the Lightning address cannot be paid: {reason}")]
    Refused {
        /// The reason, which may be shown to the customer. It contains nothing of the host's own text but a short excerpt.
        reason: String,
    },
    /// The host does not answer, or not with what the protocol prescribes. It may work later.
    #[error("the Lightning address does not work at the moment: {reason}")]
    Unavailable {
        /// The reason, which may be shown to the customer.
        reason: String,
    },
}

#[cfg(feature = "ports")]
impl AddressError {
    /// The reason, which may be shown to the customer.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason } | Self::Unavailable { reason } => reason,
        }
    }
}

/// Gets invoices from Lightning addresses.
#[cfg(feature = "ports")]
#[async_trait::async_trait]
pub trait AddressResolver: Send + Sync {
    /// Whether invoices are got from hosts such as this one; does not connect to it.
    ///
    /// # Errors
    /// [`AddressError::Refused`] if not: for example, because the host is in a private network.
    fn check(&self, address: &LightningAddress) -> Result<(), AddressError>;

    /// An invoice of the address for exactly `amount`. The caller checks the invoice itself: network, amount, expiry.
    ///
    /// # Errors
    /// [`AddressError`].
    async fn invoice(
        &self,
        address: &LightningAddress,
        amount: tithe_money::Sats,
    ) -> Result<tithe_lightning::Bolt11, AddressError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_and_a_host() {
        for (text, name, host) in [
            ("alice@example.com", "alice", "example.com"),
            (" Bob+tips@Pay.Example.com ", "bob+tips", "pay.example.com"),
            ("a.b-c_d@127.0.0.1:8080", "a.b-c_d", "127.0.0.1:8080"),
        ] {
            let address: LightningAddress = text.parse().unwrap();
            assert_eq!((address.name(), address.host()), (name, host));
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "alice",
            "@example.com",
            "alice@",
            "a lice@example.com",
            "alice@example..com",
            "alice@-a.com",
            "alice@example.com/x",
            "alice@example.com:0",
            "alice@example.com:70000",
            "alice@user@example.com",
            "alice/../@example.com",
            "alice@[::1]",
            "älice@example.com",
            "alice@example.com?x=1",
            &long,
        ] {
            assert!(text.parse::<LightningAddress>().is_err(), "{text}");
        }
    }
}
