//! The wallet's decisions about hold invoices.
//!
//! The preimage of an ordinary invoice derives from its payment secret, so that every simulated payer knows it. That of a hold
//! invoice is the caller's: nobody has it before the settlement.

use crate::decide::{Decision, record_of, refused, sign_invoice};
use crate::node::Node;
use crate::record::Record;
use crate::state::{SimInvoice, State};
use std::time::Duration;
use tithe_clock::{Entropy, Timestamp};
use tithe_lightning::{
    Bolt11, InvoiceRequest, InvoiceStatus, PaymentHash, Preimage, TestPaymentError, WalletError,
};
use tithe_money::Msats;

/// Creates a hold invoice, or returns the one that was created for the same request and can still be paid, or is.
pub(crate) fn create(
    state: &State,
    node: &Node,
    entropy: &dyn Entropy,
    now: Timestamp,
    request: &InvoiceRequest,
    payment_hash: PaymentHash,
) -> Decision<Bolt11, WalletError> {
    if let Some(invoice) = state.invoice(payment_hash) {
        let record = &invoice.record;
        let same = (record.amount, &record.description) == (request.amount, &request.description);
        if !invoice.is_hold || !same || invoice.status(now) == InvoiceStatus::Expired {
            return (None, refused("another invoice was made for this payment hash"));
        }
        let known = record.bolt11.parse().map_err(|error| WalletError::Nonsense(format!("{error}")));
        return (None, known);
    }
    match sign_invoice(node, now, request, payment_hash, entropy.bytes()) {
        Ok(bolt11) => (Some(Record::HoldInvoice(record_of(request, &bolt11, None))), Ok(bolt11)),
        Err(error) => (None, Err(error)),
    }
}

/// Settles the payment that is held.
pub(crate) fn settle(
    state: &State,
    now: Timestamp,
    preimage: Preimage,
    liquidity_fee: Msats,
) -> Decision<(), WalletError> {
    let payment_hash = preimage.payment_hash();
    let Some(invoice) = state.invoice(payment_hash).filter(|invoice| invoice.is_hold) else {
        return (None, refused("no hold invoice has this preimage"));
    };
    let amount = invoice.record.amount.to_msats();
    match invoice.status(now) {
        InvoiceStatus::Settled(_) => (None, Ok(())),
        InvoiceStatus::Held(_) if !state.can_receive(amount) => {
            (None, refused("the wallet would hold more than can exist"))
        }
        InvoiceStatus::Held(_) => {
            let liquidity_fee = liquidity_fee.min(amount);
            (Some(Record::HoldSettled { payment_hash, preimage, at: now, liquidity_fee }), Ok(()))
        }
        InvoiceStatus::Pending => (None, refused("no payment is held: the invoice is not paid")),
        InvoiceStatus::Expired => (None, refused("no payment is held: it went back, or never came")),
    }
}

/// Gives the payment that is held back, and accepts no more.
pub(crate) fn cancel(state: &State, now: Timestamp, payment_hash: PaymentHash) -> Decision<(), WalletError> {
    let Some(invoice) = state.invoice(payment_hash).filter(|invoice| invoice.is_hold) else {
        return (None, refused("no hold invoice has this payment hash"));
    };
    match invoice.status(now) {
        InvoiceStatus::Settled(_) => (None, refused("the payment was settled")),
        InvoiceStatus::Held(_) | InvoiceStatus::Pending => {
            (Some(Record::HoldCancelled { payment_hash, at: now }), Ok(()))
        }
        InvoiceStatus::Expired => (None, Ok(())),
    }
}

/// Pays a hold invoice with simulated money: the payment is held, and the payer does not wait. Once it is settled, paying again
/// pays nothing and returns the preimage. `None` if it is not a hold invoice of this wallet.
pub(crate) fn test_pay(
    state: &State,
    now: Timestamp,
    request: &Bolt11,
    hold_time: Duration,
) -> Option<Decision<Preimage, TestPaymentError>> {
    let payment_hash = request.payment_hash();
    let ours = |known: &&SimInvoice| known.is_hold && known.record.bolt11 == request.as_str();
    let invoice = state.invoice(payment_hash).filter(ours)?;
    let answer = match invoice.status(now) {
        InvoiceStatus::Settled(payment) => {
            payment.preimage.ok_or(TestPaymentError::AlreadyPaid(payment_hash))
        }
        InvoiceStatus::Held(_) => Err(TestPaymentError::Held(payment_hash)),
        InvoiceStatus::Expired if invoice.has_returned(now) => Err(TestPaymentError::Returned(payment_hash)),
        InvoiceStatus::Expired => Err(TestPaymentError::Expired(payment_hash)),
        InvoiceStatus::Pending => {
            let held = Record::Held { payment_hash, at: now, until: now + hold_time };
            return Some((Some(held), Err(TestPaymentError::Held(payment_hash))));
        }
    };
    Some((None, answer))
}
