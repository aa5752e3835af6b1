//! Credentials: a challenge that came back, with what proves that it was paid.

use super::fields::{Fields, InvalidField};
use super::{Challenge, Problem, base64url};
use std::fmt;

const SCHEME: &str = "Payment";

/// What a client sends after paying: `Authorization: Payment <base64url of JSON>`
/// (`draft-httpauth-payment-00`, "Credentials").
///
/// It is a secret: `Debug` hides its payload. Nothing in it may be trusted before [`verify`](Credential::verify) has
/// accepted it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub(super) challenge: Challenge,
    pub(super) source: Option<String>,
    pub(super) payload: Fields,
}

impl Credential {
    /// The maximum length of the header's value, in bytes.
    pub const TEXT_MAX: usize = 16_384;

    /// Whether the value of an `Authorization` header is of the scheme `Payment`, in any case.
    #[must_use]
    pub fn is_scheme_of(authorization: &str) -> bool {
        let (scheme, _) = scheme_and_token(authorization);
        scheme.eq_ignore_ascii_case(SCHEME)
    }

    /// Parses the value of an `Authorization` header.
    ///
    /// Fields that are not in the drafts are ignored. A name that occurs twice in an object is refused, because others might
    /// read the other value.
    ///
    /// # Errors
    /// [`InvalidCredential`].
    pub fn parse(authorization: &str) -> Result<Self, InvalidCredential> {
        if !Self::is_scheme_of(authorization) {
            return Err(InvalidCredential::Scheme);
        }
        if authorization.len() > Self::TEXT_MAX {
            return Err(InvalidCredential::TooLong);
        }
        let (_, token) = scheme_and_token(authorization);
        let json = Some(token).filter(|token| !token.is_empty()).and_then(base64url::decode);
        let fields =
            Fields::parse(&json.ok_or(InvalidCredential::NotBase64)?).ok_or(InvalidCredential::NotJson)?;
        let echoed = fields.object("challenge")?;
        let optional = |name| Ok::<_, InvalidField>(echoed.optional_text(name)?.map(String::from));
        let challenge = Challenge {
            id: echoed.text("challenge.id")?.to_owned(),
            realm: echoed.text("challenge.realm")?.to_owned(),
            method: echoed.text("challenge.method")?.to_owned(),
            intent: echoed.text("challenge.intent")?.to_owned(),
            request: echoed.text("challenge.request")?.to_owned(),
            expires: optional("challenge.expires")?,
            digest: optional("challenge.digest")?,
            opaque: optional("challenge.opaque")?,
            description: optional("challenge.description")?,
        };
        let source = fields.optional_text("source")?.map(String::from);
        Ok(Self { challenge, source, payload: fields.object("payload")?.clone() })
    }

    /// The challenge as the client sent it back.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// Who paid, as the client says it: nothing proves it.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("challenge", &self.challenge.id).finish_non_exhaustive()
    }
}

fn scheme_and_token(authorization: &str) -> (&str, &str) {
    let value = authorization.trim_matches(' ');
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    (scheme, token.trim_start_matches(' '))
}

/// The reason why a header is no credential. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredential {
    /// The header is of another scheme.
    #[error("unknown scheme: expected Payment")]
    Scheme,
    /// The header is too long.
    #[error("credential too long: expected at most {} bytes", Credential::TEXT_MAX)]
    TooLong,
    /// The token is not base64url.
    #[error("invalid credential: expected base64url without padding")]
    NotBase64,
    /// The token is not JSON.
    #[error("invalid credential: expected a JSON object in which no name occurs twice")]
    NotJson,
    /// A field is missing or malformed.
    #[error(transparent)]
    Field(#[from] InvalidField),
}

impl InvalidCredential {
    /// The problem to answer with.
    #[must_use]
    pub const fn problem(&self) -> Problem {
        Problem::MalformedCredential
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"challenge":{"id":"i","realm":"r","method":"lightning","intent":"charge","request":"e30"},"payload":{"preimage":"p"}}"#;

    fn parse(json: &str) -> Result<Credential, InvalidCredential> {
        Credential::parse(&format!("Payment {}", base64url::encode(json)))
    }

    #[test]
    fn a_credential_is_a_challenge_and_a_payload() {
        let credential = parse(GOOD).unwrap();
        let challenge = credential.challenge();
        let slots =
            [&challenge.id, &challenge.realm, &challenge.method, &challenge.intent, &challenge.request];
        assert_eq!(slots, ["i", "r", "lightning", "charge", "e30"]);
        assert_eq!(challenge.expires, None);
        assert_eq!(credential.source(), None);
        let more = GOOD.replace("\"payload\"", "\"source\":\"did:key:z\",\"new\":[{}],\"payload\"").replace(
            "\"id\"",
            "\"expires\":\"e\",\"digest\":\"d\",\"opaque\":\"o\",\"description\":\"t\",\"new\":1,\"id\"",
        );
        let credential = parse(&more).unwrap();
        assert_eq!(credential.source(), Some("did:key:z"));
        let Challenge { expires, digest, opaque, description, .. } = credential.challenge().clone();
        assert_eq!([expires, digest, opaque, description].map(Option::unwrap), ["e", "d", "o", "t"]);
    }

    #[test]
    fn a_scheme_may_be_in_any_case_and_a_token_padded() {
        let token = base64url::encode(GOOD);
        let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
        for header in [format!("payment {token}"), format!("PAYMENT   {padded} ")] {
            assert!(Credential::is_scheme_of(&header));
            assert_eq!(Credential::parse(&header), parse(GOOD), "{header}");
        }
        for other in ["", "Bearer abc", "Payments abc", "L402 a:b"] {
            assert_eq!(Credential::parse(other), Err(InvalidCredential::Scheme), "{other:?}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (from, to, error) in [
            ("\"challenge\"", "\"other\"", "missing challenge: expected an object"),
            ("\"id\":\"i\",", "", "missing challenge.id: expected a string"),
            ("\"id\":\"i\",", "\"id\":\"\",", "missing challenge.id: expected a string"),
            ("\"realm\"", "\"other\"", "missing challenge.realm: expected a string"),
            ("\"lightning\"", "1", "invalid challenge.method: expected a string"),
            ("\"intent\"", "\"Intent\"", "missing challenge.intent: expected a string"),
            ("\"e30\"", "{}", "invalid challenge.request: expected a string"),
            ("\"id\"", "\"expires\":1,\"id\"", "invalid challenge.expires: expected a string"),
            ("\"payload\"", "\"source\":{},\"payload\"", "invalid source: expected a string"),
            ("{\"preimage\":\"p\"}", "\"p\"", "invalid payload: expected an object"),
            (",\"payload\":{\"preimage\":\"p\"}", "", "missing payload: expected an object"),
            (
                "\"preimage\":\"p\"",
                "\"preimage\":\"p\",\"preimage\":\"q\"",
                "invalid credential: expected a JSON object in which no name occurs twice",
            ),
            (
                "{\"preimage\":\"p\"}}",
                "",
                "invalid credential: expected a JSON object in which no name occurs twice",
            ),
        ] {
            assert_eq!(parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string(), error, "{from}");
        }
        // The last is what some clients still send, of an older draft.
        for wrong in [
            "Payment",
            "Payment ",
            "Payment !",
            "Payment AB",
            "Payment a b",
            "Payment method=\"lightning\", preimage=\"0\"",
        ] {
            assert_eq!(Credential::parse(wrong), Err(InvalidCredential::NotBase64), "{wrong:?}");
        }
        let long = format!("Payment {}", "A".repeat(Credential::TEXT_MAX));
        assert_eq!(Credential::parse(&long), Err(InvalidCredential::TooLong));
    }

    #[test]
    fn no_debug_shows_a_payload() {
        let shown = format!("{:?}", parse(&GOOD.replace("\"p\"", "\"hunter2\"")).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_header_is_judged_without_a_panic(json in "[\\[\\]{}\":,a0\\\\u. -]{0,40}|\\PC*", text in "Payment \\PC*") {
            let _ = parse(&json);
            let _ = Credential::parse(&text);
        }
    }
}
