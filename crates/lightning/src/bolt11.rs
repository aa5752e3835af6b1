//! Parses and verifies BOLT11 payment requests.

use crate::PaymentHash;
use lightning_invoice::{Bolt11Invoice, Currency};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;

/// The network that an invoice is payable on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Network {
    /// Bitcoin: real money.
    Mainnet,
    /// The public test network.
    Testnet,
    /// The signed test network.
    Signet,
    /// A private network where coins are created at will.
    Regtest,
}

impl Network {
    /// All networks.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet, Self::Signet, Self::Regtest];

    /// The name used in configuration and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no network of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown network: expected mainnet, testnet, signet or regtest, got {0:?}")]
pub struct UnknownNetwork(String);

impl FromStr for Network {
    type Err = UnknownNetwork;
    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        let found = Self::ALL.into_iter().find(|network| network.as_str() == text);
        found.ok_or_else(|| UnknownNetwork(text.to_owned()))
    }
}

/// The reason why a text is not a payment request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Bolt11Error {
    /// The text does not parse, or its signature is invalid.
    #[error("invalid BOLT11 payment request")]
    Invalid(#[source] lightning_invoice::ParseOrSemanticError),
    /// The request is for an unsupported network.
    #[error("invalid BOLT11 payment request: unknown network")]
    UnknownNetwork,
    /// The amount or a timestamp is out of range.
    #[error("invalid BOLT11 payment request: amount or timestamp out of range")]
    OutOfRange,
}

/// A difference between a payment request and what was requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Bolt11Mismatch {
    /// The network differs.
    #[error("wrong network: expected {wanted}, got {found}")]
    Network {
        /// The network that was requested.
        wanted: Network,
        /// The network of the invoice.
        found: Network,
    },
    /// The amount differs, or is missing.
    #[error("wrong amount: expected {wanted}, got {}", found.map_or("any amount".to_owned(), |a| a.to_string()))]
    Amount {
        /// The amount that was requested.
        wanted: Msats,
        /// The amount of the invoice.
        found: Option<Msats>,
    },
    /// The payment hash differs.
    #[error("wrong payment hash: the invoice's hash differs from the one the wallet reported")]
    PaymentHash,
    /// The invoice has expired, or expires before `wanted`.
    #[error("expires too early: expected {wanted} or later, got {found}")]
    Expiry {
        /// The earliest acceptable expiry.
        wanted: Timestamp,
        /// The expiry of the invoice.
        found: Timestamp,
    },
}

/// The requirements that a payment request must meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedInvoice {
    /// The network.
    pub network: Network,
    /// The exact amount.
    pub amount: Msats,
    /// The payment hash, if it is already known.
    pub payment_hash: Option<PaymentHash>,
    /// The earliest acceptable expiry.
    pub expires_after: Timestamp,
}

/// A BOLT11 payment request whose signature has been verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Bolt11 {
    text: String,
    network: Network,
    amount: Option<Msats>,
    payment_hash: PaymentHash,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Bolt11 {
    /// The payment request as shown to the payer.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network
    }

    /// The amount; `None` when the payer chooses, which some wallets write as an amount of 0.
    #[must_use]
    pub const fn amount(&self) -> Option<Msats> {
        self.amount
    }

    /// The payment hash.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// When the request was created.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When the request expires.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Checks the request against the requirements.
    ///
    /// # Errors
    /// The first difference found.
    pub fn check(&self, expected: &ExpectedInvoice) -> Result<(), Bolt11Mismatch> {
        if self.network != expected.network {
            return Err(Bolt11Mismatch::Network { wanted: expected.network, found: self.network });
        }
        if self.amount != Some(expected.amount) {
            return Err(Bolt11Mismatch::Amount { wanted: expected.amount, found: self.amount });
        }
        if expected.payment_hash.is_some_and(|hash| hash != self.payment_hash) {
            return Err(Bolt11Mismatch::PaymentHash);
        }
        if self.expires_at < expected.expires_after {
            return Err(Bolt11Mismatch::Expiry { wanted: expected.expires_after, found: self.expires_at });
        }
        Ok(())
    }
}

impl FromStr for Bolt11 {
    type Err = Bolt11Error;

    fn from_str(text: &str) -> Result<Self, Bolt11Error> {
        let invoice: Bolt11Invoice = text.parse().map_err(Bolt11Error::Invalid)?;
        Self::try_from(&invoice)
    }
}

impl TryFrom<&Bolt11Invoice> for Bolt11 {
    type Error = Bolt11Error;

    fn try_from(invoice: &Bolt11Invoice) -> Result<Self, Bolt11Error> {
        let network = match invoice.currency() {
            Currency::Bitcoin => Network::Mainnet,
            Currency::BitcoinTestnet => Network::Testnet,
            Currency::Signet => Network::Signet,
            Currency::Regtest => Network::Regtest,
            Currency::Simnet => return Err(Bolt11Error::UnknownNetwork),
        };
        let amount = invoice
            .amount_milli_satoshis()
            .map(Msats::new)
            .transpose()
            .map_err(|_| Bolt11Error::OutOfRange)?
            .filter(|amount| !amount.is_zero());
        let time = |since_epoch: Duration| {
            i64::try_from(since_epoch.as_micros())
                .ok()
                .and_then(|micros| Timestamp::from_unix_micros(micros).ok())
                .ok_or(Bolt11Error::OutOfRange)
        };
        let created_at = time(invoice.duration_since_epoch())?;
        Ok(Self {
            text: invoice.to_string(),
            network,
            amount,
            payment_hash: PaymentHash::from_bytes(*AsRef::<[u8; 32]>::as_ref(invoice.payment_hash())),
            created_at,
            // An expiry of centuries is valid BOLT11, so it saturates instead of failing.
            expires_at: created_at + invoice.expiry_time(),
        })
    }
}

impl fmt::Display for Bolt11 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Bolt11 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bolt11({})", self.payment_hash)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From BOLT 11's own examples: "Please send $3 for a cup of coffee", 2500 `µBTC`, one minute.
    pub(crate) const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

    /// From BOLT 11's own examples: "Please make a donation of any amount".
    pub(crate) const DONATION: &str = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";

    fn coffee() -> Bolt11 {
        COFFEE.parse().unwrap()
    }

    fn expected() -> ExpectedInvoice {
        ExpectedInvoice {
            network: Network::Mainnet,
            amount: Msats::new(250_000_000).unwrap(),
            payment_hash: Some(coffee().payment_hash()),
            expires_after: coffee().expires_at(),
        }
    }

    #[test]
    fn an_example_of_the_standard_reads_as_it_says() {
        let invoice = coffee();
        assert_eq!(invoice.network(), Network::Mainnet);
        assert_eq!(
            invoice.payment_hash().to_string(),
            "0001020304050607080900010203040506070809000102030405060708090102"
        );
        assert_eq!(invoice.created_at().unix_seconds(), 1_496_314_658);
        assert_eq!(invoice.expires_at(), invoice.created_at() + Duration::from_mins(1));
        assert_eq!(invoice.check(&expected()), Ok(()));
    }

    #[test]
    fn each_difference_is_named() {
        let invoice = coffee();
        let later = invoice.expires_at() + Duration::from_secs(1);
        let less = Msats::new(249_999_999).unwrap();
        let cases = [
            (
                ExpectedInvoice { network: Network::Regtest, ..expected() },
                "wrong network: expected regtest, got mainnet",
            ),
            (
                ExpectedInvoice { amount: less, ..expected() },
                "wrong amount: expected 249999999 msat, got 250000000 msat",
            ),
            (
                ExpectedInvoice { payment_hash: Some(PaymentHash::from_bytes([9; 32])), ..expected() },
                "wrong payment hash: the invoice's hash differs from the one the wallet reported",
            ),
            (
                ExpectedInvoice { expires_after: later, ..expected() },
                "expires too early: expected 2017-06-01T10:58:39.000000Z or later, got 2017-06-01T10:58:38.000000Z",
            ),
        ];
        for (wanted, message) in cases {
            assert_eq!(invoice.check(&wanted).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn networks_read_back() {
        for network in Network::ALL {
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        assert!("main".parse::<Network>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_cleanly(text in "\\PC{0,80}") {
            let _parsed = text.parse::<Bolt11>();
        }

        /// Changing a character breaks the checksum or the signature; it never yields a different valid invoice.
        #[test]
        fn one_changed_character_is_noticed(at in 4..COFFEE.len(), to in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]") {
            let mut text = COFFEE.to_owned();
            text.replace_range(at..=at, &to);
            prop_assert!(text == COFFEE || text.parse::<Bolt11>().is_err());
        }
    }
}
