//! The request of a charge: one payment for one request.

use super::fields::{Fields, InvalidField};
use crate::canonical::Json;
use crate::preimage::bytes_of_hex;
use std::fmt;
use tithe_money::Sats;

/// The only currency of the Lightning drafts.
const CURRENCY: &str = "sat";

/// What a charge asks for (`draft-lightning-charge-00`, "Request Schema").
///
/// The payment hash is optional in the draft; here it is always there, so that a preimage can be verified without a
/// look-up.
#[derive(Clone, PartialEq, Eq)]
pub struct ChargeRequest {
    /// The price, which is the invoice's amount. At least 1 sat.
    pub amount: Sats,
    /// What is paid for, as the invoice says it.
    pub description: Option<String>,
    /// A reference of the server. Unlike the `opaque` data of the challenge, every client sends it back.
    pub external_id: Option<String>,
    /// The invoice, BOLT11.
    pub invoice: String,
    /// The invoice's payment hash.
    pub payment_hash: [u8; 32],
    /// The invoice's network. Clients take a missing one for mainnet.
    pub network: Option<Network>,
}

impl ChargeRequest {
    pub(super) fn canonical(&self) -> String {
        let (amount, payment_hash) = (self.amount.get().to_string(), hex::encode(self.payment_hash));
        let details = Json::object([
            ("invoice", Some(Json::Text(&self.invoice))),
            ("network", self.network.map(|network| Json::Text(network.as_str()))),
            ("paymentHash", Some(Json::Text(&payment_hash))),
        ]);
        let members = [
            ("amount", Some(Json::Text(&amount))),
            ("currency", Some(Json::Text(CURRENCY))),
            ("description", self.description.as_deref().map(Json::Text)),
            ("externalId", self.external_id.as_deref().map(Json::Text)),
            ("methodDetails", Some(details)),
        ];
        Json::object(members).canonical()
    }

    pub(super) fn read(fields: &Fields) -> Result<Self, InvalidField> {
        let amount = amount(fields)?;
        let description = fields.optional_text("request.description")?.map(String::from);
        let external_id = fields.optional_text("request.externalId")?.map(String::from);
        let details = fields.object("request.methodDetails")?;
        let invoice = details.text("request.methodDetails.invoice")?.to_owned();
        let payment_hash = hex_32(details, "request.methodDetails.paymentHash")?;
        let name = "request.methodDetails.network";
        let network = match details.optional_text(name)? {
            Some(text) => {
                Some(Network::read(text).ok_or(InvalidField::Invalid { name, expected: NETWORKS })?)
            }
            None => None,
        };
        Ok(Self { amount, description, external_id, invoice, payment_hash, network })
    }
}

impl fmt::Debug for ChargeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargeRequest")
            .field("amount", &self.amount)
            .field("payment_hash", &hex::encode(self.payment_hash))
            .finish_non_exhaustive()
    }
}

/// What a client must know of a charge before it pays. Unlike in [`ChargeRequest`], which servers issue and read again, the payment hash
/// is as optional as in the draft ("Method Details"), and the network is left to the invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeTerms {
    /// The price. At least 1 sat.
    pub amount: Sats,
    /// The invoice, BOLT11, as the server sent it.
    pub invoice: String,
    /// What the server says is the invoice's payment hash.
    pub payment_hash: Option<[u8; 32]>,
}

impl ChargeTerms {
    pub(super) fn read(fields: &Fields) -> Result<Self, InvalidField> {
        let details = fields.object("request.methodDetails")?;
        let hash = "request.methodDetails.paymentHash";
        Ok(Self {
            amount: amount(fields)?,
            invoice: details.text("request.methodDetails.invoice")?.to_owned(),
            payment_hash: details.optional_text(hash)?.map(|_| hex_32(details, hash)).transpose()?,
        })
    }
}

/// The price of a request, with its currency.
pub(super) fn amount(fields: &Fields) -> Result<Sats, InvalidField> {
    let amount = positive_sats("request.amount", fields.text("request.amount")?)?;
    if fields.text("request.currency")? != CURRENCY {
        return Err(InvalidField::Invalid { name: "request.currency", expected: CURRENCY });
    }
    Ok(amount)
}

/// A positive amount of sats in its only spelling.
pub(super) fn positive_sats(name: &'static str, text: &str) -> Result<Sats, InvalidField> {
    let sats = decimal(text).filter(|sats| *sats > 0).and_then(|sats| Sats::new(sats).ok());
    sats.ok_or(InvalidField::Invalid { name, expected: "a positive whole number of sats, as a string" })
}

/// A decimal number without a sign and without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}

/// A payment hash or a preimage. The drafts write lowercase digits; capital ones do no harm.
pub(super) fn hex_32(fields: &Fields, name: &'static str) -> Result<[u8; 32], InvalidField> {
    bytes_of_hex(fields.text(name)?).ok_or(InvalidField::Invalid { name, expected: "64 hex digits" })
}

const NETWORKS: &str = "mainnet, regtest or signet";

/// A network of Lightning, as far as the draft has a name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// Bitcoin.
    Mainnet,
    /// A private network for tests.
    Regtest,
    /// The public network for tests.
    Signet,
}

impl Network {
    /// All networks.
    pub const ALL: [Self; 3] = [Self::Mainnet, Self::Regtest, Self::Signet];

    /// The name as it is in challenges.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Regtest => "regtest",
            Self::Signet => "signet",
        }
    }

    fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "abababababababababababababababababababababababababababababababab";

    fn read(json: &str) -> Result<ChargeRequest, InvalidField> {
        ChargeRequest::read(&Fields::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let good = format!(
            r#"{{"amount":"100","currency":"sat","methodDetails":{{"invoice":"lnbc1","paymentHash":"{HASH}"}},"x":1}}"#
        );
        assert_eq!(read(&good).unwrap().amount, Sats::new(100).unwrap());
        for (from, to, error) in [
            ("\"amount\":\"100\",", "", "missing request.amount: expected a string"),
            ("\"100\"", "100", "invalid request.amount: expected a string"),
            ("sat", "usd", "invalid request.currency: expected sat"),
            ("methodDetails", "details", "missing request.methodDetails: expected an object"),
            ("invoice", "bolt11", "missing request.methodDetails.invoice: expected a string"),
            ("abab", "", "invalid request.methodDetails.paymentHash: expected 64 hex digits"),
            ("paymentHash", "hash", "missing request.methodDetails.paymentHash: expected a string"),
            (
                "\"invoice\"",
                "\"network\":\"testnet\",\"invoice\"",
                "invalid request.methodDetails.network: expected mainnet, regtest or signet",
            ),
        ] {
            assert_eq!(read(&good.replacen(from, to, 1)).unwrap_err().to_string(), error, "{from}");
        }
    }

    #[test]
    fn an_amount_has_one_spelling() {
        let name = "request.amount";
        assert_eq!(positive_sats(name, "1"), Ok(Sats::new(1).unwrap()));
        assert_eq!(positive_sats(name, "2100000000000000"), Ok(Sats::MAX));
        for wrong in [
            "",
            "0",
            "00",
            "01",
            "-1",
            "+1",
            "1.0",
            "1e3",
            " 1",
            "1 ",
            "٣",
            "2100000000000001",
            "99999999999999999999",
        ] {
            assert!(positive_sats(name, wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_request_reads_as_it_is_written(
            amount in 1_u64..=2_100_000_000_000_000, description in prop::option::of("\\PC{1,9}"), external_id in prop::option::of("[a-z]{1,9}"), invoice in "[a-z0-9]{1,9}",
            payment_hash: [u8; 32], network in prop::option::of(prop::sample::select(&Network::ALL[..])),
        ) {
            let amount = Sats::new(amount).unwrap();
            let request = ChargeRequest { amount, description, external_id, invoice, payment_hash, network };
            prop_assert_eq!(read(&request.canonical()), Ok(request));
        }
    }
}
