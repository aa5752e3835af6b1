//! Making invoices at the wallet.

use super::held::HOLD_WINDOW;
use super::service::Payments;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log;
use std::sync::PoisonError;
use std::time::Duration;
use tithe_lightning::{
    Bolt11, ExpectedInvoice, Invoice, InvoiceId, InvoiceRequest, OwnerId, PaymentHash, Purpose, WalletError,
};
use tithe_money::Sats;
use tracing::{Instrument, warn};

/// How often the wallet is asked again when its answer was lost.
const MINT_ATTEMPTS: u32 = 3;

/// For how long a wallet that did not answer when it was asked for a hold invoice is asked for ordinary ones.
const HOLD_TROUBLE: Duration = Duration::from_mins(5);

/// How long an invoice must still be payable when it is shown.
const LIFE_LEFT_MIN: Duration = Duration::from_mins(1);

/// An invoice that an owner wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvoice {
    /// The owner.
    pub owner: OwnerId,
    /// What the invoice pays for.
    pub purpose: Purpose,
    /// How many invoices of this purpose the owner has had before.
    pub nth: u32,
    /// What the invoice asks for.
    pub amount: Sats,
    /// What the payer's wallet shows.
    pub description: String,
}

impl NewInvoice {
    /// The id of the invoice at the wallet.
    pub(crate) fn id(&self) -> InvoiceId {
        InvoiceId::of(self.purpose, self.owner, self.nth)
    }
}

/// Why no invoice was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The wallet is not available, or its answers are lost.
    #[error("wallet unavailable")]
    Unavailable,
    /// The wallet refused, or made another invoice than requested.
    #[error("wallet made no such invoice")]
    Unfit,
}

impl From<MintError> for EngineError {
    fn from(failure: MintError) -> Self {
        match failure {
            MintError::Unavailable | MintError::Unfit => Self::NoWallet,
        }
    }
}

impl Payments {
    /// Has the wallet make an invoice, and checks it. Nothing is stored: [`super::InvoiceIssue`] does that. Asking again for
    /// the same invoice harms nobody: it has the same id at the wallet, and only the one that is stored is ever shown.
    ///
    /// # Errors
    /// [`MintError`].
    pub async fn mint(&self, new: &NewInvoice) -> Result<Invoice, MintError> {
        let span = log::Owner::of_invoice(new.purpose, new.owner).span();
        self.mint_checked(new, None).instrument(span).await
    }

    /// As [`Payments::mint`], for a hold invoice. It has an id of its own: `nth` must not be that of an ordinary invoice. The wallet
    /// takes payments for it until [`HOLD_WINDOW`] after it has expired here, so that a payment is not forgotten there while it is held.
    ///
    /// # Errors
    /// [`MintError`]: [`MintError::Unfit`] also when the wallet does not answer, and for a while after that: it may make ordinary ones.
    pub(crate) async fn mint_held(&self, new: &NewInvoice) -> Result<Invoice, MintError> {
        if !self.makes_hold_invoices() {
            return Err(MintError::Unfit);
        }
        let span = log::Owner::of_invoice(new.purpose, new.owner).span();
        let hash = self.hold_keys.payment_hash(new.id());
        self.mint_checked(new, Some(hash)).instrument(span).await
    }

    /// Whether the wallet has hold invoices, and has not been silent lately when it was asked for one.
    pub(crate) fn makes_hold_invoices(&self) -> bool {
        let until = *self.no_hold_invoices_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.core.ports.wallet.capabilities().hold_invoices
            && until.is_none_or(|until| until <= self.core.now())
    }

    /// Has an invoice made; with a payment hash, a hold invoice.
    async fn mint_checked(&self, new: &NewInvoice, held: Option<PaymentHash>) -> Result<Invoice, MintError> {
        let NewInvoice { owner, purpose, amount, ref description, .. } = *new;
        let expiry = self.core.settings.invoice_expiry;
        let longer = if held.is_some() { HOLD_WINDOW } else { Duration::ZERO };
        let description = description.clone();
        let request = InvoiceRequest { id: new.id(), amount, description, expiry: expiry + longer };
        let bolt11 = self.mint_bolt11(&request, held).await?;
        let expected = ExpectedInvoice {
            network: self.core.ports.wallet.network(),
            amount: amount.to_msats(),
            payment_hash: held,
            // An invoice that was made before a crash is reusable while it stays payable for at least `LIFE_LEFT_MIN`.
            expires_after: self.core.now() + longer + (expiry / 2).min(LIFE_LEFT_MIN),
        };
        if let Err(mismatch) = bolt11.check(&expected) {
            warn!(
                %purpose,
                error = chain(&mismatch),
                "the wallet made another invoice than requested"
            );
            return Err(MintError::Unfit);
        }
        let issued = Invoice::issue(&bolt11, purpose, owner).map_err(|failure| {
            warn!(
                %purpose,
                error = chain(&failure),
                "the wallet made an invoice without an amount"
            );
            MintError::Unfit
        })?;
        Ok(Invoice { expires_at: issued.expires_at - longer, ..issued })
    }

    async fn mint_bolt11(
        &self,
        request: &InvoiceRequest,
        held: Option<PaymentHash>,
    ) -> Result<Bolt11, MintError> {
        let wallet = &self.core.ports.wallet;
        let mut is_silent = false;
        for attempt in 1..=MINT_ATTEMPTS {
            let made = async {
                match held {
                    Some(hash) => wallet.hold_invoice_create(request, hash).await,
                    None => wallet.invoice_create(request).await,
                }
            };
            let failure = match tokio::time::timeout(self.core.settings.wallet_timeout, made).await {
                Ok(Ok(bolt11)) => return Ok(bolt11),
                Ok(Err(failure)) => failure,
                Err(_elapsed) => WalletError::OutcomeUnknown(None),
            };
            warn!(attempt, error = chain(&failure), "the wallet made no invoice");
            match failure {
                WalletError::OutcomeUnknown(_) => is_silent = true,
                WalletError::Unavailable(_) => {
                    is_silent = false;
                    break;
                }
                _ => return Err(MintError::Unfit),
            }
        }
        if is_silent && held.is_some() {
            // It may still make ordinary ones, which have other ids.
            let until = self.core.now() + HOLD_TROUBLE;
            *self.no_hold_invoices_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            return Err(MintError::Unfit);
        }
        Err(MintError::Unavailable)
    }
}
