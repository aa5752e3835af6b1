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
use tithe_sessions::SessionId;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// The kind of the Nostr events that receipts are: `78`, regular events with data of one application (NIP-78).
const RECEIPT_KIND: u16 = 78;

/// The tag that all receipts of this kind have in common (NIP-78 asks for one).
const RECEIPT_TAG: [&str; 2] = ["d", "tithe:receipt"];

/// Who reads a receipt. Whoever may read the work may read its receipt.
#[derive(Debug, Clone, Default)]
pub struct ReceiptReader {
    /// The session whose macaroon was presented, or that a proof of payment has paid, and the key that it was narrowed to.
    pub(super) session: Option<(SessionId, Option<KeyId>)>,
    /// The identity.
    pub(super) identity: Option<NostrPubkey>,
    /// The install.
    pub(super) install: Option<InstallId>,
}

impl ReceiptReader {
    /// A reader with these credentials, if there are any.
    #[must_use]
    pub const fn new(identity: Option<NostrPubkey>, install: Option<InstallId>) -> Self {
        Self { session: None, identity, install }
    }

    /// The same reader with a session's macaroon.
    #[must_use]
    pub fn with_session(self, access: &SessionAccess) -> Self {
        Self { session: Some((access.session, access.keys.last().map(|key| key.id))), ..self }
    }

    /// The same reader with a proof of payment.
    #[must_use]
    pub fn with_proof(self, paid: &PaidRequest) -> Self {
        Self { session: Some((paid.session, paid.narrowed_to())), ..self }
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

    /// The receipt of a job. Whoever knows the job's id may read the job.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such job, or nothing was charged for it yet; [`EngineError::Busy`].
    pub async fn of_job(&self, id: Uuid) -> Result<Receipt, EngineError> {
        self.find_job(id).await?.ok_or_else(|| missing(&id))
    }

    /// The receipt of a piece of work that the reader may read.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is none, or it is not the reader's; [`EngineError::Busy`].
    pub async fn of_work(&self, id: Uuid, reader: &ReceiptReader) -> Result<Receipt, EngineError> {
        self.find(id, reader).await?.ok_or_else(|| missing(&id))
    }

    /// The receipt of the request that a payment has bought.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when it has bought none yet; [`EngineError::Busy`].
    pub async fn of_payment(&self, paid: &PaidRequest) -> Result<Receipt, EngineError> {
        let found = self.find_bought(paid).await?;
        found.ok_or_else(|| missing::<PaymentHash>(&paid.payment_hash))
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

fn missing<K: ToString>(key: &K) -> EngineError {
    EngineError::not_found("receipt", key)
}
