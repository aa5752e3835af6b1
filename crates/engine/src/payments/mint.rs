//! Making invoices at the wallet.

use super::service::Payments;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log;
use std::time::Duration;
use tithe_lightning::{
    Bolt11, ExpectedInvoice, Invoice, InvoiceId, InvoiceRequest, OwnerId, Purpose, WalletError,
};
use tithe_money::Sats;
use tracing::{Instrument, warn};

/// How often the wallet is asked again when its answer was lost.
const MINT_ATTEMPTS: u32 = 3;

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
        self.mint_checked(new).instrument(span).await
    }

    async fn mint_checked(&self, new: &NewInvoice) -> Result<Invoice, MintError> {
        let NewInvoice { owner, purpose, nth, amount, ref description } = *new;
        let expiry = self.core.settings.invoice_expiry;
        let id = InvoiceId::of(purpose, owner, nth);
        let request = InvoiceRequest { id, amount, description: description.clone(), expiry };
        let bolt11 = self.mint_bolt11(&request).await?;
        let expected = ExpectedInvoice {
            network: self.core.ports.wallet.network(),
            amount: amount.to_msats(),
            payment_hash: None,
            // An invoice that was made before a crash is reusable while it stays payable for at least `LIFE_LEFT_MIN`.
            expires_after: self.core.now() + (expiry / 2).min(LIFE_LEFT_MIN),
        };
        if let Err(mismatch) = bolt11.check(&expected) {
            warn!(
                %purpose,
                error = chain(&mismatch),
                "the wallet made another invoice than requested"
            );
            return Err(MintError::Unfit);
        }
        Invoice::issue(&bolt11, purpose, owner).map_err(|failure| {
            warn!(
                %purpose,
                error = chain(&failure),
                "the wallet made an invoice without an amount"
            );
            MintError::Unfit
        })
    }

    async fn mint_bolt11(&self, request: &InvoiceRequest) -> Result<Bolt11, MintError> {
        for attempt in 1..=MINT_ATTEMPTS {
            let made = self.core.ports.wallet.invoice_create(request);
            let failure = match tokio::time::timeout(self.core.settings.wallet_timeout, made).await {
                Ok(Ok(bolt11)) => return Ok(bolt11),
                Ok(Err(failure)) => failure,
                Err(_elapsed) => WalletError::OutcomeUnknown(None),
            };
            warn!(attempt, error = chain(&failure), "the wallet made no invoice");
            match failure {
                WalletError::OutcomeUnknown(_) => {}
                WalletError::Unavailable(_) => break,
                _ => return Err(MintError::Unfit),
            }
        }
        Err(MintError::Unavailable)
    }
}
