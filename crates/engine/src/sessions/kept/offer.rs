//! Offering a request for a payment that is held until it is done.

use super::super::owner::SessionOwner;
use super::super::service::Sessions;
use super::super::session_create::SessionCreate;
use super::making::MakingOne;
use super::{ALL_BYTES_MAX, SENT_BYTES_MAX};
use crate::admission::Origin;
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use crate::payments::{HELD_NTH, NewInvoice, PaymentOwner};
use crate::purchases::{NewPurchase, Purchase};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tithe_lightning::PaymentHash;
use tithe_sessions::{NewKeptRequest, RequestId, SentRequest, Session, SessionId};
use tithe_trust::NostrPubkey;
use tracing::info;
use uuid::Uuid;

/// A session that is offered, with the request that is kept if its invoice becomes a hold invoice.
#[derive(Debug, Clone)]
pub(in super::super) struct OfferedSession {
    pub(in super::super) session: Session,
    pub(in super::super) keep: Option<Arc<NewKeptRequest>>,
}

impl OfferedSession {
    /// The hold invoice of a session's deposit. It has another id at the wallet than the ordinary one: only the one that is stored is ever
    /// shown, whichever was made before.
    pub(super) fn hold_invoice_of(session: &Session) -> NewInvoice {
        NewInvoice { nth: HELD_NTH, ..Purchase::invoice(session) }
    }
}

impl Purchase for OfferedSession {
    type Create = SessionCreate;
    const NAME: &'static str = rows::Sessions::NAME;

    fn id(&self) -> Uuid {
        self.session.id.0
    }

    fn identity(&self) -> Option<NostrPubkey> {
        self.session.identity
    }

    fn first_invoice(&self) -> Option<PaymentHash> {
        self.session.first_invoice()
    }

    fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    fn create(&self, new: &NewPurchase<'_>) -> SessionCreate {
        self.session.create(new)
    }

    fn owner(&self) -> Arc<dyn PaymentOwner> {
        self.session.owner()
    }

    fn invoice(&self) -> NewInvoice {
        self.session.invoice()
    }

    fn hold_invoice(&self) -> Option<(NewInvoice, Arc<dyn PaymentOwner>)> {
        let keep = Some(Arc::clone(self.keep.as_ref()?));
        let owner = SessionOwner { keep, ..SessionOwner::new(self.session.id) };
        Some((Self::hold_invoice_of(&self.session), Arc::new(owner)))
    }

    fn was_abandoned(refusal: &Refusal) -> bool {
        Session::was_abandoned(refusal)
    }

    async fn stored(store: &dyn Store, id: Uuid) -> Result<Option<Self>, StoreError> {
        let session = store.session(SessionId(id)).await?;
        Ok(session.map(|session| Self { session, keep: None }))
    }
}

impl Sessions {
    /// Reads kept requests with this. Before it is set, no offer has a hold invoice.
    pub fn read_sent_with(&self, reader: Arc<dyn super::ReadSent>) {
        let _reader = self.sent_reader.get_or_init(|| reader);
    }

    /// Whether a request of so many bytes may be kept with its offer, as far as its size and the settings say.
    #[must_use]
    pub fn may_keep(&self, bytes: usize) -> bool {
        self.core.settings.hold_requests && bytes <= SENT_BYTES_MAX
    }

    /// What is to be kept with the offer of a request, so that it can have a hold invoice; `None` if it gets an ordinary one:
    /// the operator has not switched that on, the wallet has none, the request is too large or its model too slow, or too much is kept
    /// already, of everybody or of whoever asks. The room is taken until [`MakingOne`] is dropped: when the invoice is stored. Whoever makes no hold invoice after all says so ([`Admission::release_held`]).
    ///
    /// [`Admission::release_held`]: crate::admission::Admission::release_held
    pub(in super::super) async fn to_keep(
        &self,
        session: &Session,
        sent: Option<Arc<SentRequest>>,
        model: &str,
        origin: Option<Origin>,
    ) -> Result<Option<(Arc<NewKeptRequest>, MakingOne)>, EngineError> {
        let most = self.core.settings.held_payments_max;
        let Some(sent) = sent else { return Ok(None) };
        if !self.may_keep(sent.bytes())
            || most == 0
            || self.sent_reader.get().is_none()
            || !self.payments.makes_hold_invoices()
            || self.slow_models.is_slow(model)
        {
            return Ok(None);
        }
        let (making, made) = self.kept_making.begin(u64::try_from(sent.bytes()).unwrap_or(u64::MAX));
        let store = &self.core.ports.store;
        let (kept, jobs) = (store.kept_requests_total().await?, store.jobs_on_hold().await?);
        let bytes = kept.bytes.saturating_add(made.bytes);
        let requests = kept.requests.saturating_add(made.requests);
        let open = requests.saturating_add(jobs);
        let Session { id: session, identity, .. } = *session;
        // Whoever only asks what something costs leaves half of the room to jobs.
        let room = most.div_ceil(2);
        if requests > room || open > most || bytes > ALL_BYTES_MAX {
            info!(open, "too many payments may be held; the request gets an ordinary invoice");
            return Ok(None);
        }
        if !self.admission.admit_held(session.0, identity, origin, room).await? {
            info!("too many payments of one customer may be held; the request gets an ordinary invoice");
            return Ok(None);
        }
        let request = RequestId(self.core.new_id());
        Ok(Some((Arc::new(NewKeptRequest { session, request, identity, sent }), making)))
    }
}
