//! Invoices and their payment.

use serde::Serialize;
use tithe_clock::Timestamp;
use tithe_lightning::{Invoice, InvoiceState};
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// An invoice to be paid.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvoiceBody {
    /// The BOLT11 invoice.
    #[schema(example = "lnbc20n1…")]
    payment_request: String,
    /// What names the payment: 64 hex digits.
    payment_hash: String,
    /// What it asks for, in sats.
    amount_sats: u64,
    /// From when on it cannot be paid.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl TryFrom<&Invoice> for InvoiceBody {
    type Error = MoneyError;

    fn try_from(invoice: &Invoice) -> Result<Self, MoneyError> {
        Ok(Self {
            payment_request: invoice.payment_request.clone(),
            payment_hash: invoice.payment_hash.to_string(),
            amount_sats: invoice.amount.to_sats_rounding_up()?.get(),
            expires_at: invoice.expires_at,
        })
    }
}

/// Where an invoice stands. Never with its preimage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvoiceStateBody {
    /// What names the payment.
    payment_hash: String,
    /// `pending`, `paid` or `expired`.
    state: &'static str,
    /// What it pays for: `job_eval` or `job_work`.
    purpose: &'static str,
    /// Where what it pays for can be read.
    #[schema(example = "/api/jobs/019a…")]
    owner_path: String,
    /// When it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    paid_at: Option<Timestamp>,
}

impl From<&Invoice> for InvoiceStateBody {
    fn from(invoice: &Invoice) -> Self {
        Self {
            payment_hash: invoice.payment_hash.to_string(),
            state: invoice.state.name(),
            purpose: invoice.purpose.name(),
            owner_path: format!("/api/jobs/{}", invoice.owner),
            paid_at: match invoice.state {
                InvoiceState::Paid { paid_at, .. } => Some(paid_at),
                _ => None,
            },
        }
    }
}

/// A test payment that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestPaymentBody {
    /// Always true.
    pub(crate) ok: bool,
    /// What names the payment.
    pub(crate) payment_hash: String,
    /// The proof of payment.
    pub(crate) preimage: String,
}
