//! Invoices and the payments for them.

use crate::api::{Api, Checked};
use crate::record::{Record, Status};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{
    Bolt11, ExpectedInvoice, InvoiceRequest, InvoiceStatus, Network, PaymentHash, ReceivedPayment,
    WalletError,
};

/// How long an expired invoice counts as pending: LNbits marks invoices as expired by its clock, and a payment that its node has
/// accepted at the last moment makes them paid.
const EXPIRY_GRACE: Duration = Duration::from_mins(1);

/// The BOLT11 limit for descriptions, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 639;

/// Creates an invoice and checks what LNbits returns.
pub(crate) async fn create(
    api: &Api,
    network: Network,
    request: &InvoiceRequest,
    now: Timestamp,
) -> Result<Bolt11, WalletError> {
    if request.amount.is_zero() {
        return Err(WalletError::Refused("missing amount: expected at least 1 sat".to_owned()));
    }
    if request.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(WalletError::Refused(format!(
            "description too long: expected at most {DESCRIPTION_BYTES_MAX} bytes, got {}",
            request.description.len()
        )));
    }
    let (payment_hash, text) = api.invoice_create(request).await?;
    let bolt11: Bolt11 =
        text.parse().map_err(|error| WalletError::Nonsense(format!("new invoice: {error}")))?;
    let expected = ExpectedInvoice {
        network,
        amount: request.amount.to_msats(),
        payment_hash: Some(payment_hash),
        // LNbits' clock may differ from ours. Its default instead of the requested expiry is what this finds.
        expires_after: now + request.expiry / 2,
    };
    bolt11.check(&expected).map_err(|mismatch| WalletError::Nonsense(format!("new invoice: {mismatch}")))?;
    Ok(bolt11)
}

/// The state of an invoice; `None` if the wallet has no such invoice.
pub(crate) async fn status(
    api: &Api,
    hash: PaymentHash,
    now: Timestamp,
) -> Result<Option<InvoiceStatus>, WalletError> {
    // For a pending invoice, LNbits queries its node: the event may have been lost.
    let record = match api.check(hash).await? {
        Checked::Record(record) if record.is_invoice() => Some(*record),
        // The wallet has paid its own invoice, or it does not know it, or the key is wrong: only the list tells.
        Checked::Record(_) | Checked::NotOurs => {
            api.records_of(hash).await?.into_iter().find(Record::is_invoice)
        }
    };
    record.map(|record| judge(&record, now)).transpose()
}

/// What the record of an invoice says.
fn judge(record: &Record, now: Timestamp) -> Result<InvoiceStatus, WalletError> {
    Ok(match record.status {
        Status::Success => InvoiceStatus::Settled(ReceivedPayment {
            payment_hash: record.payment_hash,
            amount: record.amount()?,
            liquidity_fee: record.fee()?,
            preimage: record.preimage()?,
            received_at: record.updated_at,
        }),
        Status::Pending => InvoiceStatus::Pending,
        Status::Failed if is_expired(record, now) => InvoiceStatus::Expired,
        // The node does not know the invoice at the moment. A payment that arrives later makes it paid.
        Status::Failed => InvoiceStatus::Pending,
    })
}

fn is_expired(record: &Record, now: Timestamp) -> bool {
    match record.bolt11.parse::<Bolt11>() {
        Ok(bolt11) => now >= bolt11.expires_at() + EXPIRY_GRACE,
        Err(_) => record.is_labelled_expired(),
    }
}
