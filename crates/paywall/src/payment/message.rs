//! Challenges, credentials and receipts as they are in messages of JSON-RPC (`draft-payment-transport-mcp-00`): objects, in which what is
//! base64url of JSON in a header is JSON.

use super::{Challenge, Credential, InvalidCredential, InvalidField, Receipt, base64url};
use crate::canonical::canonical_json;
use serde_json::{Map, Value};

/// The slots of a challenge that are objects in messages, and base64url of canonical JSON in headers.
const ENCODED: [&str; 2] = ["request", "opaque"];

impl Challenge {
    /// The challenge as an object of a message (section "Challenge Structure"); `None` if its request is no JSON, which no issued challenge's is.
    ///
    /// `opaque` stays as it is in headers: the draft does not name it, and clients send back what they got.
    #[must_use]
    pub fn to_object(&self) -> Option<Map<String, Value>> {
        let request: Value = serde_json::from_slice(&base64url::decode(&self.request)?).ok()?;
        let text = |text: &str| Some(Value::from(text));
        let members = [
            ("id", text(&self.id)),
            ("realm", text(&self.realm)),
            ("method", text(&self.method)),
            ("intent", text(&self.intent)),
            ("request", Some(request)),
            ("expires", self.expires.as_deref().and_then(text)),
            ("digest", self.digest.as_deref().and_then(text)),
            ("opaque", self.opaque.as_deref().and_then(text)),
            ("description", self.description.as_deref().and_then(text)),
        ];
        Some(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

impl Credential {
    /// The value of the `Authorization` header that says the same as the credential of a message (section "Credential Structure"). Its
    /// `challenge.request` is brought into its canonical form, over which the id of the challenge was made.
    ///
    /// # Errors
    /// [`InvalidCredential`], by which [`parse`](Self::parse) would refuse the value.
    pub fn authorization_of(object: &Value) -> Result<String, InvalidCredential> {
        let mut object = object.clone();
        if let Some(challenge) = object.get_mut("challenge").and_then(Value::as_object_mut) {
            for (name, slot) in challenge.iter_mut().filter(|(name, _)| ENCODED.contains(&name.as_str())) {
                // A text is encoded already, and `null` is as good as nothing.
                if matches!(slot, Value::String(_) | Value::Null) {
                    continue;
                }
                let json =
                    canonical_json(slot).map_err(|_| if name == "opaque" { OPAQUE } else { REQUEST })?;
                *slot = Value::String(base64url::encode(json));
            }
        }
        let authorization = format!("Payment {}", base64url::encode(object.to_string()));
        Self::parse(&authorization)?;
        Ok(authorization)
    }
}

const EXPECTED: &str = "JSON whose numbers are integers that a double expresses";
const REQUEST: InvalidField = InvalidField::Invalid { name: "challenge.request", expected: EXPECTED };
const OPAQUE: InvalidField = InvalidField::Invalid { name: "challenge.opaque", expected: EXPECTED };

impl Receipt {
    /// The receipt as an object of a message (section "Receipt Structure").
    #[must_use]
    pub fn to_object(&self) -> Value {
        // What was written is JSON.
        serde_json::from_str(&self.canonical()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{ChallengeKey, ChargeRequest, Network, NewChallenge, Refund, RefundStatus, Request};
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use tithe_clock::Timestamp;
    use tithe_money::Sats;

    /// A challenge as the server issues it, with everything in it.
    fn issued() -> Challenge {
        let request = ChargeRequest {
            amount: Sats::new(21).unwrap(),
            description: Some("\"Ünïcödé\"".to_owned()),
            external_id: Some("a".to_owned()),
            invoice: "lnbc1".to_owned(),
            payment_hash: [7; 32],
            network: Some(Network::Regtest),
        };
        let new = NewChallenge {
            realm: "example.com".to_owned(),
            request: Request::Charge(request),
            expires: Some(Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap()),
            digest: None,
            opaque: BTreeMap::from([("b".to_owned(), "c".to_owned())]),
            description: Some("one request".to_owned()),
        };
        ChallengeKey::derive(&[1; 32]).issue(&new).unwrap()
    }

    fn credential(challenge: &Challenge) -> Value {
        json!({ "challenge": challenge.to_object().unwrap(), "payload": { "preimage": "ab" }, "source": "did:key:z" })
    }

    #[test]
    fn a_challenge_has_its_request_as_an_object() {
        let challenge = issued();
        let object = Value::Object(challenge.to_object().unwrap());
        assert_eq!(object["request"]["amount"], "21");
        assert_eq!(object["request"]["methodDetails"]["invoice"], "lnbc1");
        assert_eq!(object["id"], challenge.id);
        assert_eq!(object["expires"], "2026-03-01T12:00:00Z");
        assert_eq!((&object["digest"], &object["description"]), (&Value::Null, &json!("one request")));
        for request in ["!", &base64url::encode("{")] {
            assert_eq!(
                Challenge { request: request.to_owned(), ..challenge.clone() }.to_object(),
                None,
                "{request}"
            );
        }
    }

    #[test]
    fn the_credential_of_a_message_is_that_of_a_header() {
        let challenge = issued();
        let good = credential(&challenge);
        let mut encoded = good.clone();
        encoded["challenge"]["request"] = challenge.request.clone().into();
        let mut opaque = good.clone();
        opaque["challenge"]["opaque"] = json!({ "b": "c" });
        for object in [&good, &encoded, &opaque] {
            let read = Credential::parse(&Credential::authorization_of(object).unwrap()).unwrap();
            assert_eq!(read.challenge(), &challenge, "{object}");
            assert_eq!(read.source(), Some("did:key:z"));
            assert_eq!(read.payload.text("payload.preimage"), Ok("ab"));
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let challenge = issued();
        for (pointer, value, error) in [
            ("/challenge", json!("text"), "invalid challenge: expected an object"),
            ("/challenge", Value::Null, "missing challenge: expected an object"),
            ("/challenge/id", json!(1), "invalid challenge.id: expected a string"),
            ("/challenge/request", Value::Null, "missing challenge.request: expected a string"),
            (
                "/challenge/request",
                json!({ "amount": 0.5 }),
                "invalid challenge.request: expected JSON whose numbers are integers that a double expresses",
            ),
            ("/payload", json!([]), "invalid payload: expected an object"),
        ] {
            let mut object = credential(&challenge);
            *object.pointer_mut(pointer).unwrap() = value;
            assert_eq!(Credential::authorization_of(&object).unwrap_err().to_string(), error, "{pointer}");
        }
        for other in [json!("Payment e30"), json!([]), Value::Null, json!({})] {
            assert!(Credential::authorization_of(&other).is_err(), "{other}");
        }
        let long = json!({ "challenge": challenge.to_object().unwrap(), "payload": { "a": "a".repeat(Credential::TEXT_MAX) } });
        assert_eq!(Credential::authorization_of(&long), Err(InvalidCredential::TooLong));
    }

    #[test]
    fn a_receipt_is_the_object_that_is_encoded_in_headers() {
        let settled_at = Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap();
        let challenge_id = Some("i".to_owned());
        let mut receipt = Receipt { reference: [0xcd; 32], settled_at, challenge_id, refund: None };
        let reference = "cd".repeat(32);
        assert_eq!(
            receipt.to_object(),
            json!({
                "challengeId": "i", "method": "lightning", "reference": reference, "status": "success",
                "timestamp": "2026-03-01T12:00:00Z",
            })
        );
        receipt.refund = Some(Refund { amount: Sats::ONE, status: RefundStatus::Failed });
        assert_eq!(receipt.to_object()["refundSats"], 1);
    }

    proptest! {
        /// Clients keep the values, and perhaps not the order.
        #[test]
        fn a_request_that_comes_back_is_encoded_as_it_was(members in prop::collection::btree_map("\\PC{0,5}", "\\PC{0,9}", 0..5)) {
            let request = base64url::encode(canonical_json(&members).unwrap());
            let challenge = Challenge { request, ..issued() };
            let text = credential(&challenge).to_string();
            let back: Value = serde_json::from_str(&text).unwrap();
            let read = Credential::parse(&Credential::authorization_of(&back).unwrap()).unwrap();
            prop_assert_eq!(read.challenge(), &challenge);
        }

        #[test]
        fn any_json_is_judged_without_a_panic(text in "[\\[\\]{}\":,a0. -]{0,40}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = Credential::authorization_of(&value);
                let _ = Credential::authorization_of(&json!({ "challenge": value.clone(), "payload": value }));
            }
        }
    }
}
