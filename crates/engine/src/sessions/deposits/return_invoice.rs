//! Checking the invoice that what is left of a session is paid to.

use super::PaymentSessionError;
use crate::error::EngineError;
use crate::sessions::Sessions;
use std::time::Duration;
use tithe_lightning::Bolt11;

/// How long the invoice must be payable at least. The draft recommends 30 days to clients, and asks for nothing of servers.
const LIFE_MIN: Duration = Duration::from_mins(1);

impl Sessions {
    /// Checks a return invoice before anything is used up (`draft-lightning-session-00`, "Open"): BOLT11, of the wallet's network, without an
    /// amount or of 0, payable, and not known: an invoice of ours would be paid to ourselves, and one that was paid cannot be again. Returns
    /// its text as it is kept.
    pub(super) async fn check_return_invoice(&self, text: &str) -> Result<String, EngineError> {
        let refused = |reason: &str| PaymentSessionError::ReturnInvoice(reason.to_owned());
        let Ok(invoice) = text.parse::<Bolt11>() else {
            return Err(refused("expected a BOLT11 payment request").into());
        };
        let network = self.core.ports.wallet.network();
        if invoice.network() != network {
            return Err(
                refused(&format!("expected one of {network}, got one of {}", invoice.network())).into()
            );
        }
        if let Some(amount) = invoice.amount() {
            return Err(refused(&format!("expected one without an amount, got {amount}")).into());
        }
        if invoice.expires_at() < self.core.now() + LIFE_MIN {
            return Err(refused("expected one that has not expired").into());
        }
        let (store, hash) = (&self.core.ports.store, invoice.payment_hash());
        if store.invoice(hash).await?.is_some() {
            return Err(refused("expected one of another wallet, got one of this server").into());
        }
        if store.payout(hash).await?.is_some() {
            return Err(refused("expected a new one, got one that was used before").into());
        }
        Ok(invoice.as_str().to_owned())
    }
}

/// Whether a text is the invoice that is kept.
pub(super) fn is_same_invoice(kept: &str, text: &str) -> bool {
    kept == text || text.parse::<Bolt11>().is_ok_and(|invoice| invoice.as_str() == kept)
}
