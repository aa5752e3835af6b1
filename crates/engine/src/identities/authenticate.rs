//! Authentication: the identity that a request presents.

use super::auth_nonce_consume::RequestSignature;
use super::service::Identities;
use crate::error::{EngineError, InvalidCredential};
use tithe_trust::{AuthError, HttpAuth, NostrPubkey, SignedRequest, check_http_auth, check_signed_request};

/// Everything that a request presents to prove an identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Identity tokens, wherever they were found.
    pub tokens: Vec<String>,
    /// The signature of the request (NIP-98), if it has one.
    pub signed: Option<SignedCredential>,
}

/// A request that is signed by an event in its `Authorization` header (NIP-98).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCredential {
    /// The header: `Nostr <base64 of an event>`.
    pub authorization: String,
    /// The absolute URLs that the client may have used.
    pub urls: Vec<String>,
    /// The method of the request.
    pub method: String,
    /// The body of the request.
    pub body: Vec<u8>,
}

/// The identity that a request presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The identity.
    pub pubkey: NostrPubkey,
    /// The signature of the request, which the command that begins the request consumes. Others have not checked whether it was
    /// used before.
    pub signature: RequestSignature,
}

/// Whether a signature must be fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Any,
}

impl Identities {
    /// The identity that a request presents; `None` when it presents nothing. A signature is not consumed: a request that changes
    /// nothing may be repeated while its signature is fresh.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when a credential is invalid: it is never taken for anonymous.
    pub fn identify(&self, credentials: &Credentials) -> Result<Option<Presented>, EngineError> {
        Ok(self.presented(credentials, Age::Fresh)?)
    }

    /// Like [`Self::identify`], with signatures of any age: enough for finding out whether the same request was answered before,
    /// and for nothing else.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when a credential is invalid.
    pub fn identify_repeated(&self, credentials: &Credentials) -> Result<Option<NostrPubkey>, EngineError> {
        Ok(self.presented(credentials, Age::Any)?.map(|presented| presented.pubkey))
    }

    /// Checks every credential, so that no invalid one hides behind a valid one.
    fn presented(&self, credentials: &Credentials, age: Age) -> Result<Option<Presented>, InvalidCredential> {
        let now = self.core.now();
        let mut keys = Vec::new();
        for token in &credentials.tokens {
            keys.push(self.tokens.verify(token, now)?);
        }
        let mut signature = None;
        if let Some(signed) = &credentials.signed {
            let SignedCredential { authorization, urls, method, body } = signed;
            let request = SignedRequest { urls, method, body };
            let event = HttpAuth::parse(authorization)?;
            let checked = match age {
                Age::Fresh => check_http_auth(&event, &request, now),
                Age::Any => check_signed_request(&event, &request),
            };
            let checked = checked.map_err(|wrong| match wrong {
                AuthError::Url => InvalidCredential::Url { expected: urls.join(" or ") },
                other => other.into(),
            })?;
            keys.push(checked.pubkey);
            signature = Some(checked);
        }
        let Some((pubkey, others)) = keys.split_first() else { return Ok(None) };
        if others.iter().any(|other| other != pubkey) {
            return Err(InvalidCredential::Several);
        }
        Ok(Some(Presented { pubkey: *pubkey, signature: RequestSignature(signature.map(Into::into)) }))
    }
}
