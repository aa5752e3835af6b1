//! Challenges to pay a deposit, and what clients do with sessions. Checking a credential needs no look-up.

use super::OfferedDeposit;
use crate::error::{EngineError, InvalidProof};
use crate::records::IdempotencyId;
use crate::sessions::{SessionAccess, Sessions};
use std::fmt;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::Sats;
use tithe_paywall::payment::{self, Paid, SessionAction, SessionRequest};

/// The unit that challenges name the price of: what is really charged is what a request has used.
const UNIT: &str = "request";

/// How long a credential may be on its way to the beginning of its request. What is known of a challenge must be known for so long at least:
/// otherwise its request could begin a second time just after the response of the first has been deleted.
pub(super) const BEGIN_MARGIN: Duration = Duration::from_mins(5);

/// A challenge of this server, and what a client does with it who holds the preimage that this needs. What has become of the payment is in the
/// store.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredential {
    pub(super) challenge_id: String,
    /// The payment hash of the challenge's own deposit.
    pub(super) deposit: PaymentHash,
    pub(super) expires: Option<Timestamp>,
    pub(super) action: SessionAction,
}

impl SessionCredential {
    /// The id of the challenge.
    #[must_use]
    pub fn challenge_id(&self) -> &str {
        &self.challenge_id
    }

    /// What the client does.
    #[must_use]
    pub const fn action(&self) -> &SessionAction {
        &self.action
    }

    /// The payment hash that names the session: the one that the client names, or else that of the challenge's deposit.
    #[must_use]
    pub fn payment_hash(&self) -> PaymentHash {
        self.action.session_id().map_or(self.deposit, |id| PaymentHash::from_bytes(*id))
    }
}

impl SessionCredential {
    /// The idempotency key of the one request that the challenge is used for.
    pub(super) fn key(&self, access: &SessionAccess) -> IdempotencyId {
        IdempotencyId { scope: access.scope(), key: self.challenge_id.clone() }
    }

    /// Whether the challenge has expired.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

impl fmt::Debug for SessionCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The id of a challenge is half of what claims its deposit.
        f.debug_struct("SessionCredential")
            .field("deposit", &self.deposit)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// The value of the `WWW-Authenticate` header that offers a session by the scheme `Payment`, intent `session`
    /// (`draft-lightning-session-00`). `realm` is what it protects, such as the host.
    ///
    /// Each challenge has an id of its own, also for the same deposit: it is used for one request, and a client that asks for the same twice
    /// wants two answers. What differs is in `request`, which every client sends back.
    ///
    /// # Errors
    /// [`EngineError::Internal`] when the realm is empty or not plain ASCII.
    pub fn session_challenge(&self, offered: &OfferedDeposit, realm: &str) -> Result<String, EngineError> {
        let OfferedDeposit { unit, deposit, invoice, .. } = offered;
        let request = SessionRequest {
            deposit_invoice: Some(invoice.payment_request.clone()),
            deposit_amount: Some(*deposit),
            ..self.session_terms(*unit, *invoice.payment_hash.as_bytes())
        };
        let expires = invoice.expires_at.min(self.latest_expiry());
        self.issue_challenge(payment::Request::Session(request), expires, realm)
    }

    /// As [`Self::session_challenge`], without a deposit: it opens and tops up nothing, and is good for using and closing a session that is open.
    ///
    /// # Errors
    /// [`EngineError::Internal`] when the realm is empty or not plain ASCII.
    pub fn session_challenge_without_deposit(&self, unit: Sats, realm: &str) -> Result<String, EngineError> {
        // Nobody knows a preimage of it.
        let request = self.session_terms(unit, self.core.ports.entropy.bytes());
        let expires = (self.core.now() + self.core.settings.invoice_expiry).min(self.latest_expiry());
        self.issue_challenge(payment::Request::Session(request), expires, realm)
    }

    /// When a challenge of this moment expires at the latest: before the response of its request may be deleted. Otherwise a credential that is
    /// repeated would have its request done, and charged, again.
    fn latest_expiry(&self) -> Timestamp {
        self.core.now() + self.core.settings.idempotency_keep.saturating_sub(BEGIN_MARGIN)
    }

    fn session_terms(&self, unit: Sats, payment_hash: [u8; 32]) -> SessionRequest {
        SessionRequest {
            amount: unit,
            description: Some(format!("a session, offer {}", self.core.new_id())),
            unit_type: Some(UNIT.to_owned()),
            deposit_invoice: None,
            payment_hash,
            deposit_amount: None,
            idle_timeout: Some(self.core.settings.payment_session_idle),
        }
    }

    /// Checks a credential of the intent `session` as far as that needs no look-up: that the challenge is one of ours and unaltered, and that
    /// the preimage is that of its deposit (`open`, `topUp`) or of the session (`bearer`, `close`).
    ///
    /// # Errors
    /// [`EngineError::InvalidProof`].
    pub fn session_credential(&self, authorization: &str) -> Result<SessionCredential, EngineError> {
        let credential =
            payment::Credential::parse(authorization).map_err(InvalidProof::PaymentCredential)?;
        let proof = credential.verify(&self.challenges).map_err(InvalidProof::Challenge)?;
        let Paid::Session { request, action } = proof.paid else {
            return Err(InvalidProof::Challenge(payment::Refused::Intent).into());
        };
        Ok(SessionCredential {
            challenge_id: proof.challenge_id,
            deposit: PaymentHash::from_bytes(request.payment_hash),
            expires: proof.expires,
            action,
        })
    }
}
