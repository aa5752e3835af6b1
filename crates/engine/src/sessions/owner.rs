//! Sessions as owners of invoices.

use super::steps::account_of;
use crate::admission::UnpaidCounts;
use crate::books::{Books, Refusal, RowKeys};
use crate::error::EngineError;
use crate::payments::{OwnerIssue, OwnerLookup, PaymentOwner, PaymentStep};
use crate::store::Store;
use async_trait::async_trait;
use std::sync::Arc;
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose};
use tithe_sessions::SessionId;

/// A session as the owner of the invoices for its deposit and its top-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOwner {
    /// The session.
    pub session: SessionId,
    /// The unpaid top-up that a new one may replace, because nobody asked for it.
    pub replaceable: Option<PaymentHash>,
}

impl SessionOwner {
    /// The owner of the invoices of a session, of which none may be replaced.
    #[must_use]
    pub const fn new(session: SessionId) -> Self {
        Self { session, replaceable: None }
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
        match step {
            PaymentStep::Issue | PaymentStep::Hold | PaymentStep::Expire => {
                let _is_new = keys.sessions.insert(self.session);
            }
            PaymentStep::Credit => keys.declare_session_refund(self.session),
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
        Ok(OwnerIssue::Taken)
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
        if paid.end().is_some() {
            return books.session_refund(&paid, &format!("payment:{hash}")).map(drop);
        }
        books.rows.sessions.put(paid)
    }

    fn invoice_expired(&self, books: &mut Books<'_>, invoice: PaymentHash) -> Result<(), Refusal> {
        let session = books.session(self.session)?;
        books.rows.sessions.put(session.invoice_expired(invoice, books.now()))
    }
}

/// Finds the sessions that own invoices.
pub struct SessionOwners {
    store: Arc<dyn Store>,
    unpaid: Arc<UnpaidCounts>,
}

impl SessionOwners {
    /// The sessions in this store. Those that were paid for are no longer counted among the unpaid.
    pub(crate) const fn new(store: Arc<dyn Store>, unpaid: Arc<UnpaidCounts>) -> Self {
        Self { store, unpaid }
    }
}

#[async_trait]
impl OwnerLookup for SessionOwners {
    fn purposes(&self) -> &'static [Purpose] {
        &[Purpose::SessionDeposit, Purpose::SessionTopUp, Purpose::SessionTopUpOffer]
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<Arc<dyn PaymentOwner>>, EngineError> {
        let session = self.store.session(SessionId(id.0)).await?;
        Ok(session.map(|session| -> Arc<dyn PaymentOwner> { Arc::new(SessionOwner::new(session.id)) }))
    }

    fn credited(&self, id: OwnerId) {
        self.unpaid.release(id.0);
    }
}
