//! The bodies of invoices and test payments.

use super::vocabulary::{InvoiceStateName, PurposeName};
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_lightning::{Bolt11, Invoice, InvoiceState};
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// An unpaid invoice.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvoiceBody {
    /// The BOLT11 invoice.
    #[schema(example = "lnbc20n1…")]
    payment_request: String,
    /// The payment hash: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    payment_hash: String,
    /// The amount, in sats.
    #[schema(minimum = 1)]
    amount_sats: u64,
    /// The time at which the invoice expires.
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

/// The state of an invoice, without its preimage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvoiceStateBody {
    /// The payment hash: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    payment_hash: String,
    /// `pending`, `paid` or `expired`.
    #[schema(value_type = InvoiceStateName)]
    state: &'static str,
    /// What the invoice pays for.
    #[schema(value_type = PurposeName)]
    purpose: String,
    /// The amount, in sats.
    amount_sats: u64,
    /// The time of expiry.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The path of the job, session or bootstrap that the invoice pays for; only for its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/jobs/019a…")]
    owner_path: Option<String>,
    /// The time of payment; absent if the invoice is not paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    paid_at: Option<Timestamp>,
}

impl InvoiceStateBody {
    /// The state of an invoice, with the path of its owner if the caller may know it.
    pub(crate) fn new(invoice: &Invoice, owner_path: Option<String>) -> Result<Self, MoneyError> {
        Ok(Self {
            payment_hash: invoice.payment_hash.to_string(),
            state: invoice.state.as_str(),
            purpose: invoice.purpose.to_string(),
            amount_sats: invoice.amount.to_sats_rounding_up()?.get(),
            expires_at: invoice.expires_at,
            owner_path,
            paid_at: match invoice.state {
                InvoiceState::Paid { paid_at, .. } => Some(paid_at),
                _ => None,
            },
        })
    }
}

/// A completed test payment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestPaymentBody {
    /// Always true.
    pub(crate) ok: bool,
    /// The payment hash: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) payment_hash: String,
    /// The preimage, which is the proof of payment: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) preimage: String,
}

/// An invoice for tests.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestInvoiceBody {
    /// The BOLT11 invoice.
    payment_request: String,
    /// The payment hash: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    payment_hash: String,
    /// The time at which the invoice expires.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A request for an invoice of the wallet that pays test invoices.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "amountSats": 500 }))]
pub(crate) struct NewTestInvoiceBody {
    /// The amount, in sats. 0 makes an invoice without an amount.
    #[serde(alias = "amount_sats")]
    pub(crate) amount_sats: u64,
}

impl From<&Bolt11> for TestInvoiceBody {
    fn from(invoice: &Bolt11) -> Self {
        Self {
            payment_request: invoice.as_str().to_owned(),
            payment_hash: invoice.payment_hash().to_string(),
            expires_at: invoice.expires_at(),
        }
    }
}
