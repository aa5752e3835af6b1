//! Proofs of identity that count once.

use tithe_clock::Timestamp;
use tithe_trust::NostrPubkey;

/// Names a proof: a challenge's nonce, or the id of a NIP-98 event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofId(pub [u8; 32]);

/// What a proof proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofKind {
    /// Who asks for a token.
    Login,
    /// Who sends one request.
    HttpAuth,
}

impl ProofKind {
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

/// A proof that was used, kept for as long as it would be valid otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedProof {
    /// What names it.
    pub id: ProofId,
    /// What it proved.
    pub kind: ProofKind,
    /// Whose key.
    pub pubkey: NostrPubkey,
    /// When it was used.
    pub used_at: Timestamp,
    /// From when on it is not valid anyway, and may be forgotten.
    pub expires_at: Timestamp,
}
