//! Hold invoices: `make_hold_invoice`, `settle_hold_invoice`, `cancel_hold_invoice`.
//!
//! No response but success is believed. Alby Hub answers a second settlement, and one after a cancellation, with `INTERNAL`, and
//! a second cancellation with `NOT_FOUND`: the record decides. Nor is every success believed: after the payment has gone
//! back because its time had run out, Alby Hub on LDK still says `accepted`, and settles what is not there. So the height is
//! compared before.

use crate::api::read_error;
use crate::blocks::held_until;
use crate::client::RequestError;
use crate::message::ErrorCode;
use crate::records::Found;
use crate::transaction::Standing;
use crate::wallet::{Inner, checked_invoice, refused, unknown};
use tithe_lightning::{
    Bolt11, ExpectedInvoice, HeldPayment, InvoiceRequest, InvoiceStatus, PaymentHash, Preimage, WalletError,
};

/// The blocks that the last hop must leave to claim the payment: twice what a node needs to be safe, and what common nodes ask
/// for. A wallet that ignores the parameter holds payments for a shorter time, and says so.
const FINAL_DELTA: u16 = 80;

fn unavailable(error: RequestError) -> WalletError {
    WalletError::Unavailable(Some(Box::new(error)))
}

/// The wallet has refused to do something, and did not do it.
fn is_refusal(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotImplemented
            | ErrorCode::Restricted
            | ErrorCode::Unauthorized
            | ErrorCode::UnsupportedEncryption
    )
}

/// What an error says about a request of which the record shows that it was not carried out yet. A wallet may carry out each copy
/// of a request, so that one copy may still be.
fn not_done(error: RequestError) -> WalletError {
    match error {
        RequestError::NotSent(_) | RequestError::Cipher(_) => unavailable(error),
        RequestError::Fault { ref fault, copies: 0 | 1 } if is_refusal(&fault.code) => {
            WalletError::Refused(fault.to_string())
        }
        RequestError::Fault { ref fault, copies: 0 | 1 } if fault.code == ErrorCode::RateLimited => {
            unavailable(error)
        }
        _ => unknown(error),
    }
}

impl Inner {
    /// The state of an invoice of any kind.
    pub(crate) async fn invoice_status(
        &self,
        payment_hash: PaymentHash,
    ) -> Result<Option<InvoiceStatus>, WalletError> {
        let now = self.clock.now();
        let record = match self.records.invoice(&self.client, payment_hash).await? {
            None => return Ok(None),
            Some(Found::OwnPayment(payment)) => return Ok(Some(payment.as_unpaid(now))),
            Some(Found::Invoice(record)) => record,
        };
        if !record.was_held() {
            return record.as_invoice(payment_hash, now).map(Some);
        }
        let standing = self.at_height(record.as_hold(payment_hash, now)?).await?;
        Ok(Some(match standing {
            Standing::Held(held, _) => InvoiceStatus::Held(held),
            Standing::Settled => return record.as_invoice(payment_hash, now).map(Some),
            // It may be held.
            Standing::Open | Standing::Unclear(_) => InvoiceStatus::Pending,
            Standing::Gone => InvoiceStatus::Expired,
        }))
    }

    /// What the record of a hold invoice says; `None` if there is no record.
    async fn standing(&self, payment_hash: PaymentHash) -> Result<Option<Standing>, WalletError> {
        match self.records.invoice(&self.client, payment_hash).await? {
            Some(Found::Invoice(record)) => {
                self.at_height(record.as_hold(payment_hash, self.clock.now())?).await.map(Some)
            }
            Some(Found::OwnPayment(_)) => Ok(Some(Standing::Open)),
            None => Ok(None),
        }
    }

    /// A payment whose deadline has come has gone back, whatever the record says.
    async fn at_height(&self, standing: Standing) -> Result<Standing, WalletError> {
        let (Standing::Held(_, Some(deadline)) | Standing::Unclear(deadline)) = standing else {
            return Ok(standing);
        };
        let height = self.client.get_info().await.map_err(read_error)?.block_height;
        Ok(match (standing, height.filter(|height| *height > 0)) {
            (_, Some(height)) if height >= deadline => Standing::Gone,
            (Standing::Held(held, deadline), Some(height)) => {
                let until = deadline.map(|deadline| held_until(deadline, height, self.clock.now()));
                Standing::Held(HeldPayment { held_until: until, ..held }, deadline)
            }
            (standing, _) => standing,
        })
    }

    pub(crate) async fn hold_create(
        &self,
        request: &InvoiceRequest,
        payment_hash: PaymentHash,
    ) -> Result<Bolt11, WalletError> {
        self.check_network().await?;
        // A second invoice for one hash would be a second payment.
        match self.records.invoice(&self.client, payment_hash).await? {
            None => {}
            Some(Found::Invoice(record)) => {
                let standing = record.as_hold(payment_hash, self.clock.now())?;
                let same = record.description().is_none_or(|found| found == request.description);
                let known = record.invoice().and_then(|invoice| invoice.parse::<Bolt11>().ok());
                let known = known.filter(|_| same && matches!(standing, Standing::Open | Standing::Held(..)));
                let expected = ExpectedInvoice {
                    network: self.network,
                    amount: request.amount.to_msats(),
                    payment_hash: Some(payment_hash),
                    expires_after: self.clock.now(),
                };
                return match known.filter(|known| known.check(&expected).is_ok()) {
                    Some(known) => Ok(known),
                    None => refused("another invoice was made for this payment hash"),
                };
            }
            Some(Found::OwnPayment(_)) => {
                return refused("the wallet has paid an invoice with this payment hash");
            }
        }
        let asked_at = self.clock.now();
        let amount = request.amount.to_msats();
        let client = &self.client;
        let made =
            client.make_hold_invoice(amount, &request.description, request.expiry, payment_hash, FINAL_DELTA);
        let made = made.await.map_err(|error| match error {
            // There may be an invoice that nobody has seen.
            RequestError::Lost => unknown(error),
            error => read_error(error),
        })?;
        let hash = payment_hash.to_string();
        checked_invoice(made.invoice.as_deref(), Some(&hash), request, self.network, asked_at)
    }

    pub(crate) async fn hold_settle(&self, preimage: Preimage) -> Result<(), WalletError> {
        let payment_hash = preimage.payment_hash();
        match self.standing(payment_hash).await? {
            None => return refused("the wallet does not know the invoice"),
            Some(Standing::Open) => return refused("no payment is held: the invoice is not paid"),
            Some(Standing::Gone) => return refused("no payment is held: it went back, or never came"),
            Some(Standing::Settled) => return Ok(()),
            Some(Standing::Held(..) | Standing::Unclear(_)) => {}
        }
        let Err(error) = self.client.settle_hold_invoice(preimage).await else { return Ok(()) };
        match self.standing(payment_hash).await {
            Ok(Some(Standing::Settled)) => Ok(()),
            Ok(Some(Standing::Gone)) => refused(format!("no payment is held: it went back ({error})")),
            Ok(Some(Standing::Held(..))) => Err(not_done(error)),
            _ => Err(unknown(error)),
        }
    }

    pub(crate) async fn hold_cancel(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        match self.standing(payment_hash).await? {
            None => return refused("the wallet does not know the invoice"),
            Some(Standing::Settled) => return refused("the payment was settled"),
            Some(Standing::Gone) => return Ok(()),
            Some(Standing::Open | Standing::Held(..) | Standing::Unclear(_)) => {}
        }
        let Err(error) = self.client.cancel_hold_invoice(payment_hash).await else { return Ok(()) };
        let not_found =
            matches!(&error, RequestError::Fault { fault, .. } if fault.code == ErrorCode::NotFound);
        match self.standing(payment_hash).await {
            Ok(Some(Standing::Settled)) => refused(format!("the payment was settled ({error})")),
            Ok(Some(Standing::Gone)) => Ok(()),
            // Alby Hub finds what is held, and nothing is settled.
            Ok(Some(Standing::Unclear(_))) if not_found => Ok(()),
            // Alby Hub cancels only what is held.
            Ok(Some(Standing::Open)) if not_found => Err(unavailable(error)),
            Ok(Some(Standing::Open | Standing::Held(..))) => Err(not_done(error)),
            _ => Err(unknown(error)),
        }
    }
}
