//! Creating sessions, in three steps as jobs are created: `SessionCreate`, the wallet, `InvoiceIssue`. No money can be lost, because
//! an invoice is shown only after the third.

use super::owner::SessionOwner;
use super::service::Sessions;
use super::session_create::{SessionCreate, SessionCreated};
use crate::admission::Origin;
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::committer::CommitError;
use crate::error::{EngineError, RequestError};
use crate::idempotency::{IdempotencyFinish, KeyedResponse};
use crate::identities::RequestSignature;
use crate::payments::{InvoiceIssue, Issued, NewInvoice};
use crate::records::{IdempotencyId, IdempotencyRequest, StoredResponse};
use std::sync::Arc;
use tithe_lightning::{Invoice, OwnerId, Purpose};
use tithe_money::Sats;
use tithe_sessions::{NewSession, Session, SessionId};
use tithe_trust::{NostrPubkey, Tier};
use tracing::{info, warn};
use uuid::Uuid;

/// A request for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSessionRequest {
    /// The deposit.
    pub deposit: Sats,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
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
        let id = SessionId(self.core.new_id());
        self.admission.admit(id.0, new.identity, new.origin.clone()).await?;
        let created = self.create_admitted(id, new, idempotency, render).await;
        // Only a new session whose invoice is shown waits for its payment.
        if created.as_ref().map_or(true, |response| response.replayed) {
            self.admission.release(id.0);
        }
        created
    }

    async fn create_admitted(
        &self,
        id: SessionId,
        new: NewSessionRequest,
        idempotency: Option<IdempotencyRequest>,
        render: RenderSession<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        let session = Box::new(Session::new(NewSession {
            id,
            deposit: new.deposit,
            identity: new.identity,
            created_at: self.core.now(),
        }));
        let key = idempotency.as_ref().map(|request| request.id.clone());
        let create = |signature, instead_of| SessionCreate {
            session: session.clone(),
            idempotency: idempotency.clone(),
            signature,
            instead_of,
        };
        let begun = match self.core.committer.commit(create(new.signature, None)).await? {
            SessionCreated::Replayed(response) => return Ok(KeyedResponse::replay(response)),
            SessionCreated::Resumed { subject } => self.resumed(subject).await?,
            SessionCreated::New => {
                info!(session = %session.id, deposit = %session.deposit, "session created");
                *session.clone()
            }
        };
        if begun.end().is_some() && begun.deposit_invoice.is_none() {
            info!(session = %begun.id, instead = %session.id, "abandoned session replaced by a new one");
            let again = create(RequestSignature(None), Some(begun.id));
            if let SessionCreated::Replayed(response) = self.core.committer.commit(again).await? {
                return Ok(KeyedResponse::replay(response));
            }
            return self.invoice_or_release(*session, key, render).await;
        }
        self.invoice_or_release(begun, key, render).await
    }

    /// Checks the amount of a deposit or a top-up.
    pub(super) fn check_amount(&self, amount: Sats) -> Result<(), EngineError> {
        let (least, most) = (self.core.settings.session_payment_min, self.core.settings.session_payment_max);
        if (least..=most).contains(&amount) {
            return Ok(());
        }
        Err(RequestError::Amount { asked: amount, least, most }.into())
    }

    async fn resumed(&self, subject: Option<Uuid>) -> Result<Session, EngineError> {
        let Some(subject) = subject else {
            warn!("an idempotency key of a session has no subject");
            return Err(EngineError::Internal);
        };
        let stored = self.core.ports.store.session(SessionId(subject)).await?;
        stored.ok_or_else(|| EngineError::not_found(rows::Sessions::NAME, &subject))
    }

    /// Takes steps 2 and 3. If they fail, a retry with the same key may begin at once.
    async fn invoice_or_release(
        &self,
        session: Session,
        key: Option<IdempotencyId>,
        render: RenderSession<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        let id = session.id;
        match self.invoice_deposit(session, key.as_ref(), render).await {
            Ok(response) => Ok(KeyedResponse::new(response)),
            Err(failure) => {
                if let Some(key) = key {
                    self.idempotency.release(key).await;
                }
                warn!(session = %id, %failure, "the new session got no invoice");
                Err(failure)
            }
        }
    }

    async fn invoice_deposit(
        &self,
        session: Session,
        key: Option<&IdempotencyId>,
        render: RenderSession<'_>,
    ) -> Result<StoredResponse, EngineError> {
        let id = session.id;
        let macaroon = self.macaroons.mint(id)?;
        if session.deposit_invoice.is_none() {
            let invoice = self.payments.mint(&deposit_invoice(&session)).await?;
            let tier = self.identities.tier_of(session.identity).await?;
            let created = CreatedSession { session, invoice, macaroon: macaroon.clone(), tier };
            let response = render(&created);
            let finish = key.map(|key| (key.clone(), response.clone()));
            let owner = Arc::new(SessionOwner { session: id });
            match self.core.committer.commit(InvoiceIssue { owner, invoice: created.invoice, finish }).await {
                Ok(Issued::Now) => return Ok(response),
                // A wallet that knows invoices by our id gives two servers the same one.
                Ok(Issued::AnotherExists) | Err(CommitError::Refused(Refusal::Exists { .. })) => {}
                // The sweep abandoned the session while the wallet took its time. Repeating the request makes a new one.
                Err(CommitError::Refused(Refusal::Session(_))) => return Err(EngineError::NoWallet),
                Err(failure) => return Err(failure.into()),
            }
        }
        // Another server has issued the invoice meanwhile: that one counts.
        let view = self.view_as_stored(id).await?;
        let Some(invoice) = view.deposit_invoice else {
            warn!(session = %id, "the invoice of a session's deposit is not stored");
            return Err(EngineError::Internal);
        };
        let response = render(&CreatedSession { session: view.session, invoice, macaroon, tier: view.tier });
        if let Some(key) = key {
            let finish = IdempotencyFinish { id: key.clone(), response: response.clone() };
            self.core.committer.commit(finish).await?;
        }
        Ok(response)
    }
}

fn deposit_invoice(session: &Session) -> NewInvoice {
    NewInvoice {
        owner: OwnerId(session.id.0),
        purpose: Purpose::SessionDeposit,
        nth: 0,
        amount: session.deposit,
        // Every node on the way of the payment can read it: no id of ours.
        description: "Tithe: deposit of a session".to_owned(),
    }
}
