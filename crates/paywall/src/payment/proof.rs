//! Proofs: what a credential proves.

use super::challenge_key::ChallengeKey;
use super::charge::hex_32;
use super::fields::Fields;
use super::{
    ChargeRequest, ContentDigest, Credential, Intent, METHOD, Refused, SessionAction, SessionRequest,
    base64url,
};
use crate::preimage::proves;
use std::collections::BTreeMap;
use std::fmt;
use tithe_clock::Timestamp;

/// A verified [`Credential`]: a challenge of ours, and the preimage of its payment.
///
/// What the caller still has to check: [`check`](Proof::check) or its parts, and in its store what the payment is for and
/// whether it was used. The price is what the store says, not what the challenge of another route said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Proof {
    /// The id of the challenge, for the receipt.
    pub challenge_id: String,
    /// What the challenge protects.
    pub realm: String,
    /// When the challenge expires.
    pub expires: Option<Timestamp>,
    /// The digest of the body that was to be paid for.
    pub digest: Option<ContentDigest>,
    /// The server's data, as it was put into the challenge.
    pub opaque: BTreeMap<String, String>,
    /// What was asked for, and what proves the payment.
    pub paid: Paid,
}

/// What was asked for, and what proves the payment. `Debug` hides preimages.
#[derive(Clone, PartialEq, Eq)]
pub enum Paid {
    /// A charge was paid.
    Charge {
        /// What was asked for.
        request: ChargeRequest,
        /// The preimage of its invoice.
        preimage: [u8; 32],
    },
    /// A session is opened, used, topped up or closed.
    Session {
        /// What was asked for.
        request: SessionRequest,
        /// What the client does, with the preimage that this needs.
        action: SessionAction,
    },
}

impl Paid {
    /// The intent.
    #[must_use]
    pub const fn intent(&self) -> Intent {
        match self {
            Self::Charge { .. } => Intent::Charge,
            Self::Session { .. } => Intent::Session,
        }
    }
}

impl fmt::Debug for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge { request, .. } => {
                f.debug_struct("Charge").field("request", request).finish_non_exhaustive()
            }
            Self::Session { request, action } => {
                f.debug_struct("Session").field("request", request).field("action", action).finish()
            }
        }
    }
}

impl Proof {
    /// Whether the challenge has expired at `now`. It has at the second that it names.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Whether the challenge is for a request with this body: always, if it has no digest.
    #[must_use]
    pub fn is_for_body(&self, body: &[u8]) -> bool {
        self.digest.is_none_or(|digest| digest == ContentDigest::of(body))
    }

    /// Checks all that the drafts want of a request with a body, at a time: realm, expiry and digest.
    ///
    /// A client that paid in time and sends its proof late loses its payment by the drafts. A caller that is kinder checks
    /// the rest, and whether the payment arrived in time.
    ///
    /// # Errors
    /// [`Refused::Realm`], [`Refused::Expired`] and [`Refused::Body`].
    pub fn check(&self, realm: &str, now: Timestamp, body: &[u8]) -> Result<(), Refused> {
        if self.realm != realm {
            return Err(Refused::Realm);
        }
        if self.is_expired(now) {
            return Err(Refused::Expired(self.paid.intent()));
        }
        if self.is_for_body(body) { Ok(()) } else { Err(Refused::Body) }
    }
}

impl Credential {
    /// Verifies the credential as [`verify`](Self::verify) does, for clients that leave the digest out of what they send
    /// back: if the challenge is unknown without one, it is taken to be that of the request's body.
    ///
    /// The draft wants the whole challenge back; not every client in use sends it.
    ///
    /// # Errors
    /// Those of [`verify`](Self::verify). A credential without a digest, for another body, is an unknown challenge.
    pub fn verify_for_body(&self, keys: &[ChallengeKey], body: &[u8]) -> Result<Proof, Refused> {
        match self.verify(keys) {
            Err(Refused::UnknownChallenge) if self.challenge.digest.is_none() => {
                let mut completed = self.clone();
                completed.challenge.digest = Some(ContentDigest::of(body).to_string());
                completed.verify(keys)
            }
            verified => verified,
        }
    }

    /// Verifies that the challenge was issued with one of the keys, and that the preimage is that of its invoice or, for
    /// `bearer` and `close`, of the session's. The first key issues, all of them verify, so that a secret can be rotated.
    ///
    /// # Errors
    /// [`Refused::Method`], [`Refused::Intent`], [`Refused::UnknownChallenge`], [`Refused::Payload`] and
    /// [`Refused::Preimage`].
    pub fn verify(&self, keys: &[ChallengeKey]) -> Result<Proof, Refused> {
        let challenge = &self.challenge;
        if challenge.method != METHOD {
            return Err(Refused::Method);
        }
        let intent: Intent = challenge.intent.parse().map_err(|_| Refused::Intent)?;
        if !keys.iter().any(|key| key.issued(challenge)) {
            return Err(Refused::UnknownChallenge);
        }
        // What we issued can be read. If not, an older release issued it.
        let unknown = Refused::UnknownChallenge;
        let object =
            |text: &str| base64url::decode(text).and_then(|json| Fields::parse(&json)).ok_or(unknown);
        let request = object(&challenge.request)?;
        let paid = match intent {
            Intent::Charge => {
                let request = ChargeRequest::read(&request).map_err(|_| unknown)?;
                let preimage = hex_32(&self.payload, "payload.preimage")?;
                if !proves(&preimage, &request.payment_hash) {
                    return Err(Refused::Preimage);
                }
                Paid::Charge { request, preimage }
            }
            Intent::Session => {
                let request = SessionRequest::read(&request).map_err(|_| unknown)?;
                let action = SessionAction::read(&self.payload)?;
                if !action.is_proved(&request.payment_hash) {
                    return Err(Refused::Preimage);
                }
                Paid::Session { request, action }
            }
        };
        let expires = challenge.expires.as_deref().map(Timestamp::parse_rfc3339).transpose();
        let digest = challenge.digest.as_deref().map(str::parse).transpose();
        let opaque = challenge.opaque.as_deref().map(object).transpose()?.unwrap_or_default();
        Ok(Proof {
            challenge_id: challenge.id.clone(),
            realm: challenge.realm.clone(),
            expires: expires.map_err(|_| unknown)?,
            digest: digest.map_err(|_| unknown)?,
            opaque: opaque.into_texts().ok_or(unknown)?,
            paid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Challenge, NewChallenge, Request};
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};
    use tithe_money::Sats;

    const PREIMAGE: [u8; 32] = [7; 32];
    const BODY: &[u8] = b"{\"request\":\"?\"}";

    fn key() -> ChallengeKey {
        ChallengeKey::derive(b"a secret of the server")
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn hash(preimage: [u8; 32]) -> [u8; 32] {
        Sha256::digest(preimage).into()
    }

    fn charge(sats: u64, preimage: [u8; 32]) -> Request {
        Request::Charge(ChargeRequest {
            amount: Sats::new(sats).unwrap(),
            description: None,
            external_id: None,
            invoice: "lnbc1".into(),
            payment_hash: hash(preimage),
            network: None,
        })
    }

    fn session() -> Request {
        Request::Session(SessionRequest {
            amount: Sats::new(3).unwrap(),
            description: None,
            unit_type: Some("token".into()),
            deposit_invoice: Some("lnbc1".into()),
            payment_hash: hash(PREIMAGE),
            deposit_amount: Some(Sats::new(300).unwrap()),
            idle_timeout: None,
        })
    }

    fn issue(request: Request) -> Challenge {
        let new = NewChallenge {
            realm: "api.example".into(),
            request,
            expires: Some(at("2026-03-15T12:05:00Z")),
            digest: Some(ContentDigest::of(BODY)),
            opaque: BTreeMap::from([("session".to_owned(), "1".to_owned())]),
            description: Some("An answer".into()),
        };
        key().issue(&new).unwrap()
    }

    /// As a client writes it: every parameter, and the payload.
    fn credential(challenge: &Challenge, payload: &str) -> Credential {
        let Challenge { id, realm, method, intent, request, expires, digest, opaque, description } =
            challenge;
        let challenge = serde_json::json!({
            "id": id, "realm": realm, "method": method, "intent": intent, "request": request, "expires": expires,
            "digest": digest, "opaque": opaque, "description": description,
        });
        let json = format!(r#"{{"challenge":{challenge},"payload":{payload}}}"#);
        Credential::parse(&format!("Payment {}", base64url::encode(json))).unwrap()
    }

    fn preimage(bytes: [u8; 32]) -> String {
        format!(r#"{{"preimage":"{}"}}"#, hex::encode(bytes))
    }

    fn verify(challenge: &Challenge, payload: &str) -> Result<Proof, Refused> {
        credential(challenge, payload).verify(&[key()])
    }

    #[test]
    fn a_paid_challenge_is_proved() {
        let challenge = issue(charge(100, PREIMAGE));
        let proof = verify(&challenge, &preimage(PREIMAGE)).unwrap();
        assert_eq!((&proof.challenge_id, proof.realm.as_str()), (&challenge.id, "api.example"));
        assert_eq!(proof.opaque.get("session").map(String::as_str), Some("1"));
        let Request::Charge(request) = charge(100, PREIMAGE) else { panic!("no charge") };
        assert_eq!(proof.paid, Paid::Charge { request, preimage: PREIMAGE });
        assert_eq!(proof.check("api.example", at("2026-03-15T12:04:59.999Z"), BODY), Ok(()));
    }

    #[test]
    fn a_challenge_without_options_is_proved_for_ever_and_for_any_body() {
        let (realm, opaque) = ("r".to_owned(), BTreeMap::new());
        let request = charge(1, PREIMAGE);
        let new = NewChallenge { realm, request, expires: None, digest: None, opaque, description: None };
        let proof = verify(&key().issue(&new).unwrap(), &preimage(PREIMAGE)).unwrap();
        assert_eq!(proof.check("r", Timestamp::MAX, b"any"), Ok(()));
        assert!(proof.opaque.is_empty());
    }

    #[test]
    fn a_proof_is_for_one_realm_time_and_body() {
        let proof = verify(&issue(charge(100, PREIMAGE)), &preimage(PREIMAGE)).unwrap();
        let (now, late) = (at("2026-03-15T12:00:00Z"), at("2026-03-15T12:05:00Z"));
        assert_eq!(proof.check("other.example", now, BODY), Err(Refused::Realm));
        assert_eq!(proof.check("api.example", late, BODY), Err(Refused::Expired(Intent::Charge)));
        assert_eq!(proof.check("api.example", now, b"{}"), Err(Refused::Body));
    }

    #[test]
    fn a_preimage_of_another_payment_is_refused() {
        let (one, other) = (issue(charge(1, [1; 32])), issue(charge(1, [2; 32])));
        assert!(verify(&one, &preimage([1; 32])).is_ok());
        assert_eq!(verify(&one, &preimage([2; 32])), Err(Refused::Preimage));
        assert_eq!(verify(&other, &preimage([1; 32])), Err(Refused::Preimage));
        assert_eq!(verify(&one, &preimage(hash([1; 32]))), Err(Refused::Preimage));
    }

    /// The holder of a cheap proof asks for something dear.
    #[test]
    fn no_part_of_a_challenge_can_be_taken_from_another() {
        let (cheap, dear) = (issue(charge(1, [1; 32])), issue(charge(1_000, [2; 32])));
        let dear_request = Challenge { request: dear.request.clone(), ..cheap.clone() };
        let dear_id = Challenge { id: dear.id.clone(), ..cheap.clone() };
        let as_session = Challenge { intent: "session".into(), ..cheap.clone() };
        let for_ever = Challenge { expires: None, ..cheap.clone() };
        let any_body = Challenge { digest: None, ..cheap.clone() };
        for altered in [dear_request, dear_id, as_session, for_ever, any_body] {
            assert_eq!(verify(&altered, &preimage([1; 32])), Err(Refused::UnknownChallenge), "{altered:?}");
        }
        // A description is not bound: it is for people.
        let described = Challenge { description: None, ..cheap };
        assert!(verify(&described, &preimage([1; 32])).is_ok());
    }

    /// As the npm package `@getalby/lightning-tools` 9 does it.
    #[test]
    fn a_client_may_leave_out_the_digest() {
        let new = NewChallenge {
            realm: "api.example".into(),
            request: charge(1, PREIMAGE),
            expires: None,
            digest: Some(ContentDigest::of(BODY)),
            opaque: BTreeMap::new(),
            description: Some("An answer".into()),
        };
        let issued = key().issue(&new).unwrap();
        let echo = Challenge { digest: None, description: None, ..issued.clone() };
        let without = credential(&echo, &preimage(PREIMAGE));
        assert_eq!(without.verify(&[key()]), Err(Refused::UnknownChallenge));
        let proof = without.verify_for_body(&[key()], BODY).unwrap();
        assert_eq!((proof.digest, proof.challenge_id), (Some(ContentDigest::of(BODY)), issued.id.clone()));
        assert_eq!(without.verify_for_body(&[key()], b"{}"), Err(Refused::UnknownChallenge));
        // With the digest, the other body is noticed by `check`.
        let with = credential(&issued, &preimage(PREIMAGE)).verify_for_body(&[key()], b"{}").unwrap();
        assert_eq!(with.check("api.example", Timestamp::UNIX_EPOCH, b"{}"), Err(Refused::Body));
        // A challenge without a digest needs none.
        let any_body = key().issue(&NewChallenge { digest: None, ..new }).unwrap();
        assert!(credential(&any_body, &preimage(PREIMAGE)).verify_for_body(&[key()], b"{}").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let challenge = issue(charge(1, PREIMAGE));
        let other = Challenge { method: "tempo".into(), ..challenge.clone() };
        assert_eq!(verify(&other, &preimage(PREIMAGE)), Err(Refused::Method));
        let other = Challenge { intent: "subscription".into(), ..challenge.clone() };
        assert_eq!(verify(&other, &preimage(PREIMAGE)), Err(Refused::Intent));
        let refused = verify(&challenge, "{}").unwrap_err();
        assert_eq!(refused.to_string(), "missing payload.preimage: expected a string");
        let refused = verify(&challenge, r#"{"preimage":"00"}"#).unwrap_err();
        assert_eq!(refused.to_string(), "invalid payload.preimage: expected 64 hex digits");
        let foreign = credential(&challenge, &preimage(PREIMAGE));
        assert_eq!(
            foreign.verify(&[ChallengeKey::derive(b"another secret of it")]),
            Err(Refused::UnknownChallenge)
        );
        assert_eq!(foreign.verify(&[]), Err(Refused::UnknownChallenge));
        assert!(foreign.verify(&[ChallengeKey::derive(b"a newer secret of it"), key()]).is_ok());
    }

    #[test]
    fn every_action_of_a_session_is_proved() {
        let (id, other) = (hex::encode(hash(PREIMAGE)), hex::encode([9; 32]));
        let preimage = hex::encode(PREIMAGE);
        for (payload, good) in [
            (format!(r#"{{"action":"open","preimage":"{preimage}","returnInvoice":"lnbc1"}}"#), true),
            (format!(r#"{{"action":"open","preimage":"{other}","returnInvoice":"lnbc1"}}"#), false),
            (format!(r#"{{"action":"bearer","sessionId":"{id}","preimage":"{preimage}"}}"#), true),
            (format!(r#"{{"action":"bearer","sessionId":"{other}","preimage":"{preimage}"}}"#), false),
            (format!(r#"{{"action":"topUp","sessionId":"{other}","topUpPreimage":"{preimage}"}}"#), true),
            (format!(r#"{{"action":"topUp","sessionId":"{id}","topUpPreimage":"{other}"}}"#), false),
            (format!(r#"{{"action":"close","sessionId":"{id}","preimage":"{preimage}"}}"#), true),
            (format!(r#"{{"action":"close","sessionId":"{id}","preimage":"{other}"}}"#), false),
        ] {
            match verify(&issue(session()), &payload) {
                Ok(proof) => assert!(good && proof.paid.intent() == Intent::Session, "{payload}"),
                Err(refused) => assert!(!good && refused == Refused::Preimage, "{payload}: {refused}"),
            }
        }
        // A charge's payload is no action.
        let refused = verify(&issue(session()), &format!(r#"{{"preimage":"{preimage}"}}"#)).unwrap_err();
        assert_eq!(refused.to_string(), "missing payload.action: expected a string");
    }

    #[test]
    fn no_debug_shows_a_preimage() {
        let proof = verify(&issue(charge(1, [0xee; 32])), &preimage([0xee; 32])).unwrap();
        let shown = format!("{proof:?}");
        assert!(!shown.contains("eeee") && !shown.contains("238, 238"), "{shown}");
    }

    proptest! {
        #[test]
        fn swapped_preimages_are_refused(one: [u8; 32], other: [u8; 32]) {
            prop_assume!(one != other);
            prop_assert_eq!(verify(&issue(charge(1, one)), &preimage(other)), Err(Refused::Preimage));
            prop_assert!(verify(&issue(charge(1, one)), &preimage(one)).is_ok());
        }

        #[test]
        fn a_changed_character_in_the_header_proves_nothing(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9]") {
            let challenge = issue(charge(1, PREIMAGE));
            for which in 0..7 {
                let mut changed = challenge.clone();
                let slot = match which {
                    0 => &mut changed.id,
                    1 => &mut changed.realm,
                    2 => &mut changed.request,
                    3 => changed.expires.as_mut().unwrap(),
                    4 => changed.digest.as_mut().unwrap(),
                    5 => changed.opaque.as_mut().unwrap(),
                    _ => &mut changed.intent,
                };
                let at = at.index(slot.len());
                slot.replace_range(at..=at, &with);
                let accepted = verify(&changed, &preimage(PREIMAGE)).is_ok();
                prop_assert_eq!(accepted, changed == challenge, "{:?}", changed);
            }
        }
    }
}
