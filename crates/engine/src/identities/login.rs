//! Logging in: a signed challenge for a token.

use super::auth_nonce_consume::{AuthNonceConsume, RequestSignature};
use super::service::Identities;
use super::view::IdentityView;
use crate::error::EngineError;
use crate::idempotency::KeyedResponse;
use crate::records::{AuthNonceId, AuthNonceKind, IdempotencyRequest, StoredResponse};
use tithe_trust::{Challenge, IdentityToken, Login, Site, VerifiedEvent};
use tracing::info;

/// A request to log in.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// The event that carries the nonce of a challenge.
    pub event: VerifiedEvent,
    /// The host names of this server. An event that names a site must name one of them.
    pub hosts: Vec<String>,
    /// Whether the event must name a site.
    pub site_required: bool,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<IdempotencyRequest>,
}

/// A successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The token that proves the identity from now on.
    pub token: IdentityToken,
    /// The identity.
    pub identity: IdentityView,
}

impl Identities {
    /// A nonce to be signed. Nothing is stored.
    #[must_use]
    pub fn challenge(&self) -> Challenge {
        self.challenges.issue(self.core.now(), self.core.ports.entropy.bytes())
    }

    /// Consumes a signed challenge, once, and returns a token for it, in the response that `render` makes.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when the event proves nothing or was used before. An event that proves nothing leaves
    /// nothing behind, not even its idempotency key.
    pub async fn login(
        &self,
        request: LoginRequest,
        render: impl Fn(&LoggedIn) -> Result<StoredResponse, EngineError>,
    ) -> Result<KeyedResponse, EngineError> {
        let LoginRequest { event, hosts, site_required, idempotency } = request;
        if let Some(key) = &idempotency
            && let Some(response) = self.idempotency.stored(key).await?
        {
            return Ok(KeyedResponse::replay(response));
        }
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let site = if site_required { Site::Named(&hosts) } else { Site::NamedOrUnnamed(&hosts) };
        let login = self.challenges.login(&event, site, self.core.now())?;
        let Login { pubkey, nonce, expires_at } = login;
        let nonce = AuthNonceId(nonce.to_bytes());
        let consume = AuthNonceConsume { nonce, kind: AuthNonceKind::Login, pubkey, expires_at };
        let logging_in = async {
            let logged_in = LoggedIn {
                token: self.tokens.issue(pubkey, self.core.now()),
                identity: self.view(pubkey).await?,
            };
            info!(%pubkey, "logged in");
            render(&logged_in)
        };
        self.idempotency.once(idempotency, RequestSignature(Some(consume)), logging_in).await
    }
}
