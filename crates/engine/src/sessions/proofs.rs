//! Challenges to pay for one request, and the proofs that it was paid for. Checking one needs no look-up.

use super::keys::presented_keys;
use super::macaroons::MacaroonKeys;
use super::request_offers::OfferedRequest;
use super::service::Sessions;
use crate::error::{EngineError, InvalidProof};
use crate::error_chain::chain;
use std::collections::{BTreeMap, BTreeSet};
use tithe_clock::Timestamp;
use tithe_lightning::{Network, PaymentHash};
use tithe_paywall::l402::{self, Credential, Identifier};
use tithe_paywall::payment::{self, ChallengeKey, ChargeRequest, NewChallenge, Paid};
use tithe_paywall::{KeyId, RequestDigest, RootKey};
use tithe_sessions::{PresentedKey, SessionId};
use tracing::error;
use uuid::Uuid;

/// How much of the digest of a request is in the id of its token, in bytes.
const DIGEST_BYTES: usize = 16;

/// A proof as a client presents it: the value of an `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub enum PresentedProof {
    /// Of the scheme `L402`, or its older name `LSAT`: a token and a preimage.
    L402(String),
    /// Of the scheme `Payment`: a credential.
    Payment(String),
}

/// A payment whose payer is known to hold its preimage, as an answer to a challenge of this server. What has become of it is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidRequest {
    /// The session that the payment was for.
    pub session: SessionId,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// The id of the challenge that the proof answers, if it is of the scheme `Payment`.
    challenge_id: Option<String>,
    /// The beginning of the digest of the request that it was for, if the proof says it.
    digest: Option<[u8; DIGEST_BYTES]>,
    /// The keys of the token, and those that it was narrowed from, oldest first, without the first.
    pub(super) keys: Vec<PresentedKey>,
    /// The models that the token may be used for; `None` means all.
    pub(super) models: Option<BTreeSet<String>>,
}

impl PaidRequest {
    /// Whether the payment was for a request of this digest, as far as the token says.
    #[must_use]
    pub fn is_for(&self, digest: RequestDigest) -> bool {
        self.digest.is_none_or(|start| start == start_of(digest))
    }

    /// The key of a token that was narrowed; `None` for the token of the offer itself, and for the scheme `Payment`.
    #[must_use]
    pub fn narrowed_to(&self) -> Option<KeyId> {
        self.keys.last().map(|key| key.id)
    }

    /// The id of the challenge that the proof answers, if it is of the scheme `Payment`.
    #[must_use]
    pub fn challenge_id(&self) -> Option<&str> {
        self.challenge_id.as_deref()
    }
}

impl Sessions {
    /// The L402 token of an offer: a macaroon in base64. The same offer always has the same one.
    ///
    /// # Errors
    /// [`EngineError::Internal`], which cannot occur.
    pub fn l402_token(&self, offered: &OfferedRequest) -> Result<String, EngineError> {
        self.macaroons.mint_token(offered)
    }

    /// The value of the `WWW-Authenticate` header that offers the same by the scheme `Payment`, intent `charge`
    /// (`draft-lightning-charge-00`). `realm` is what it protects, such as the host.
    ///
    /// The session is named in the request (`externalId`), and what is paid for, with its body, is in the session's row. The parameters
    /// `opaque` and `digest` say nothing: `@getalby/lightning-tools` does not send them back, and its proofs would be unknown.
    ///
    /// # Errors
    /// [`EngineError::Internal`] when the realm is empty or not plain ASCII.
    pub fn payment_challenge(&self, offered: &OfferedRequest, realm: &str) -> Result<String, EngineError> {
        let OfferedRequest { session, price, invoice, .. } = offered;
        let request = ChargeRequest {
            amount: *price,
            description: None,
            external_id: Some(session.to_string()),
            invoice: invoice.payment_request.clone(),
            payment_hash: *invoice.payment_hash.as_bytes(),
            network: network_of(self.core.ports.wallet.network()),
        };
        self.issue_challenge(payment::Request::Charge(request), invoice.expires_at, realm)
    }

    /// The value of the `WWW-Authenticate` header with a challenge of the scheme `Payment`.
    pub(super) fn issue_challenge(
        &self,
        request: payment::Request,
        expires: Timestamp,
        realm: &str,
    ) -> Result<String, EngineError> {
        let key = self.challenges.first().ok_or(EngineError::Internal)?;
        let challenge = key.issue(&NewChallenge {
            realm: realm.to_owned(),
            request,
            expires: Some(expires),
            digest: None,
            opaque: BTreeMap::new(),
            description: None,
        });
        challenge.and_then(|challenge| challenge.header()).map_err(|cause| {
            error!(error = chain(&cause), "there is no challenge");
            EngineError::Internal
        })
    }

    /// Checks a proof as far as that needs no look-up: that the challenge is one of ours and unaltered, that it has not expired, and that
    /// the preimage is that of its payment.
    ///
    /// # Errors
    /// [`EngineError::InvalidProof`].
    pub fn proven(&self, proof: &PresentedProof) -> Result<PaidRequest, EngineError> {
        match proof {
            PresentedProof::L402(authorization) => self.proven_by_token(authorization),
            PresentedProof::Payment(authorization) => Ok(self.proven_by_charge(authorization)?),
        }
    }

    fn proven_by_token(&self, authorization: &str) -> Result<PaidRequest, EngineError> {
        let credential = Credential::parse(authorization).map_err(InvalidProof::Credential)?;
        let root_keys: Vec<RootKey> = self.macaroons.root_keys(credential.macaroon().identifier()).collect();
        let l402::Proof { identifier, verified } =
            credential.verify(&root_keys).map_err(InvalidProof::Token)?;
        if verified.is_expired(self.core.now()) {
            return Err(InvalidProof::Expired.into());
        }
        let (session, digest) = parts_of(&identifier.token_id);
        Ok(PaidRequest {
            session,
            payment_hash: PaymentHash::from_bytes(identifier.payment_hash),
            challenge_id: None,
            digest: Some(digest),
            keys: presented_keys(&verified),
            models: verified.models().cloned(),
        })
    }
}

impl Sessions {
    /// A challenge that was paid in time and comes back late is as good as ever: what became of its payment is in the store.
    fn proven_by_charge(&self, authorization: &str) -> Result<PaidRequest, InvalidProof> {
        let credential =
            payment::Credential::parse(authorization).map_err(InvalidProof::PaymentCredential)?;
        let proof = credential.verify(&self.challenges).map_err(InvalidProof::Challenge)?;
        let Paid::Charge { request, .. } = proof.paid else {
            return Err(InvalidProof::Challenge(payment::Refused::Intent));
        };
        let session = request.external_id.and_then(|id| id.parse().ok());
        Ok(PaidRequest {
            session: session.ok_or(InvalidProof::Challenge(payment::Refused::UnknownChallenge))?,
            payment_hash: PaymentHash::from_bytes(request.payment_hash),
            challenge_id: Some(proof.challenge_id),
            digest: None,
            keys: Vec::new(),
            models: None,
        })
    }
}

/// The network, as challenges name it. They have no name for the oldest public network of tests.
const fn network_of(network: Network) -> Option<payment::Network> {
    match network {
        Network::Mainnet => Some(payment::Network::Mainnet),
        Network::Regtest => Some(payment::Network::Regtest),
        Network::Signet => Some(payment::Network::Signet),
        Network::Testnet => None,
    }
}

impl MacaroonKeys {
    /// The keys of challenges of the scheme `Payment`, from the same secrets.
    pub(super) fn challenge_keys(&self) -> Vec<ChallengeKey> {
        self.secrets().map(ChallengeKey::derive).collect()
    }

    /// The token of an offer.
    fn mint_token(&self, offered: &OfferedRequest) -> Result<String, EngineError> {
        let secret = self.secrets().next().ok_or(EngineError::Internal)?;
        let identifier = Identifier {
            payment_hash: *offered.invoice.payment_hash.as_bytes(),
            token_id: token_id(offered.session, offered.digest),
        };
        let minted = l402::mint(secret, self.location(), &identifier);
        minted.map(|token| token.encode_standard()).map_err(|_| EngineError::Internal)
    }
}

/// The id of a token: the id of the session, and the beginning of the digest of its request.
fn token_id(session: SessionId, digest: RequestDigest) -> [u8; 32] {
    let mut id = [0; 32];
    let parts = session.0.as_bytes().iter().chain(&start_of(digest)).copied().collect::<Vec<u8>>();
    id.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    id
}

fn parts_of(token_id: &[u8; 32]) -> (SessionId, [u8; DIGEST_BYTES]) {
    let (mut session, mut digest) = ([0; 16], [0; DIGEST_BYTES]);
    session.iter_mut().chain(&mut digest).zip(token_id).for_each(|(to, from)| *to = *from);
    (SessionId(Uuid::from_bytes(session)), digest)
}

fn start_of(digest: RequestDigest) -> [u8; DIGEST_BYTES] {
    let mut start = [0; DIGEST_BYTES];
    start.iter_mut().zip(digest.to_bytes()).for_each(|(to, from)| *to = from);
    start
}

impl std::fmt::Debug for PresentedProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It is worth what was paid.
        f.write_str(match self {
            Self::L402(_) => "L402(…)",
            Self::Payment(_) => "Payment(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_id_says_which_session_and_which_request() {
        let session = SessionId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        let digest = RequestDigest::of("POST", "/api/ask", "anonymous", b"{}");
        let id = token_id(session, digest);
        assert_eq!(id[..16], *session.0.as_bytes());
        assert_eq!(id[16..], digest.to_bytes()[..16]);
        assert_eq!(parts_of(&id), (session, start_of(digest)));
    }
}
