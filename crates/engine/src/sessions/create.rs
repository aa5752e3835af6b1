//! Creating sessions: see [`crate::purchases`] for the steps.

use super::owner::SessionOwner;
use super::service::Sessions;
use super::session_create::SessionCreate;
use crate::admission::{Origin, Share};
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::error::{EngineError, RequestError};
use crate::idempotency::KeyedResponse;
use crate::identities::RequestSignature;
use crate::payments::{NewInvoice, PaymentOwner};
use crate::purchases::{Buyer, NewPurchase, Purchase, Purchased};
use crate::records::{IdempotencyRequest, StoredResponse};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tithe_lightning::{Invoice, OwnerId, PaymentHash, Purpose};
use tithe_money::Sats;
use tithe_payouts::LightningAddress;
use tithe_sessions::{NewSession, Session, SessionId, SessionKind, WebhookUrl};
use tithe_trust::{NostrPubkey, Tier};
use uuid::Uuid;

/// A request for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSessionRequest {
    /// The deposit.
    pub deposit: Sats,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// Where the owner of the session wants warnings.
    pub webhook: Option<WebhookUrl>,
    /// Where what is left at the end is paid.
    pub return_to: Option<LightningAddress>,
    /// The signature of the request, which is consumed when the session is recorded.
    pub signature: RequestSignature,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub origin: Option<Origin>,
}

/// A session that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSession {
    /// The session.
    pub session: Session,
    /// The invoice for the deposit.
    pub invoice: Invoice,
    /// The secret with which its owner checks the warnings that they get; `None` without a webhook.
    pub webhook_secret: Option<String>,
    /// The session's macaroon: worth nothing until the invoice is paid.
    pub macaroon: String,
    /// The tier of the session's identity.
    pub tier: Tier,
}

/// Renders the response that is given for a session, and stored for its idempotency key.
pub type RenderSession<'a> = &'a (dyn Fn(&CreatedSession) -> StoredResponse + Send + Sync);

impl Sessions {
    /// Creates a session and the invoice for its deposit.
    ///
    /// # Errors
    /// [`EngineError`]; in each case nothing can be paid, and repeating the request with the same key makes no second session.
    pub async fn create(
        &self,
        new: NewSessionRequest,
        idempotency: Option<IdempotencyRequest>,
        render: RenderSession<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        if let Some(request) = &idempotency
            && let Some(response) = self.idempotency.stored(request).await?
        {
            return Ok(KeyedResponse::replay(response));
        }
        self.check_amount(new.deposit)?;
        if let Some(url) = &new.webhook {
            let refused = self.core.ports.webhooks.check(url);
            refused.map_err(|refused| RequestError::Webhook(refused.to_string()))?;
        }
        if let Some(address) = &new.return_to {
            self.payouts.check(&address.clone().into())?;
        }
        let NewSessionRequest { deposit, identity, webhook, return_to, signature, origin } = new;
        let session = Session::new(NewSession {
            id: SessionId(self.core.new_id()),
            kind: SessionKind::Prepaid,
            deposit,
            identity,
            webhook,
            return_to,
            created_at: self.core.now(),
        });
        let render = |Purchased { item: session, invoice, tier }: Purchased<Session>| {
            let (macaroon, webhook_secret) =
                (self.macaroons.mint(session.id)?, self.webhook_secret(&session));
            Ok(render(&CreatedSession { session, invoice, webhook_secret, macaroon, tier }))
        };
        let buyer = Buyer { identity, signature, origin, idempotency, share: Share::All };
        self.purchases.create(session.id.0, buyer, async { Ok(session) }, &render).await
    }

    /// Checks the amount of a deposit or a top-up.
    pub(super) fn check_amount(&self, amount: Sats) -> Result<(), EngineError> {
        let (least, most) = (self.core.settings.session_payment_min, self.core.settings.session_payment_max);
        if (least..=most).contains(&amount) {
            return Ok(());
        }
        Err(RequestError::Amount { asked: amount, least, most }.into())
    }
}

impl Purchase for Session {
    type Create = SessionCreate;
    const NAME: &'static str = rows::Sessions::NAME;

    fn id(&self) -> Uuid {
        self.id.0
    }

    fn identity(&self) -> Option<NostrPubkey> {
        self.identity
    }

    fn first_invoice(&self) -> Option<PaymentHash> {
        self.deposit_invoice
    }

    fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    fn create(&self, new: &NewPurchase<'_>) -> SessionCreate {
        SessionCreate {
            session: Box::new(self.clone()),
            idempotency: new.idempotency.cloned(),
            signature: new.signature,
            instead_of: new.instead_of.map(SessionId),
        }
    }

    fn owner(&self) -> Arc<dyn PaymentOwner> {
        Arc::new(SessionOwner::new(self.id))
    }

    fn invoice(&self) -> NewInvoice {
        NewInvoice {
            owner: OwnerId(self.id.0),
            purpose: Purpose::SessionDeposit,
            nth: 0,
            amount: self.deposit,
            // Every node on the way of the payment can read it: no id of ours.
            description: match self.kind {
                SessionKind::Prepaid | SessionKind::Payment(_) => "Tithe: deposit of a session",
                SessionKind::OneRequest(_) => "Tithe: one request",
            }
            .to_owned(),
        }
    }

    fn was_abandoned(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::Session(_))
    }

    async fn stored(store: &dyn Store, id: Uuid) -> Result<Option<Self>, StoreError> {
        store.session(SessionId(id)).await
    }
}
