//! The use cases of receipts.

use super::receipt::Receipt;
use crate::core::Core;
use crate::error::EngineError;
use crate::sessions::{PaidRequest, SessionAccess};
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_ledger::credits::InstallId;
use tithe_lightning::PaymentHash;
use tithe_paywall::KeyId;
use tithe_sessions::{SessionId, SessionRequest};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// The kind of the Nostr events that receipts are: `78`, regular events with data of one application (NIP-78).
const RECEIPT_KIND: u16 = 78;

/// The tag that all receipts of this kind have in common (NIP-78 asks for one).
const RECEIPT_TAG: [&str; 2] = ["d", "tithe:receipt"];

/// What a receipt is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptOf {
    /// The job or the request with this id.
    Work(Uuid),
    /// The request that the payment with this hash has bought.
    Payment(PaymentHash),
}

/// Who reads a receipt. Whoever may read the work may read its receipt.
#[derive(Debug, Clone, Default)]
pub struct ReceiptReader {
    /// The identity.
    pub identity: Option<NostrPubkey>,
    /// The install.
    pub install: Option<InstallId>,
    /// The macaroon or the proof that the reader has presented.
    pub payer: Option<ReceiptPayer>,
}

/// Who has paid for the work, as the reader says.
#[derive(Debug, Clone)]
pub enum ReceiptPayer {
    /// The holder of a session's macaroon.
    Session(SessionAccess),
    /// Whoever has the proof of a payment.
    Payment(PaidRequest),
}

impl ReceiptReader {
    /// The session whose requests the reader may read, and the key that the macaroon or the token was narrowed to.
    fn session(&self) -> Option<(SessionId, Option<KeyId>)> {
        match self.payer.as_ref()? {
            ReceiptPayer::Session(access) => Some((access.session, access.keys.last().map(|key| key.id))),
            ReceiptPayer::Payment(paid) => Some((paid.session, paid.narrowed_to())),
        }
    }

    /// Whether the reader may read this request of a session.
    pub(super) fn may_read(&self, request: &SessionRequest) -> bool {
        self.session().is_some_and(|(session, key)| {
            request.session == session && key.is_none_or(|key| request.keys.contains(&key))
        })
    }
}

/// The use cases of receipts.
pub struct Receipts {
    pub(super) core: Arc<Core>,
}

impl Receipts {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// A receipt that the reader may read. Whoever knows the id of a job may read that job's.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such work, it is not the reader's, or nothing was charged for it yet; for a payment, also
    /// when the reader's proof is not of that payment. [`EngineError::InvalidIdentity`] when the reader's macaroon was revoked;
    /// [`EngineError::Busy`].
    pub async fn read(&self, of: ReceiptOf, reader: &ReceiptReader) -> Result<Receipt, EngineError> {
        match (of, &reader.payer) {
            (ReceiptOf::Work(id), payer) => {
                if let Some(job) = self.find_job(id).await? {
                    return Ok(job);
                }
                if let Some(ReceiptPayer::Session(access)) = payer {
                    access.check_revoked(&self.core).await?;
                }
                self.find_request(id, reader).await?.ok_or_else(|| EngineError::not_found("receipt", &id))
            }
            (ReceiptOf::Payment(hash), Some(ReceiptPayer::Payment(paid))) if paid.payment_hash == hash => {
                let bought = self.find_bought(paid).await?;
                bought.ok_or_else(|| EngineError::not_found("receipt", &hash))
            }
            (ReceiptOf::Payment(hash), _) => Err(EngineError::not_found("receipt", &hash)),
        }
    }

    /// The key that signs receipts; `None` if none is configured.
    #[must_use]
    pub fn pubkey(&self) -> Option<NostrPubkey> {
        self.core.settings.nostr_key.as_ref().map(tithe_trust::SecretKey::pubkey)
    }

    /// Signs a receipt: a Nostr event (NIP-01, NIP-78) with the receipt as its content, as JSON. Its time is that of the charge, so that the
    /// event has the same id whenever it is made. `None` if no key is configured.
    ///
    /// `url` is where the receipt can be read, if that is known.
    #[must_use]
    pub fn sign(&self, receipt: &str, at: Timestamp, url: Option<&str>) -> Option<String> {
        let key = self.core.settings.nostr_key.as_ref()?;
        let url = url.map(|url| ["r", url]);
        let tags: Vec<&[&str]> =
            std::iter::once(&RECEIPT_TAG[..]).chain(url.as_ref().map(|tag| &tag[..])).collect();
        Some(key.sign(RECEIPT_KIND, &tags, receipt, at, self.core.ports.entropy.bytes()))
    }
}
