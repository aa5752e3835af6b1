//! Topping sessions up.

use super::keys::SessionAccess;
use super::owner::SessionOwner;
use super::service::Sessions;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::payments::{InvoiceIssue, Issued, MintError, NewInvoice};
use std::sync::Arc;
use std::time::Duration;
use tithe_lightning::{Invoice, OwnerId, PaymentHash, Purpose};
use tithe_money::{Msats, Sats};
use tithe_sessions::{SessionError, SessionId};
use tracing::{info, warn};

/// How many numbers are tried for the invoice of one top-up, and how far they are apart.
const TOP_UP_VARIANTS: u32 = 8;
const TOP_UP_STRIDE: u32 = 1 << 24;

/// How long a request that is not paid for waits for the invoice that it is offered.
const OFFER_PATIENCE: Duration = Duration::from_secs(2);

impl Sessions {
    /// Makes an invoice that tops a session up. One may be unpaid at a time; one that was only offered makes way.
    ///
    /// # Errors
    /// [`EngineError::TopUpPending`] with the invoice that is unpaid, [`EngineError::SessionState`], [`EngineError::Request`] for an
    /// amount that is out of range, [`EngineError::NoWallet`].
    pub async fn top_up(&self, access: &SessionAccess, amount: Sats) -> Result<Invoice, EngineError> {
        self.check_revoked(access).await?;
        let view = self.view(access.session).await?;
        let offered =
            view.pending_top_up.as_ref().filter(|top_up| top_up.purpose == Purpose::SessionTopUpOffer);
        let replaceable = offered.map(|top_up| top_up.payment_hash);
        match view.session.check_top_up() {
            Err(SessionError::TopUpPending(_)) if replaceable.is_none() => {
                return Err(view
                    .pending_top_up
                    .map_or(EngineError::Busy, |pending| EngineError::TopUpPending(Box::new(pending))));
            }
            Ok(()) | Err(SessionError::TopUpPending(_)) => {}
            Err(refused) => return Err(EngineError::SessionState(refused)),
        }
        self.check_amount(amount)?;
        self.admission.check_all(view.session.identity).await?;
        let id = access.session;
        let invoice = self.mint_top_up(id, Purpose::SessionTopUp, view.session.top_ups, amount).await?;
        match self.issue_top_up(id, &invoice, replaceable).await? {
            None => {}
            // One was offered meanwhile.
            Some(other) if other.purpose == Purpose::SessionTopUpOffer => {
                let replaceable = Some(other.payment_hash);
                if let Some(another) = self.issue_top_up(id, &invoice, replaceable).await? {
                    return Err(EngineError::TopUpPending(Box::new(another)));
                }
            }
            Some(other) => return Err(EngineError::TopUpPending(Box::new(other))),
        }
        info!(session_id = %id, amount_msats = amount.to_msats().get(), "top-up invoiced");
        Ok(invoice)
    }

    /// Records the invoice of a top-up, in place of one that may be replaced. Returns the one that is pending instead, if there is one.
    async fn issue_top_up(
        &self,
        id: SessionId,
        invoice: &Invoice,
        replaceable: Option<PaymentHash>,
    ) -> Result<Option<Invoice>, EngineError> {
        let owner = Arc::new(SessionOwner { replaceable, ..SessionOwner::new(id) });
        let issue = InvoiceIssue { owner, invoice: invoice.clone(), finish: None };
        match self.core.committer.commit(issue).await {
            Ok(Issued::Now) => Ok(None),
            // Another request was faster. A wallet that knows invoices by our id gives both the same one.
            Ok(Issued::AnotherExists) | Err(CommitError::Refused(Refusal::Exists { .. })) => {
                let pending = self.view_as_stored(id).await?.pending_top_up;
                if pending.is_none() {
                    // It was paid or has expired at this moment.
                    warn!("a pending top-up is no longer stored");
                }
                pending.map(Some).ok_or(EngineError::Busy)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The invoice that pays for what a session lacks, at least `shortfall` where a top-up may be that large: the top-up that is unpaid
    /// already, or else a new one. A program that asks again and again gets the same one. `None` if there is none at the moment: the session
    /// has ended, too many invoices are unpaid, the wallet is not available or slow, or the invoice is being made for another request.
    pub async fn offer_top_up(&self, id: SessionId, shortfall: Msats) -> Option<Invoice> {
        let _making = self.offers.begin(id)?;
        let offered = tokio::time::timeout(OFFER_PATIENCE, self.offered_top_up(id, shortfall)).await;
        match offered {
            Ok(Ok(invoice)) => Some(invoice),
            Ok(Err(failure)) => {
                info!(session_id = %id, error = chain(&failure), "no top-up is offered");
                None
            }
            Err(_elapsed) => {
                info!(session_id = %id, "no top-up is offered: the wallet is slow");
                None
            }
        }
    }

    async fn offered_top_up(&self, id: SessionId, shortfall: Msats) -> Result<Invoice, EngineError> {
        let view = self.view_as_stored(id).await?;
        if let Some(pending) = view.pending_top_up {
            return Ok(pending);
        }
        view.session.check_top_up().map_err(EngineError::SessionState)?;
        self.admission.check_all(view.session.identity).await?;
        let settings = &self.core.settings;
        let least = shortfall.to_sats_rounding_up().unwrap_or(Sats::MAX).max(settings.session_payment_min);
        let amount = least.min(settings.session_payment_max);
        let invoice = self.mint_top_up(id, Purpose::SessionTopUpOffer, view.session.top_ups, amount).await?;
        if let Some(pending) = self.issue_top_up(id, &invoice, None).await? {
            return Ok(pending);
        }
        info!(session_id = %id, amount_msats = amount.to_msats().get(), "top-up offered");
        Ok(invoice)
    }

    /// Has the wallet make the invoice of the top-up after `top_ups` others. A top-up of another amount may have got as far as the wallet,
    /// which knows the invoice by its number, and no further: then another number is used.
    async fn mint_top_up(
        &self,
        id: SessionId,
        purpose: Purpose,
        top_ups: u32,
        amount: Sats,
    ) -> Result<Invoice, MintError> {
        let mut minted = Err(MintError::Unfit);
        for variant in 0..TOP_UP_VARIANTS {
            let new = NewInvoice {
                owner: OwnerId(id.0),
                purpose,
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
