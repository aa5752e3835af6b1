//! Topping sessions up.

use super::keys::SessionAccess;
use super::owner::SessionOwner;
use super::service::Sessions;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::payments::{InvoiceIssue, Issued, NewInvoice};
use std::sync::Arc;
use tithe_lightning::{Invoice, OwnerId, Purpose};
use tithe_money::Sats;
use tithe_sessions::SessionError;
use tracing::{info, warn};

impl Sessions {
    /// Makes an invoice that tops a session up. One may be unpaid at a time.
    ///
    /// # Errors
    /// [`EngineError::TopUpPending`] with the invoice that is unpaid, [`EngineError::SessionState`], [`EngineError::Request`] for an
    /// amount that is out of range, [`EngineError::NoWallet`].
    pub async fn top_up(&self, access: &SessionAccess, amount: Sats) -> Result<Invoice, EngineError> {
        let view = self.view(access.session).await?;
        match view.session.check_top_up() {
            Ok(()) => {}
            Err(SessionError::TopUpPending(_)) => return Err(pending(view.pending_top_up)),
            Err(refused) => return Err(EngineError::SessionState(refused)),
        }
        self.check_amount(amount)?;
        self.admission.check_all(view.session.identity).await?;
        let id = access.session;
        let new = NewInvoice {
            owner: OwnerId(id.0),
            purpose: Purpose::SessionTopUp,
            nth: view.session.top_ups,
            amount,
            // Every node on the way of the payment can read it: no id of ours.
            description: "Tithe: top-up of a session".to_owned(),
        };
        let invoice = self.payments.mint(&new).await?;
        let owner = Arc::new(SessionOwner { session: id });
        let issue = InvoiceIssue { owner, invoice: invoice.clone(), finish: None };
        match self.core.committer.commit(issue).await {
            Ok(Issued::Now) => {
                info!(session = %id, %amount, "top-up invoiced");
                Ok(invoice)
            }
            // Another request was faster. A wallet that knows invoices by our id gives both the same one.
            Ok(Issued::AnotherExists) | Err(CommitError::Refused(Refusal::Exists { .. })) => {
                Err(pending(self.view_as_stored(id).await?.pending_top_up))
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

fn pending(invoice: Option<Invoice>) -> EngineError {
    let Some(invoice) = invoice else {
        // It was paid or has expired at this moment.
        warn!("a pending top-up is no longer stored");
        return EngineError::Busy;
    };
    EngineError::TopUpPending(Box::new(invoice))
}
