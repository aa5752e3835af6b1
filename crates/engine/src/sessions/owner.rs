//! Sessions as owners of invoices.

use super::kept::{HeldDeposit, WORK_WINDOW};
use super::steps::account_of;
use crate::admission::OfferCounts;
use crate::books::{Books, Refusal, RowKeys};
use crate::error::EngineError;
use crate::payments::{HeldWindow, OwnerIssue, OwnerLookup, PaymentHeld, PaymentOwner, PaymentStep};
use crate::store::Store;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{HeldPayment, Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose};
use tithe_sessions::{KeptRequest, KeptState, NewKeptRequest, SessionId, SessionState};
use tokio::sync::Notify;

/// A session as the owner of the invoices for its deposit and its top-ups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOwner {
    /// The session.
    pub session: SessionId,
    /// The unpaid top-up that a new one may replace, because nobody asked for it.
    pub replaceable: Option<PaymentHash>,
    /// The request that is kept from now on, if the invoice that is issued for the deposit is a hold invoice.
    pub keep: Option<Arc<NewKeptRequest>>,
    /// The request that was kept when a hold invoice was issued for the deposit; `None` if an ordinary one was.
    pub held: Option<HeldDeposit>,
}

impl SessionOwner {
    /// The owner of the invoices of a session, of which none may be replaced.
    #[must_use]
    pub const fn new(session: SessionId) -> Self {
        Self { session, replaceable: None, keep: None, held: None }
    }
}

impl PaymentOwner for SessionOwner {
    fn id(&self) -> OwnerId {
        OwnerId(self.session.0)
    }

    fn account(&self) -> AccountId {
        account_of(self.session)
    }

    fn payment_kind(&self, purpose: Purpose) -> TransferKind {
        if purpose == Purpose::SessionDeposit { TransferKind::Deposit } else { TransferKind::TopUp }
    }

    fn declare(&self, step: PaymentStep, keys: &mut RowKeys) {
        match (step, &self.held) {
            (PaymentStep::Credit, Some(held)) => keys.declare_kept_charge(self.session, held),
            (PaymentStep::Credit, None) => keys.declare_session_refund(self.session),
            (PaymentStep::Issue | PaymentStep::Hold | PaymentStep::Expire, _) => {
                keys.sessions.insert(self.session);
            }
        }
        if self.held.is_some() || self.keep.is_some() {
            keys.kept_requests.insert(self.session);
        }
    }

    fn verify(&self, books: &Books<'_>) -> Result<(), Refusal> {
        books.session(self.session).map(drop)
    }

    fn invoice_issued(&self, books: &mut Books<'_>, invoice: &Invoice) -> Result<OwnerIssue, Refusal> {
        let (session, hash, now) = (books.session(self.session)?, invoice.payment_hash, books.now());
        let invoiced = match invoice.purpose {
            Purpose::SessionDeposit if session.deposit_invoice.is_some() => {
                return Ok(OwnerIssue::HasAnother);
            }
            Purpose::SessionDeposit => session.deposit_invoiced(hash, now)?,
            Purpose::SessionTopUp | Purpose::SessionTopUpOffer => match session.pending_top_up {
                None => session.top_up_invoiced(hash, now)?,
                Some(pending) if Some(pending) == self.replaceable => {
                    session.top_up_dropped(pending, now).top_up_invoiced(hash, now)?
                }
                Some(_) => return Ok(OwnerIssue::HasAnother),
            },
            Purpose::JobEval | Purpose::JobWork | Purpose::Bootstrap | Purpose::Custom(_) => {
                return Err(Refusal::OtherOwner(hash));
            }
        };
        books.rows.sessions.put(invoiced)?;
        if let Some(keep) = &self.keep {
            books.rows.kept_requests.put(KeptRequest::offered(keep, hash, invoice.expires_at, now))?;
        }
        Ok(OwnerIssue::Taken)
    }

    fn payment_held(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        payment: &HeldPayment,
    ) -> Result<PaymentHeld, Refusal> {
        let Some(kept) = self.kept(books, invoice.payment_hash)? else { return Ok(PaymentHeld::Unwanted) };
        if kept.state != KeptState::Offered {
            return Ok(PaymentHeld::Known);
        }
        let (session, now) = (books.session(self.session)?, books.now());
        let window = HeldWindow::of(payment, now);
        let is_wanted = payment.amount >= invoice.amount
            && now < invoice.expires_at
            && window.is_long_enough()
            && session.state == SessionState::AwaitingPayment;
        let decided =
            if is_wanted { kept.held(window.at_most(WORK_WINDOW).until(), now) } else { kept.cancelled(now) };
        let Some(decided) = decided else { return Ok(PaymentHeld::Known) };
        books.rows.kept_requests.put(decided)?;
        Ok(PaymentHeld::Noted)
    }

    fn payment_credited(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        _arrival: InvoiceChange,
    ) -> Result<(), Refusal> {
        let hash = invoice.payment_hash;
        let session = books.session(self.session)?;
        let received = invoice.received().unwrap_or_default();
        let paid = session.paid(hash, received, books.now())?;
        let balance = books.account(account_of(self.session))?.balance();
        let paid = paid.topped_up(balance);
        if let Some((kept, held)) = self.kept(books, hash)?.zip(self.held) {
            if let KeptState::Settling { answer } = &kept.state
                && paid.end().is_none()
            {
                return books.kept_charge(&kept, answer, &paid, held.keep);
            }
            // Somebody else has taken it, as after the restore of a backup: its proof buys the request.
            books.rows.kept_requests.put(kept.ended(books.now()))?;
        }
        if paid.end().is_some() {
            return books.session_refund(&paid, &format!("payment:{hash}")).map(drop);
        }
        books.rows.sessions.put(paid)
    }

    fn invoice_expired(&self, books: &mut Books<'_>, invoice: PaymentHash) -> Result<(), Refusal> {
        if let Some(kept) = self.kept(books, invoice)? {
            if kept.is_due() {
                // It ends when its payment has been taken or given back.
                return Ok(());
            }
            books.rows.kept_requests.put(kept.ended(books.now()))?;
        }
        let session = books.session(self.session)?;
        books.rows.sessions.put(session.invoice_expired(invoice, books.now()))
    }
}

impl SessionOwner {
    /// The request that is kept with this hold invoice, unless it has ended.
    fn kept(&self, books: &Books<'_>, invoice: PaymentHash) -> Result<Option<KeptRequest>, Refusal> {
        if self.held.is_none() {
            return Ok(None);
        }
        Ok(books.kept_open(self.session)?.filter(|kept| kept.invoice == invoice))
    }
}

/// Finds the sessions that own invoices.
pub struct SessionOwners {
    store: Arc<dyn Store>,
    counts: OfferCounts,
    /// Told of payments that are held.
    kept_due: Arc<Notify>,
    idempotency_keep: Duration,
}

impl SessionOwners {
    /// The sessions in this store. Those that were paid for are no longer counted among the unpaid offers. `kept_due` is notified of payments
    /// that are held; the answers to their requests are kept for `idempotency_keep`.
    pub(crate) const fn new(
        store: Arc<dyn Store>,
        counts: OfferCounts,
        kept_due: Arc<Notify>,
        idempotency_keep: Duration,
    ) -> Self {
        Self { store, counts, kept_due, idempotency_keep }
    }
}

#[async_trait]
impl OwnerLookup for SessionOwners {
    fn purposes(&self) -> &'static [Purpose] {
        &[Purpose::SessionDeposit, Purpose::SessionTopUp, Purpose::SessionTopUpOffer]
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<Arc<dyn PaymentOwner>>, EngineError> {
        let Some(session) = self.store.session(SessionId(id.0)).await? else { return Ok(None) };
        let mut owner = SessionOwner::new(session.id);
        if session.kind.one_request().is_some() {
            let kept = self.store.kept_request(session.id).await?;
            owner.held = kept.map(|kept| HeldDeposit::of(&kept, self.idempotency_keep));
        }
        Ok(Some(Arc::new(owner)))
    }

    fn held(&self, id: OwnerId) {
        self.counts.unpaid.release(id.0);
        self.kept_due.notify_one();
    }

    fn credited(&self, id: OwnerId) {
        self.counts.unpaid.release(id.0);
        self.counts.held.release(id.0);
    }
}
