//! Nonces of authentication that may be used once.

use tithe_clock::Timestamp;
use tithe_trust::NostrPubkey;

/// What identifies an authentication nonce: the nonce of a challenge, or the id of a NIP-98 event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthNonceId(pub [u8; 32]);

/// What an authentication nonce was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthNonceKind {
    /// A login: an identity token was issued for it.
    Login,
    /// One signed request (NIP-98).
    HttpAuth,
}

impl AuthNonceKind {
    /// The name that the stores use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::HttpAuth => "http_auth",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Login, Self::HttpAuth].into_iter().find(|kind| kind.name() == name)
    }
}

/// A consumed authentication nonce. It is kept until it would have expired anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthNonce {
    /// The nonce.
    pub id: AuthNonceId,
    /// What it was used for.
    pub kind: AuthNonceKind,
    /// The key that signed it.
    pub pubkey: NostrPubkey,
    /// When it was consumed.
    pub used_at: Timestamp,
    /// When it would have expired; from then on the row is not needed.
    pub expires_at: Timestamp,
}
