//! Consumes an authentication nonce.

use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::{AuthNonce, AuthNonceId, AuthNonceKind};
use tithe_clock::Timestamp;
use tithe_free_tier::Identity;
use tithe_trust::{NostrPubkey, RequestAuth};

/// Consumes an authentication nonce, once.
///
/// A login also marks its identity as seen, if the identity has a row. It makes no row: keys cost nothing, and whoever only
/// logs in must leave nothing behind but the nonce. Returns that identity, or `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthNonceConsume {
    /// The nonce.
    pub nonce: AuthNonceId,
    /// What it is used for.
    pub kind: AuthNonceKind,
    /// The key that signed it.
    pub pubkey: NostrPubkey,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl Command for AuthNonceConsume {
    type Reply = Option<Box<Identity>>;
    const NAME: &'static str = "auth_nonce_consume";

    fn declare(&self, keys: &mut RowKeys) {
        keys.auth_nonces.insert(self.nonce);
        if self.kind == AuthNonceKind::Login {
            keys.identities.insert(self.pubkey);
        }
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Option<Box<Identity>>, Refusal> {
        let &Self { nonce: id, kind, pubkey, expires_at } = self;
        let used_at = books.now();
        // A nonce that expired while the command was queued may have been consumed and deleted.
        if books.rows.auth_nonces.contains(&id)? || expires_at <= used_at {
            return Err(Refusal::AuthNonceUsed);
        }
        books.rows.auth_nonces.put(AuthNonce { id, kind, pubkey, used_at, expires_at })?;
        if kind != AuthNonceKind::Login {
            return Ok(None);
        }
        let Some(known) = books.rows.identities.get(&pubkey)? else { return Ok(None) };
        let seen = Identity { trust: known.trust.seen(used_at), window: known.window.clone() };
        books.rows.identities.put(seen.clone())?;
        Ok(Some(Box::new(seen)))
    }
}

impl From<RequestAuth> for AuthNonceConsume {
    fn from(RequestAuth { pubkey, event_id, expires_at }: RequestAuth) -> Self {
        Self { nonce: AuthNonceId(event_id), kind: AuthNonceKind::HttpAuth, pubkey, expires_at }
    }
}

/// The signature of a request, whose nonce is consumed by the command that begins what the request asks for: either both happen, or
/// neither does and the same bytes can be sent again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestSignature(pub Option<AuthNonceConsume>);

impl RequestSignature {
    /// Declares the rows that consuming the nonce needs.
    pub(crate) fn declare(&self, keys: &mut RowKeys) {
        if let Some(nonce) = &self.0 {
            nonce.declare(keys);
        }
    }

    /// Consumes the signature of a request that begins now.
    pub(crate) fn consume(self, books: &mut Books<'_>) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), |nonce| nonce.decide(books).map(drop))
    }

    /// Consumes the signature of a request that continues an abandoned one: the same bytes may have begun that.
    pub(crate) fn consume_again(self, books: &mut Books<'_>) -> Result<(), Refusal> {
        match self.consume(books) {
            Err(Refusal::AuthNonceUsed) => Ok(()),
            other => other,
        }
    }
}
