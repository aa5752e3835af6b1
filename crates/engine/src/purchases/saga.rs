//! The saga that creates a purchase.

use super::record::NewPurchase;
use crate::admission::{Admission, Origin, Share};
use crate::books::{Command, Refusal};
use crate::committer::CommitError;
use crate::core::Core;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::idempotency::{Idempotency, IdempotencyFinish, KeyBegun, KeyedResponse};
use crate::identities::{Identities, RequestSignature};
use crate::log;
use crate::payments::{InvoiceIssue, Issued, MintError, NewInvoice, PaymentOwner, Payments};
use crate::records::{IdempotencyId, IdempotencyRequest, StoredResponse};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tithe_lightning::{Invoice, PaymentHash};
use tithe_trust::{NostrPubkey, Tier};
use tracing::{info, warn};
use uuid::Uuid;

/// Something that is recorded unpaid, and gets its first invoice in the saga.
pub(crate) trait Purchase: Clone + Send + Sync + 'static {
    /// The command that records it.
    type Create: Command<Reply = KeyBegun>;

    /// What it is called in the log.
    const NAME: &'static str;

    /// Its id.
    fn id(&self) -> Uuid;

    /// The customer's identity.
    fn identity(&self) -> Option<NostrPubkey>;

    /// The hash of its first invoice; `None` until that exists.
    fn first_invoice(&self) -> Option<PaymentHash>;

    /// Whether it has ended: without an invoice, it was abandoned.
    fn has_ended(&self) -> bool;

    /// The command that records it, with what `new` says.
    fn create(&self, new: &NewPurchase<'_>) -> Self::Create;

    /// The owner of its invoices.
    fn owner(&self) -> Arc<dyn PaymentOwner>;

    /// Its first invoice.
    fn invoice(&self) -> NewInvoice;

    /// Its first invoice as a hold invoice, and the owner of that; `None` if it is to have an ordinary one.
    fn hold_invoice(&self) -> Option<(NewInvoice, Arc<dyn PaymentOwner>)> {
        None
    }

    /// Whether a refusal of its invoice means that it was abandoned meanwhile.
    fn was_abandoned(refusal: &Refusal) -> bool;

    /// The purchase of this id as it is stored.
    fn stored(store: &dyn Store, id: Uuid) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send;
}

/// Who buys.
pub(crate) struct Buyer {
    /// The customer's identity; `None` means anonymous.
    pub(crate) identity: Option<NostrPubkey>,
    /// The signature of the request. It is consumed when the purchase is recorded, so that the same request can be sent again after
    /// a refusal.
    pub(crate) signature: RequestSignature,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub(crate) origin: Option<Origin>,
    /// The client's idempotency key, if it gave one.
    pub(crate) idempotency: Option<IdempotencyRequest>,
    /// How much of the room for unpaid invoices it may fill.
    pub(crate) share: Share,
}

/// A purchase with its first invoice.
pub(crate) struct Purchased<P> {
    /// The purchase.
    pub(crate) item: P,
    /// Its first invoice.
    pub(crate) invoice: Invoice,
    /// The tier of its identity.
    pub(crate) tier: Tier,
}

/// Renders the response that is given for a purchase, and stored for its idempotency key.
type Render<'a, P> = &'a (dyn Fn(Purchased<P>) -> Result<StoredResponse, EngineError> + Send + Sync);

/// Creates purchases.
pub(crate) struct Purchases {
    core: Arc<Core>,
    idempotency: Arc<Idempotency>,
    identities: Arc<Identities>,
    payments: Arc<Payments>,
    admission: Arc<Admission>,
}

impl Purchases {
    pub(crate) const fn new(
        core: Arc<Core>,
        idempotency: Arc<Idempotency>,
        identities: Arc<Identities>,
        payments: Arc<Payments>,
        admission: Arc<Admission>,
    ) -> Self {
        Self { core, idempotency, identities, payments, admission }
    }

    /// Creates a purchase and its first invoice. `new` makes it, once its customer is admitted; what is cheap to check is checked
    /// before.
    ///
    /// # Errors
    /// [`EngineError`]; in each case nothing can be paid, and repeating the request with the same key makes no second one.
    pub(crate) async fn create<P: Purchase>(
        &self,
        id: Uuid,
        buyer: Buyer,
        new: impl Future<Output = Result<P, EngineError>>,
        render: Render<'_, P>,
    ) -> Result<KeyedResponse, EngineError> {
        let Buyer { identity, signature, origin, idempotency, share } = buyer;
        self.admission.admit(id, identity, origin, share).await?;
        // On the heap: it is large, and callers hold it in futures of their own.
        let creating =
            Box::pin(async { self.create_admitted(new.await?, signature, idempotency, render).await });
        let created = creating.await;
        // Only a new purchase whose invoice is shown waits for its payment.
        if created.as_ref().map_or(true, |response| response.replayed) {
            self.admission.release(id);
        }
        created
    }

    async fn create_admitted<P: Purchase>(
        &self,
        item: P,
        signature: RequestSignature,
        idempotency: Option<IdempotencyRequest>,
        render: Render<'_, P>,
    ) -> Result<KeyedResponse, EngineError> {
        let id = item.id();
        let key = idempotency.as_ref().map(|request| request.id.clone());
        let create = |signature, instead_of| {
            let (identity, idempotency) = (item.identity(), idempotency.as_ref());
            item.create(&NewPurchase { id, identity, idempotency, signature, instead_of })
        };
        let begun = match self.core.committer.commit(create(signature, None)).await? {
            KeyBegun::Replayed(response) => return Ok(KeyedResponse::replay(response)),
            KeyBegun::Resumed { subject } => {
                self.admission.release(id);
                self.resumed::<P>(subject).await?
            }
            KeyBegun::New => {
                let about = log::Owner::of_purchase(P::NAME, id);
                info!(
                    job_id = about.job(),
                    session_id = about.session(),
                    bootstrap_id = about.bootstrap(),
                    "purchase created"
                );
                item.clone()
            }
        };
        if begun.has_ended() && begun.first_invoice().is_none() {
            let about = log::Owner::of_purchase(P::NAME, id);
            info!(job_id = about.job(), session_id = about.session(), bootstrap_id = about.bootstrap(), abandoned_id = %begun.id(), "abandoned purchase replaced by a new one");
            let again = create(RequestSignature(None), Some(begun.id()));
            if let KeyBegun::Replayed(response) = self.core.committer.commit(again).await? {
                return Ok(KeyedResponse::replay(response));
            }
            return self.invoice_or_release(item, key, render).await;
        }
        self.invoice_or_release(begun, key, render).await
    }

    /// What an earlier request with the same key has made.
    async fn resumed<P: Purchase>(&self, subject: Option<Uuid>) -> Result<P, EngineError> {
        let Some(subject) = subject else {
            warn!(kind = P::NAME, "an idempotency key of a purchase has no subject");
            return Err(EngineError::Internal);
        };
        let stored = P::stored(self.core.ports.store.as_ref(), subject).await?;
        let item = stored.ok_or_else(|| EngineError::not_found(P::NAME, &subject))?;
        let about = log::Owner::of_purchase(P::NAME, subject);
        info!(
            job_id = about.job(),
            session_id = about.session(),
            bootstrap_id = about.bootstrap(),
            "purchase resumed"
        );
        Ok(item)
    }

    /// Takes steps 2 and 3. If they fail, a retry with the same key may begin at once.
    async fn invoice_or_release<P: Purchase>(
        &self,
        item: P,
        key: Option<IdempotencyId>,
        render: Render<'_, P>,
    ) -> Result<KeyedResponse, EngineError> {
        let id = item.id();
        match self.invoice_first(item, key.as_ref(), render).await {
            Ok(response) => Ok(KeyedResponse::new(response)),
            Err(failure) => {
                if let Some(key) = key {
                    self.idempotency.release(key).await;
                }
                let about = log::Owner::of_purchase(P::NAME, id);
                warn!(
                    job_id = about.job(),
                    session_id = about.session(),
                    bootstrap_id = about.bootstrap(),
                    error = chain(&failure),
                    "the new purchase got no invoice"
                );
                Err(failure)
            }
        }
    }

    /// Has the wallet make the first invoice: a hold invoice if it is to be one, and the wallet makes it.
    async fn mint_first<P: Purchase>(&self, item: &P) -> Result<(Invoice, Arc<dyn PaymentOwner>), MintError> {
        if let Some((new, owner)) = item.hold_invoice() {
            match self.payments.mint_held(&new).await {
                Err(MintError::Unfit) => warn!("the wallet made no hold invoice; an ordinary one is made"),
                minted => return minted.map(|invoice| (invoice, owner)),
            }
        }
        Ok((self.payments.mint(&item.invoice()).await?, item.owner()))
    }

    async fn invoice_first<P: Purchase>(
        &self,
        item: P,
        key: Option<&IdempotencyId>,
        render: Render<'_, P>,
    ) -> Result<StoredResponse, EngineError> {
        let id = item.id();
        let tier = self.identities.tier_of(item.identity()).await?;
        if item.first_invoice().is_none() {
            let (invoice, owner) = self.mint_first(&item).await?;
            let response = render(Purchased { item, invoice: invoice.clone(), tier })?;
            let finish = key.map(|key| (key.clone(), response.clone()));
            match self.core.committer.commit(InvoiceIssue { owner, invoice, finish }).await {
                Ok(Issued::Now) => return Ok(response),
                // A wallet that knows invoices by our id gives two servers the same one.
                Ok(Issued::AnotherExists) | Err(CommitError::Refused(Refusal::Exists { .. })) => {}
                // The sweep abandoned it while the wallet took its time. Repeating the request makes a new one.
                Err(CommitError::Refused(refusal)) if P::was_abandoned(&refusal) => {
                    return Err(EngineError::NoWallet);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        // Another server has issued the invoice meanwhile: that one counts.
        let store = &self.core.ports.store;
        let item =
            P::stored(store.as_ref(), id).await?.ok_or_else(|| EngineError::not_found(P::NAME, &id))?;
        let invoice = match item.first_invoice() {
            Some(hash) => store.invoice(hash).await?,
            None => None,
        };
        let Some(invoice) = invoice else {
            let about = log::Owner::of_purchase(P::NAME, id);
            warn!(
                job_id = about.job(),
                session_id = about.session(),
                bootstrap_id = about.bootstrap(),
                "the first invoice of a purchase is not stored"
            );
            return Err(EngineError::Internal);
        };
        let response = render(Purchased { item, invoice, tier })?;
        if let Some(key) = key {
            let finish = IdempotencyFinish { id: key.clone(), response: response.clone() };
            self.core.committer.commit(finish).await?;
        }
        Ok(response)
    }
}
