//! Challenges, as they are in headers.

use crate::quoted::quoted;
use tithe_clock::Timestamp;

/// A challenge as it is in a header, `WWW-Authenticate: Payment …`, and as it comes back in a credential: texts.
///
/// Nothing in it may be trusted before [`ChallengeKey::issued`](super::ChallengeKey::issued) has recognized it, and its description never.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenge {
    /// The id: a MAC over what follows, except for the description.
    pub id: String,
    /// What the challenge protects.
    pub realm: String,
    /// The payment method, [`METHOD`](super::METHOD) in challenges of ours.
    pub method: String,
    /// The intent, see [`Intent`](super::Intent).
    pub intent: String,
    /// What is asked for, base64url of canonical JSON.
    pub request: String,
    /// When the challenge expires, as RFC 3339 says.
    pub expires: Option<String>,
    /// The digest of the body, see [`ContentDigest`](super::ContentDigest).
    pub digest: Option<String>,
    /// Data of the server, base64url of canonical JSON.
    pub opaque: Option<String>,
    /// What is paid for, for people.
    pub description: Option<String>,
}

impl Challenge {
    /// The value of the `WWW-Authenticate` header.
    ///
    /// A description that isn't ASCII is written as UTF-8, which a header can carry as bytes.
    ///
    /// # Errors
    /// [`InvalidChallenge::Description`] if a text has control characters; no other text of an issued challenge can have
    /// them.
    pub fn header(&self) -> Result<String, InvalidChallenge> {
        let required = [
            ("id", &self.id),
            ("realm", &self.realm),
            ("method", &self.method),
            ("intent", &self.intent),
            ("request", &self.request),
        ];
        let optional = [
            ("expires", &self.expires),
            ("digest", &self.digest),
            ("description", &self.description),
            ("opaque", &self.opaque),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let parameters: Result<Vec<_>, _> = required
            .into_iter()
            .chain(optional)
            .map(|(name, value)| quoted(value).map(|value| format!("{name}={value}")))
            .map(|parameter| parameter.ok_or(InvalidChallenge::Description))
            .collect();
        Ok(format!("Payment {}", parameters?.join(", ")))
    }

    /// The slots of the MAC: what is missing is empty.
    pub(super) fn slots(&self) -> [&str; 7] {
        let Self { realm, method, intent, request, .. } = self;
        let [expires, digest, opaque] =
            [&self.expires, &self.digest, &self.opaque].map(|slot| slot.as_deref().unwrap_or_default());
        [realm, method, intent, request, expires, digest, opaque]
    }
}

/// The time up to the second, rounded down, as RFC 3339 writes it.
pub(super) fn to_seconds(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// The reason why there is no such challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidChallenge {
    /// The realm is not one.
    #[error("invalid realm: expected printable ASCII without |")]
    Realm,
    /// The description cannot be sent.
    #[error("invalid description: expected no control characters")]
    Description,
}
