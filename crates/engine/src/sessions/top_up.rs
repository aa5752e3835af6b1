//! Topping sessions up.

use super::keys::SessionAccess;
use super::owner::SessionOwner;
use super::service::Sessions;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::payments::{InvoiceIssue, Issued, MintError, NewInvoice};
use std::sync::Arc;
use tithe_lightning::{Invoice, OwnerId, Purpose};
use tithe_money::Sats;
use tithe_sessions::{SessionError, SessionId};
use tracing::{info, warn};

/// How many numbers are tried for the invoice of one top-up, and how far they are apart.
const TOP_UP_VARIANTS: u32 = 8;
const TOP_UP_STRIDE: u32 = 1 << 24;

impl Sessions {
    /// Makes an invoice that tops a session up. One may be unpaid at a time.
    ///
    /// # Errors
    /// [`EngineError::TopUpPending`] with the invoice that is unpaid, [`EngineError::SessionState`], [`EngineError::Request`] for an
    /// amount that is out of range, [`EngineError::NoWallet`].
    pub async fn top_up(&self, access: &SessionAccess, amount: Sats) -> Result<Invoice, EngineError> {
        self.check_revoked(access).await?;
        let view = self.view(access.session).await?;
        match view.session.check_top_up() {
            Ok(()) => {}
            Err(SessionError::TopUpPending(_)) => return Err(pending(view.pending_top_up)),
            Err(refused) => return Err(EngineError::SessionState(refused)),
        }
        self.check_amount(amount)?;
        self.admission.check_all(view.session.identity).await?;
        let id = access.session;
        let invoice = self.mint_top_up(id, view.session.top_ups, amount).await?;
        let owner = Arc::new(SessionOwner { session: id });
        let issue = InvoiceIssue { owner, invoice: invoice.clone(), finish: None };
        match self.core.committer.commit(issue).await {
            Ok(Issued::Now) => {
                info!(session_id = %id, amount_msats = amount.to_msats().get(), "top-up invoiced");
                Ok(invoice)
            }
            // Another request was faster. A wallet that knows invoices by our id gives both the same one.
            Ok(Issued::AnotherExists) | Err(CommitError::Refused(Refusal::Exists { .. })) => {
                Err(pending(self.view_as_stored(id).await?.pending_top_up))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Has the wallet make the invoice of the top-up after `top_ups` others. A top-up of another amount may have got as far as the wallet,
    /// which knows the invoice by its number, and no further: then another number is used.
    async fn mint_top_up(&self, id: SessionId, top_ups: u32, amount: Sats) -> Result<Invoice, MintError> {
        let mut minted = Err(MintError::Unfit);
        for variant in 0..TOP_UP_VARIANTS {
            let new = NewInvoice {
                owner: OwnerId(id.0),
                purpose: Purpose::SessionTopUp,
                nth: top_ups.wrapping_add(variant.wrapping_mul(TOP_UP_STRIDE)),
                amount,
                // Every node on the way of the payment can read it: no id of ours.
                description: "Tithe: top-up of a session".to_owned(),
            };
            minted = self.payments.mint(&new).await;
            if minted != Err(MintError::Unfit) {
                break;
            }
        }
        minted
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
