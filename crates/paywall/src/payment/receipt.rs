//! Receipts: what a paid response says about its payment.

use super::challenge::to_seconds;
use super::charge::hex_32;
use super::fields::{Fields, InvalidField};
use super::{METHOD, base64url};
use crate::canonical::Json;
use tithe_clock::Timestamp;
use tithe_money::Sats;

/// The only status of a receipt: errors have none.
const SUCCESS: &str = "success";

/// A receipt, the value of the header `Payment-Receipt` of a successful response.
///
/// Sources: `draft-httpauth-payment-00`, "Payment-Receipt Header"; `draft-lightning-charge-00`, "Receipt Generation";
/// `draft-lightning-session-00`, "Receipt". A response with it must have `Cache-Control: private`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The payment hash of what was paid; for a session, its id. Never the preimage.
    pub reference: [u8; 32],
    /// When the payment was settled; written up to the second, rounded down.
    pub settled_at: Timestamp,
    /// The id of the challenge. The draft wants it for a charge.
    pub challenge_id: Option<String>,
    /// What is refunded, if this is the receipt of `close`.
    pub refund: Option<Refund>,
}

/// What is refunded when a session is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refund {
    /// What was left of the deposits.
    pub amount: Sats,
    /// What became of it.
    pub status: RefundStatus,
}

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundStatus {
    /// It was paid.
    Succeeded,
    /// It could not be paid.
    Failed,
    /// There was nothing to refund.
    Skipped,
}

impl RefundStatus {
    /// All statuses.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Skipped];

    /// The status as it is in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Receipt {
    /// The maximum length of the text that is decoded, in bytes.
    pub const TEXT_MAX: usize = 4_096;

    /// The header's value: base64url of canonical JSON.
    #[must_use]
    pub fn encode(&self) -> String {
        base64url::encode(self.canonical())
    }

    /// The receipt as canonical JSON.
    pub(super) fn canonical(&self) -> String {
        let (reference, at) = (hex::encode(self.reference), to_seconds(self.settled_at));
        let members = [
            ("method", Some(Json::Text(METHOD))),
            ("challengeId", self.challenge_id.as_deref().map(Json::Text)),
            ("reference", Some(Json::Text(&reference))),
            ("status", Some(Json::Text(SUCCESS))),
            ("timestamp", Some(Json::Text(&at))),
            ("refundSats", self.refund.map(|refund| Json::Sats(refund.amount))),
            ("refundStatus", self.refund.map(|refund| Json::Text(refund.status.as_str()))),
        ];
        Json::object(members).canonical()
    }

    /// Decodes the header's value. Fields that are not in the drafts are ignored.
    ///
    /// # Errors
    /// [`InvalidReceipt`].
    pub fn decode(text: &str) -> Result<Self, InvalidReceipt> {
        let json = Some(text).filter(|text| text.len() <= Self::TEXT_MAX).and_then(base64url::decode);
        let fields = json.and_then(|json| Fields::parse(&json)).ok_or(InvalidReceipt::Malformed)?;
        for (name, expected) in [("method", METHOD), ("status", SUCCESS)] {
            if fields.text(name)? != expected {
                return Err(InvalidField::Invalid { name, expected }.into());
            }
        }
        let name = "timestamp";
        let at = Timestamp::parse_rfc3339(fields.text(name)?);
        let settled_at = at.map_err(|_| InvalidField::Invalid { name, expected: "a time as in RFC 3339" })?;
        let reference = hex_32(&fields, "reference")?;
        let challenge_id = fields.optional_text("challengeId")?.map(String::from);
        Ok(Self { reference, settled_at, challenge_id, refund: Self::refund(&fields)? })
    }

    fn refund(fields: &Fields) -> Result<Option<Refund>, InvalidField> {
        let name = "refundStatus";
        let Some(text) = fields.optional_text(name)? else { return Ok(None) };
        let status = RefundStatus::ALL.into_iter().find(|status| status.as_str() == text);
        let status =
            status.ok_or(InvalidField::Invalid { name, expected: "succeeded, failed or skipped" })?;
        let name = "refundSats";
        // Others leave a zero out.
        let amount = Sats::new(fields.optional_number(name)?.unwrap_or_default());
        let amount = amount.map_err(|_| InvalidField::Invalid { name, expected: "an amount of sats" })?;
        Ok(Some(Refund { amount, status }))
    }
}

/// The reason why a text is no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReceipt {
    /// The text is too long, not base64url, or not JSON.
    #[error("invalid receipt: expected base64url of a JSON object, of at most {} bytes", Receipt::TEXT_MAX)]
    Malformed,
    /// A field is missing or malformed.
    #[error(transparent)]
    Field(#[from] InvalidField),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(json: &str) -> Result<Receipt, InvalidReceipt> {
        Receipt::decode(&base64url::encode(json.replace("HASH", &"cd".repeat(32))))
    }

    const GOOD: &str = r#"{"challengeId":"i","method":"lightning","reference":"HASH","status":"success","timestamp":"2026-03-10T21:00:00Z"}"#;

    #[test]
    fn a_receipt_is_canonical_json() {
        let receipt = decode(GOOD).unwrap();
        assert_eq!(receipt.refund, None);
        assert_eq!(
            base64url::decode(&receipt.encode()).unwrap(),
            GOOD.replace("HASH", &"cd".repeat(32)).as_bytes()
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (from, to, error) in [
            ("success", "failed", "invalid status: expected success"),
            ("lightning", "tempo", "invalid method: expected lightning"),
            ("HASH", "00", "invalid reference: expected 64 hex digits"),
            ("reference", "other", "missing reference: expected a string"),
            ("T21", " ", "invalid timestamp: expected a time as in RFC 3339"),
            ("\"i\"", "1", "invalid challengeId: expected a string"),
            (
                "{",
                "{\"refundStatus\":\"lost\",",
                "invalid refundStatus: expected succeeded, failed or skipped",
            ),
            (
                "{",
                "{\"refundStatus\":\"failed\",\"refundSats\":9223372036854775807,",
                "invalid refundSats: expected an amount of sats",
            ),
            (
                "{",
                "{\"refundStatus\":\"failed\",\"refundSats\":\"1\",",
                "invalid refundSats: expected a whole number",
            ),
        ] {
            assert_eq!(decode(&GOOD.replacen(from, to, 1)).unwrap_err().to_string(), error, "{to}");
        }
        let long = GOOD.replace('{', &format!("{{\"more\":\"{}\",", "a".repeat(Receipt::TEXT_MAX)));
        assert_eq!(decode(&long), Err(InvalidReceipt::Malformed));
        for wrong in ["", "!", "e30=e", &"A".repeat(5_000), &base64url::encode("[]")] {
            assert_eq!(Receipt::decode(wrong), Err(InvalidReceipt::Malformed), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_receipt_is_decoded_as_it_was_encoded(
            reference: [u8; 32], seconds in 0_i64..4_000_000_000, challenge_id in prop::option::of("\\PC{1,50}"),
            refund in prop::option::of((0_u64..=2_100_000_000_000_000, prop::sample::select(&RefundStatus::ALL[..]))),
        ) {
            let settled_at = Timestamp::from_unix_micros(seconds * 1_000_000).unwrap();
            let refund = refund.map(|(sats, status)| Refund { amount: Sats::new(sats).unwrap(), status });
            let receipt = Receipt { reference, settled_at, challenge_id, refund };
            prop_assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC*", json in "[{}\":,a0]{0,40}") {
            let _ = Receipt::decode(&text);
            let _ = decode(&json);
        }
    }
}
