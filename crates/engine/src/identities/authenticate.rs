//! Authentication: the identity that a request presents.

use super::auth_nonce_consume::AuthNonceConsume;
use super::service::Identities;
use crate::error::{EngineError, InvalidCredential};
use crate::idempotency::Seen;
use crate::records::{AuthNonceId, AuthNonceKind, IdempotencyRequest};
use tithe_trust::{AuthError, HttpAuth, NostrPubkey, RequestAuth, SignedRequest, check_http_auth};

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

/// An identity whose credentials are all valid, unless the signature was used before.
struct Presented {
    pubkey: NostrPubkey,
    signature: Option<RequestAuth>,
}

impl Identities {
    /// The identity that a request presents; `None` when it presents nothing. The signature of a request is consumed, once on
    /// all servers.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when a credential is invalid or was used before: it is never taken for anonymous.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Option<NostrPubkey>, EngineError> {
        let Some(presented) = self.presented(credentials)? else { return Ok(None) };
        if let Some(RequestAuth { pubkey, event_id, expires_at }) = presented.signature {
            let (nonce, kind) = (AuthNonceId(event_id), AuthNonceKind::HttpAuth);
            self.core.committer.commit(AuthNonceConsume { nonce, kind, pubkey, expires_at }).await?;
        }
        Ok(Some(presented.pubkey))
    }

    /// Consumes the signature of a request, if it has one. Of copies of a request with an idempotency key that arrive at once, the
    /// first does; the others find its key.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when the signature was used before, for something else.
    pub async fn consume(
        &self,
        credentials: &Credentials,
        request: Option<&IdempotencyRequest>,
    ) -> Result<(), EngineError> {
        match (self.authenticate(credentials).await, request) {
            (Err(used @ EngineError::InvalidIdentity(_)), Some(request)) => {
                match self.idempotency.seen(request).await? {
                    Seen::Never => Err(used),
                    Seen::Begun | Seen::Answered(_) => Ok(()),
                }
            }
            (consumed, _) => consumed.map(drop),
        }
    }

    /// The identity that a request presents, without consuming a signature: for requests that change nothing, which may be repeated
    /// while the signature is valid, and for finding out whether a request was answered before.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when a credential is invalid: it is never taken for anonymous.
    pub fn identify(&self, credentials: &Credentials) -> Result<Option<NostrPubkey>, EngineError> {
        Ok(self.presented(credentials)?.map(|presented| presented.pubkey))
    }

    /// Checks every credential, so that no invalid one hides behind a valid one.
    fn presented(&self, credentials: &Credentials) -> Result<Option<Presented>, InvalidCredential> {
        let now = self.core.now();
        let mut keys = Vec::new();
        for token in &credentials.tokens {
            keys.push(self.tokens.verify(token, now)?);
        }
        let mut signature = None;
        if let Some(signed) = &credentials.signed {
            let SignedCredential { authorization, urls, method, body } = signed;
            let request = SignedRequest { urls, method, body };
            let checked = check_http_auth(&HttpAuth::parse(authorization)?, &request, now);
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
        Ok(Some(Presented { pubkey: *pubkey, signature }))
    }
}
