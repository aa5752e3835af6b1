//! What the server asks for, and how that becomes a challenge.

use super::challenge::to_seconds;
use super::challenge_key::SEPARATOR;
use super::{
    Challenge, ChallengeKey, ChargeRequest, ContentDigest, Intent, InvalidChallenge, METHOD, SessionRequest,
    base64url,
};
use crate::canonical::Json;
use std::collections::BTreeMap;
use tithe_clock::Timestamp;

/// What is asked for: the `request` of a challenge, which says the intent too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// One payment for one request.
    Charge(ChargeRequest),
    /// A deposit, from which requests are paid.
    Session(SessionRequest),
}

impl Request {
    /// The intent.
    #[must_use]
    pub const fn intent(&self) -> Intent {
        match self {
            Self::Charge(_) => Intent::Charge,
            Self::Session(_) => Intent::Session,
        }
    }

    fn canonical(&self) -> String {
        match self {
            Self::Charge(request) => request.canonical(),
            Self::Session(request) => request.canonical(),
        }
    }
}

/// A challenge to issue.
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// What the challenge protects, for instance the host. ASCII, without `|`.
    pub realm: String,
    /// What is asked for.
    pub request: Request,
    /// When the challenge expires, not after its invoice; rounded down to the second.
    pub expires: Option<Timestamp>,
    /// The digest of the body that the payment is for. Some clients don't send it back:
    /// [`verify_for_body`](super::Credential::verify_for_body) knows that.
    pub digest: Option<ContentDigest>,
    /// Data that the server finds again in the credential; every client can read it. Some clients don't send it back, and
    /// what they send is refused then: for a charge, [`ChargeRequest::external_id`] is the safe place.
    pub opaque: BTreeMap<String, String>,
    /// What is paid for, for people. Best in ASCII and without commas: some clients read a header up to there.
    pub description: Option<String>,
}

impl ChallengeKey {
    /// Issues a challenge: writes what `new` says, and computes its id.
    ///
    /// # Errors
    /// [`InvalidChallenge`] if the realm is empty or not plain ASCII, or the description has control characters.
    pub fn issue(&self, new: &NewChallenge) -> Result<Challenge, InvalidChallenge> {
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
        if new.realm.is_empty() || !new.realm.bytes().all(is_plain) || new.realm.contains(SEPARATOR) {
            return Err(InvalidChallenge::Realm);
        }
        let opaque = new.opaque.iter().map(|(name, value)| (name.as_str(), Json::Text(value))).collect();
        let opaque = Some(Json::Object(opaque)).filter(|_| !new.opaque.is_empty());
        let mut challenge = Challenge {
            id: String::new(),
            realm: new.realm.clone(),
            method: METHOD.to_owned(),
            intent: new.request.intent().as_str().to_owned(),
            request: base64url::encode(new.request.canonical()),
            expires: new.expires.map(to_seconds),
            digest: new.digest.map(|digest| digest.to_string()),
            opaque: opaque.map(|opaque| base64url::encode(opaque.canonical())),
            description: new.description.clone(),
        };
        challenge.id = self.id_of(&challenge);
        // What cannot be sent is not issued.
        challenge.header().map(|_| challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Network;
    use tithe_money::Sats;

    fn key() -> ChallengeKey {
        ChallengeKey::derive(b"a secret of the server")
    }

    fn new() -> NewChallenge {
        NewChallenge {
            realm: "api.example".into(),
            request: Request::Charge(ChargeRequest {
                amount: Sats::new(100).unwrap(),
                description: None,
                external_id: None,
                invoice: "lnbc1u1p".into(),
                payment_hash: [0xab; 32],
                network: Some(Network::Mainnet),
            }),
            expires: Some(Timestamp::parse_rfc3339("2026-03-15T12:05:00.999Z").unwrap()),
            digest: Some(ContentDigest::of(b"{}")),
            opaque: [("session", "1"), ("a", "2")].map(|(name, value)| (name.into(), value.into())).into(),
            description: Some("One \"answer\"".into()),
        }
    }

    #[test]
    fn a_challenge_is_written_in_one_order() {
        let challenge = key().issue(&new()).unwrap();
        let request = r#"{"amount":"100","currency":"sat","methodDetails":{"invoice":"lnbc1u1p","network":"mainnet","paymentHash":"HASH"}}"#
            .replace("HASH", &"ab".repeat(32));
        assert_eq!(base64url::decode(&challenge.request).unwrap(), request.as_bytes());
        let opaque = challenge.opaque.as_deref().unwrap();
        assert_eq!(base64url::decode(opaque).unwrap(), br#"{"a":"2","session":"1"}"#);
        let expected = format!(
            "Payment id=\"{}\", realm=\"api.example\", method=\"lightning\", intent=\"charge\", request=\"{}\", \
             expires=\"2026-03-15T12:05:00Z\", digest=\"{}\", description=\"One \\\"answer\\\"\", opaque=\"{opaque}\"",
            challenge.id,
            challenge.request,
            ContentDigest::of(b"{}"),
        );
        assert_eq!(challenge.header().unwrap(), expected);
        assert!(key().issued(&challenge));
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        let new =
            NewChallenge { expires: None, digest: None, opaque: BTreeMap::new(), description: None, ..new() };
        let challenge = key().issue(&new).unwrap();
        let header = challenge.header().unwrap();
        assert!(header.ends_with(&format!("request=\"{}\"", challenge.request)), "{header}");
        assert!(key().issued(&challenge));
    }

    #[test]
    fn what_cannot_be_sent_or_bound_is_not_issued() {
        for realm in ["", "a|b", "a\r\nb", "é", "a\tb"] {
            let new = NewChallenge { realm: realm.into(), ..new() };
            assert_eq!(key().issue(&new), Err(InvalidChallenge::Realm), "{realm:?}");
        }
        let new = NewChallenge { description: Some("a\r\nb".into()), ..new() };
        assert_eq!(key().issue(&new), Err(InvalidChallenge::Description));
    }
}
