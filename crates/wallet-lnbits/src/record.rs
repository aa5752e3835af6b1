//! LNbits' records of payments.

use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use tithe_clock::{Timestamp, TimestampError};
use tithe_lightning::{Direction, PaymentHash, Preimage, WalletError};
use tithe_money::Msats;

/// The preimage that LNbits stores when it has none.
const NO_PREIMAGE: Preimage = Preimage::from_bytes([0; 32]);

/// The prefix of the `checking_id` of a record in which the operator's wallet was credited with the fee of somebody's payment. It has
/// the payment hash of that payment.
const SERVICE_FEE_PREFIX: &str = "service_fee_";

/// The label of an invoice that LNbits marked as failed because it had expired.
const EXPIRED_LABEL: &str = "expired";

/// The status of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Success,
    Failed,
    /// Not decided. A status that this crate does not know is not decided either.
    #[serde(other)]
    Pending,
}

/// One payment in LNbits' list. It has a preimage only if the payment succeeded: LNbits reports the preimages of unpaid invoices too,
/// and they are dropped here.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct Record {
    /// LNbits' id of the record; it may change when the payment succeeds.
    pub checking_id: String,
    pub payment_hash: PaymentHash,
    /// In millisats, negative for an outgoing payment.
    amount: i64,
    /// In millisats, of either sign. The fee always reduces the balance.
    fee: i64,
    pub bolt11: String,
    pub status: Status,
    preimage: Option<String>,
    pub created_at: Timestamp,
    /// When LNbits last changed the record: of a payment that succeeded, the best that is known about when it did.
    pub updated_at: Timestamp,
    labels: Vec<String>,
    /// Our id for what was requested.
    pub our_id: Option<String>,
    /// What an invoice is for.
    pub memo: Option<String>,
}

/// The record as LNbits writes it.
#[derive(Deserialize)]
struct Wire {
    checking_id: String,
    payment_hash: PaymentHash,
    amount: i64,
    fee: i64,
    bolt11: String,
    status: Status,
    #[serde(default)]
    preimage: Option<String>,
    #[serde(deserialize_with = "utc")]
    created_at: Timestamp,
    #[serde(deserialize_with = "utc")]
    updated_at: Timestamp,
    #[serde(default)]
    labels: Option<Vec<String>>,
    #[serde(default)]
    memo: Option<String>,
    #[serde(default)]
    external_id: Option<String>,
    #[serde(default)]
    extra: Option<Extra>,
}

/// What we have LNbits store with a payment. Versions before 1.6 have no `external_id`.
#[derive(Deserialize)]
struct Extra {
    #[serde(default)]
    tithe_id: Option<String>,
}

/// Reads a time that may have no offset; it is UTC then.
fn utc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = <Cow<'de, str>>::deserialize(deserializer)?;
    let parsed = Timestamp::parse_rfc3339(&text).or_else(|_| Timestamp::parse_rfc3339(&format!("{text}Z")));
    parsed.map_err(|error: TimestampError| serde::de::Error::custom(error))
}

impl From<Wire> for Record {
    fn from(wire: Wire) -> Self {
        Self {
            checking_id: wire.checking_id,
            payment_hash: wire.payment_hash,
            amount: wire.amount,
            fee: wire.fee,
            bolt11: wire.bolt11,
            status: wire.status,
            preimage: wire.preimage.filter(|_| wire.status == Status::Success),
            created_at: wire.created_at,
            updated_at: wire.updated_at,
            labels: wire.labels.unwrap_or_default(),
            memo: wire.memo,
            our_id: wire.external_id.or_else(|| wire.extra.and_then(|extra| extra.tithe_id)),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payment_hash, amount, fee, status, our_id, .. } = self;
        write!(f, "Record({payment_hash}, {amount}, fee {fee}, {status:?}, {our_id:?})")
    }
}

impl Record {
    /// The direction; `None` if no amount moved.
    pub fn direction(&self) -> Option<Direction> {
        match self.amount {
            1.. => Some(Direction::Incoming),
            0 => None,
            ..0 => Some(Direction::Outgoing),
        }
    }

    /// Whether this is an outgoing payment.
    pub fn is_outgoing(&self) -> bool {
        self.direction() == Some(Direction::Outgoing)
    }

    /// Whether this is the record of an invoice, as opposed to a fee that somebody else's payment brought in.
    pub fn is_invoice(&self) -> bool {
        self.direction() == Some(Direction::Incoming) && !self.checking_id.starts_with(SERVICE_FEE_PREFIX)
    }

    /// Whether LNbits marked it as failed because it had expired.
    pub fn is_labelled_expired(&self) -> bool {
        self.labels.iter().any(|label| label == EXPIRED_LABEL)
    }

    /// The amount, without a sign.
    pub fn amount(&self) -> Result<Msats, WalletError> {
        self.msats("amount", self.amount)
    }

    /// The fee, without a sign.
    pub fn fee(&self) -> Result<Msats, WalletError> {
        self.msats("fee", self.fee)
    }

    fn msats(&self, name: &str, signed: i64) -> Result<Msats, WalletError> {
        Msats::new(signed.unsigned_abs()).map_err(|_| {
            WalletError::Nonsense(format!(
                "invalid {name} of payment {}: got {signed} msat",
                self.payment_hash
            ))
        })
    }

    /// The preimage of a payment that succeeded; `None` if LNbits has none.
    ///
    /// # Errors
    /// [`WalletError::Nonsense`] if it does not hash to the payment hash.
    pub fn preimage(&self) -> Result<Option<Preimage>, WalletError> {
        let Some(text) = self.preimage.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let preimage: Option<Preimage> = text.parse().ok();
        if preimage == Some(NO_PREIMAGE) {
            return Ok(None);
        }
        match preimage.filter(|preimage| preimage.payment_hash() == self.payment_hash) {
            Some(preimage) => Ok(Some(preimage)),
            None => Err(WalletError::Nonsense(format!(
                "wrong preimage: expected one that hashes to {}",
                self.payment_hash
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREIMAGE: &str = "738fad2845fa1a3842fbd996e7d0a666b950c0b6631989cc51ed6211ec69053b";
    const HASH: &str = "0a22be1804c1955072936b66c88e0a58b78ab1483855db71fc321d28aa815817";

    fn record(status: &str, preimage: &str, amount: i64) -> Record {
        let json = format!(
            r#"{{"checking_id":"{HASH}","payment_hash":"{HASH}","wallet_id":"w","amount":{amount},"fee":-2000,"bolt11":"lnbc1",
                "status":"{status}","preimage":{preimage},"created_at":"2026-11-20T09:23:28","updated_at":"2026-11-20T09:23:29.5+00:00",
                "labels":["expired"],"extra":{{"tithe_id":"x","wallet_fiat_rate":1.5}},"external_id":null}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn quoted(text: &str) -> String {
        format!("\"{text}\"")
    }

    #[test]
    fn a_preimage_survives_only_a_payment_that_succeeded() {
        for status in ["pending", "failed", "settled", ""] {
            let record = record(status, &quoted(PREIMAGE), 21_000);
            assert_eq!(record.preimage().unwrap(), None, "{status}");
            assert_eq!(record.preimage, None, "{status}");
        }
        let paid = record("success", &quoted(PREIMAGE), 21_000);
        assert_eq!(paid.preimage().unwrap().unwrap().payment_hash(), paid.payment_hash);
        assert!(!format!("{paid:?}").contains("738f"), "{paid:?}");
    }

    #[test]
    fn zeros_and_nothing_are_no_preimage_and_another_one_is_nonsense() {
        for none in ["null".to_owned(), quoted(""), quoted(&"0".repeat(64))] {
            assert_eq!(record("success", &none, 21_000).preimage().unwrap(), None, "{none}");
        }
        for wrong in [quoted(&"1".repeat(64)), quoted("secret"), quoted(&PREIMAGE[1..])] {
            let error = record("success", &wrong, 21_000).preimage().unwrap_err();
            assert!(matches!(&error, WalletError::Nonsense(text) if !text.contains(wrong.trim_matches('"'))));
        }
    }

    #[test]
    fn signs_say_the_direction_and_amounts_and_fees_have_none() {
        let out = record("success", "null", -21_000);
        assert_eq!(out.direction(), Some(Direction::Outgoing));
        assert_eq!((out.amount().unwrap().get(), out.fee().unwrap().get()), (21_000, 2_000));
        assert_eq!(record("success", "null", 21_000).direction(), Some(Direction::Incoming));
        assert_eq!(record("success", "null", 0).direction(), None);
        assert!(record("success", "null", i64::MIN).amount().is_err());
    }

    #[test]
    fn a_time_without_an_offset_is_utc_and_our_id_may_be_in_extra() {
        let record = record("success", "null", 21_000);
        assert_eq!(record.created_at.to_string(), "2026-11-20T09:23:28.000000Z");
        assert_eq!(record.updated_at.to_string(), "2026-11-20T09:23:29.500000Z");
        assert_eq!(record.our_id.as_deref(), Some("x"));
        assert!(record.is_labelled_expired());
    }
}
