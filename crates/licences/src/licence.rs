//! A licence, and the token that carries it.

use crate::invalid::InvalidLicence;
use crate::key::{KeyId, SigningKey};
use crate::revocation::LicenceId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{InstallId, Plan};

/// The version of the form of tokens, with the dot that ends it.
const VERSION: &str = "v1.";
/// What is signed begins with this, so that a signature over anything else is never one over a licence.
const DOMAIN: &str = "tithe-licence:";
const MICROS_PER_SECOND: i64 = 1_000_000;

/// A licence: it proves that an install has a paid plan for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Licence {
    /// The licence.
    pub id: LicenceId,
    /// The install that it is for.
    pub install: InstallId,
    /// The plan that it proves: a paid one.
    pub plan: Plan,
    /// When it was issued. A token has whole seconds; fractions are cut off.
    pub issued_at: Timestamp,
    /// When it is no longer valid. A token has whole seconds; fractions are cut off.
    pub expires_at: Timestamp,
    /// The key that signs it.
    pub key: KeyId,
}

/// Why a licence cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    /// The plan need not be proven.
    #[error("no licence needed: expected a paid plan, got {0}")]
    UnpaidPlan(Plan),
    /// The licence names another key than the one that is to sign it.
    #[error("wrong licence key: expected {expected}, got {got}")]
    OtherKey {
        /// The key that the licence names.
        expected: KeyId,
        /// The key that was to sign it.
        got: KeyId,
    },
}

/// The payload of a token, in the order in which it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payload<'a> {
    id: &'a str,
    install: &'a str,
    plan: &'a str,
    issued_at: i64,
    expires_at: i64,
    key: &'a str,
}

/// The parts of a token whose form is right and whose signature is not verified yet.
pub(crate) struct Unverified<'a> {
    pub(crate) licence: Licence,
    signed: &'a str,
    pub(crate) signature: [u8; 64],
}

impl Unverified<'_> {
    /// What the signature must be over.
    pub(crate) fn message(&self) -> Vec<u8> {
        message(self.signed)
    }
}

impl Licence {
    /// The greatest length of a token, in bytes. Tokens are about 350 bytes long.
    pub const TOKEN_BYTES_MAX: usize = 512;

    /// How far the clock of the machine that issued a licence may be ahead of ours.
    pub const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

    /// The token that carries the licence: `v1.<payload>.<signature>`, both in base64url without padding. The signature is over
    /// `tithe-licence:v1.<payload>`.
    ///
    /// # Errors
    /// [`CannotSign`] when the plan needs no licence, or when the key is not the one that the licence names.
    pub fn sign(&self, key: &SigningKey) -> Result<String, CannotSign> {
        if !self.plan.is_paid() {
            return Err(CannotSign::UnpaidPlan(self.plan));
        }
        if key.id() != self.key {
            return Err(CannotSign::OtherKey { expected: self.key, got: key.id() });
        }
        let mut token = VERSION.to_owned();
        URL_SAFE_NO_PAD.encode_string(self.payload(), &mut token);
        let signature = key.sign(&message(&token));
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Whether the licence is for this install and valid at this time: from its issue time on, and before its expiry time.
    ///
    /// # Errors
    /// [`InvalidLicence`]: [`OtherInstall`](InvalidLicence::OtherInstall), [`NotYetIssued`](InvalidLicence::NotYetIssued) or
    /// [`Expired`](InvalidLicence::Expired).
    pub fn check(&self, install: InstallId, now: Timestamp) -> Result<(), InvalidLicence> {
        if self.install != install {
            return Err(InvalidLicence::OtherInstall);
        }
        self.check_time(now)
    }

    /// Whether the licence is valid at this time, for whichever install.
    ///
    /// # Errors
    /// [`InvalidLicence`]: [`NotYetIssued`](InvalidLicence::NotYetIssued) or [`Expired`](InvalidLicence::Expired).
    pub fn check_time(&self, now: Timestamp) -> Result<(), InvalidLicence> {
        if self.issued_at > now + Self::CLOCKS_DIFFER {
            return Err(InvalidLicence::NotYetIssued { at: self.issued_at });
        }
        if now >= self.expires_at {
            return Err(InvalidLicence::Expired { at: self.expires_at });
        }
        Ok(())
    }

    /// Reads a token without verifying its signature.
    pub(crate) fn read(token: &str) -> Result<Unverified<'_>, InvalidLicence> {
        let (length, most) = (token.len(), Self::TOKEN_BYTES_MAX);
        if length > most {
            return Err(InvalidLicence::TooLong { most, length });
        }
        let rest = token.strip_prefix(VERSION).ok_or(InvalidLicence::NotLicence)?;
        let (payload, signature) = rest.split_once('.').ok_or(InvalidLicence::Damaged)?;
        let signed = token.get(..VERSION.len() + payload.len()).ok_or(InvalidLicence::Damaged)?;
        let decode = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidLicence::Damaged);
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        let licence = Self::from_payload(&payload).ok_or(InvalidLicence::Damaged)?;
        // A licence has one spelling: what we would not write ourselves is refused.
        if licence.payload() != payload || !licence.plan.is_paid() {
            return Err(InvalidLicence::Damaged);
        }
        let signature = signature.try_into().map_err(|_| InvalidLicence::Damaged)?;
        Ok(Unverified { licence, signed, signature })
    }

    fn payload(&self) -> Vec<u8> {
        let payload = Payload {
            id: &self.id.to_string(),
            install: &self.install.to_string(),
            plan: self.plan.as_str(),
            issued_at: self.issued_at.unix_seconds(),
            expires_at: self.expires_at.unix_seconds(),
            key: &self.key.to_string(),
        };
        #[expect(
            clippy::expect_used,
            reason = "JSON has every text and every whole number; writing to memory cannot fail"
        )]
        serde_json::to_vec(&payload).expect("the payload is JSON")
    }

    fn from_payload(payload: &[u8]) -> Option<Self> {
        let Payload { id, install, plan, issued_at, expires_at, key } =
            serde_json::from_slice(payload).ok()?;
        let time = |seconds: i64| Timestamp::from_unix_micros(seconds.checked_mul(MICROS_PER_SECOND)?).ok();
        Some(Self {
            id: id.parse().ok()?,
            install: install.parse().ok()?,
            plan: plan.parse().ok()?,
            issued_at: time(issued_at)?,
            expires_at: time(expires_at)?,
            key: key.parse().ok()?,
        })
    }
}

/// What is signed: the version and the payload of a token, after the name of what is signed.
fn message(signed: &str) -> Vec<u8> {
    [DOMAIN.as_bytes(), signed.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::LicenceKeys;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn licence() -> Licence {
        Licence {
            id: "6c3f9a52-1b7e-4d08-8f43-92e5d1a7c604".parse().unwrap(),
            install: "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse().unwrap(),
            plan: Plan::Pro,
            issued_at: Timestamp::from_unix_micros(1_800_000_000_900_000).unwrap(),
            expires_at: Timestamp::from_unix_micros(1_900_000_000_900_000).unwrap(),
            key: key().id(),
        }
    }

    /// A token with any payload, signed by our key.
    fn signed(payload: &[u8]) -> String {
        let mut token = VERSION.to_owned() + &URL_SAFE_NO_PAD.encode(payload);
        let signature = key().sign(&message(&token));
        token.push('.');
        token + &URL_SAFE_NO_PAD.encode(signature)
    }

    #[test]
    fn the_payload_is_json_with_whole_seconds() {
        let payload = String::from_utf8(licence().payload()).unwrap();
        let expected = format!(
            r#"{{"id":"6c3f9a52-1b7e-4d08-8f43-92e5d1a7c604","install":"0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10","plan":"pro","issuedAt":1800000000,"expiresAt":1900000000,"key":"{}"}}"#,
            key().id()
        );
        assert_eq!(payload, expected);
        assert_eq!(licence().sign(&key()).unwrap(), signed(expected.as_bytes()));
    }

    #[test]
    fn the_longest_token_is_within_the_limit() {
        let longest = Licence { issued_at: Timestamp::MIN, expires_at: Timestamp::MIN, ..licence() };
        let token = longest.sign(&key()).unwrap();
        assert!(token.len() < Licence::TOKEN_BYTES_MAX, "{}", token.len());
        assert_eq!(Licence::read(&token).map(|read| read.licence), Ok(longest));
    }

    #[test]
    fn only_paid_plans_are_signed_and_only_by_the_key_that_the_licence_names() {
        let core = Licence { plan: Plan::Core, ..licence() };
        assert_eq!(core.sign(&key()), Err(CannotSign::UnpaidPlan(Plan::Core)));
        let other = SigningKey::from_bytes(&[8; 32]);
        let refused = CannotSign::OtherKey { expected: key().id(), got: other.id() };
        assert_eq!(licence().sign(&other), Err(refused));
    }

    #[test]
    fn a_payload_in_another_spelling_is_refused_although_it_is_signed() {
        let keys = LicenceKeys::new([key().verifying_key()]);
        let payload = String::from_utf8(licence().payload()).unwrap();
        assert!(keys.authenticate(&signed(payload.as_bytes())).is_ok());
        for (from, to) in [
            (":", ": "),
            ("{", " {"),
            ("}", "}\n"),
            ("6c3f9a52", "6C3F9A52"),
            ("0b8e1a3c", "0B8E1A3C"),
            ("pro", "Pro"),
            ("pro", "core"),
            ("pro", "pr\\u006f"),
            ("1800000000", "18e8"),
            ("1800000000", "-0"),
            ("1800000000", "\"1800000000\""),
            ("1900000000", "9223372036854775807"),
            ("1900000000", "253402300800"),
            ("\"plan\":\"pro\"", "\"plan\":\"pro\",\"plan\":\"pro\""),
            ("\"plan\":\"pro\",", ""),
            ("}", ",\"more\":1}"),
        ] {
            let changed = payload.replace(from, to);
            assert_ne!(changed, payload);
            let refused = keys.authenticate(&signed(changed.as_bytes()));
            assert_eq!(refused, Err(InvalidLicence::Damaged), "{changed}");
        }
        for payload in [&b""[..], b"null", b"[]", b"{}", b"\xff\xfe"] {
            assert_eq!(keys.authenticate(&signed(payload)), Err(InvalidLicence::Damaged));
        }
    }

    #[test]
    fn a_signature_over_the_payload_without_its_domain_is_refused() {
        let keys = LicenceKeys::new([key().verifying_key()]);
        let token = licence().sign(&key()).unwrap();
        let (start, _) = token.rsplit_once('.').unwrap();
        for message in
            [start.to_owned(), format!("tithe-licence:{}", &start[3..]), format!("tithe-session:{start}")]
        {
            let signature = URL_SAFE_NO_PAD.encode(key().sign(message.as_bytes()));
            let refused = keys.authenticate(&format!("{start}.{signature}"));
            assert_eq!(refused, Err(InvalidLicence::BadSignature), "{message}");
        }
    }
}
