//! The bodies of paid requests: what a 402 offers, and what became of a payment.

use super::vocabulary::{PaymentStateName, WorkPaymentName};
use super::{InvoiceBody, RefundBody};
use serde::Serialize;
use tithe_clock::Timestamp;
use tithe_engine::sessions::{ClosedPaymentSession, OfferedRequest, PaymentState, PaymentView};
use tithe_jobs::WorkPayment;
use tithe_lightning::PaymentHash;
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// How one request is paid for by itself: the invoice, and how its payment is proved.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfferBody {
    /// The price, in sats: the most that the request can cost. What it does not use is refunded.
    #[schema(minimum = 1)]
    amount_sats: u64,
    /// The invoice.
    invoice: InvoiceBody,
    /// `held` if the invoice is a hold invoice: the request is done while its payment is held, the payment is taken when it is done, and
    /// goes back if it fails. `prepaid` if the request is done when it comes with the proof.
    #[schema(value_type = WorkPaymentName)]
    payment: &'static str,
    /// What to send as `Authorization` with the same request once the invoice is paid, with the preimage in the place of `<preimage>`.
    /// The `WWW-Authenticate` headers have the same token.
    #[schema(example = "L402 AgEFdGl0aGU…:<preimage>")]
    authorization: String,
    /// Where to go on.
    links: OfferLinksBody,
}

/// The paths that an offer leads to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OfferLinksBody {
    /// The documentation of the API.
    docs: &'static str,
    /// What becomes of the payment (`GET`, with the same `Authorization`).
    payment: String,
    /// Where what was not used can be claimed (`POST`, with the same header).
    refund: String,
}

impl OfferBody {
    /// An offer, whose payment is proved with this token.
    pub(crate) fn new(offered: &OfferedRequest, token: &str) -> Result<Self, MoneyError> {
        let invoice = &offered.invoice;
        let work_payment = if offered.is_held { WorkPayment::Held } else { WorkPayment::Prepaid };
        let payment = payment_path(&invoice.payment_hash);
        Ok(Self {
            amount_sats: invoice.amount.to_sats_rounding_up()?.get(),
            invoice: InvoiceBody::try_from(invoice)?,
            payment: work_payment.as_str(),
            authorization: format!("L402 {token}:<preimage>"),
            links: OfferLinksBody { docs: "/docs", refund: format!("{payment}/refund"), payment },
        })
    }
}

/// The path of the payment with this hash.
fn payment_path(hash: &PaymentHash) -> String {
    format!("/api/payments/{hash}")
}

/// Why nothing is offered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoOfferBody {
    /// The reason.
    pub(crate) unavailable: String,
}

/// A payment for one request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentBody {
    /// The payment hash: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    payment_hash: String,
    /// The state: `pending` (the wallet has not reported the payment), `paid` (it can be used or claimed), `running` (the request is being
    /// done), `used` (it has bought its answer), `returned` (it was claimed back) or `expired` (it was not used in time).
    #[schema(value_type = PaymentStateName)]
    state: &'static str,
    /// The price of the request, in sats.
    amount_sats: u64,
    /// What was paid, in msats.
    paid_msats: u64,
    /// What the request was charged, in msats.
    charged_msats: u64,
    /// The id of the request, once it was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = "uuid")]
    request_id: Option<String>,
    /// While nothing has come of the payment: until when the invoice can be paid, or the payment used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// What is refunded.
    refund: RefundBody,
}

impl From<&PaymentView> for PaymentBody {
    fn from(payment: &PaymentView) -> Self {
        let is_open = matches!(payment.state, PaymentState::Pending | PaymentState::Paid);
        Self {
            payment_hash: payment.payment_hash.to_string(),
            state: payment.state.as_str(),
            amount_sats: payment.price.get(),
            paid_msats: payment.paid.get(),
            charged_msats: payment.charged.get(),
            request_id: payment.request.map(|request| request.to_string()),
            expires_at: is_open.then_some(payment.expires_at),
            refund: RefundBody::from(&payment.refund),
        }
    }
}

/// The response to a `topUp` of a session of the scheme `Payment` (`draft-lightning-session-00`, "Top-Up").
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionToppedUpBody {
    /// `ok`.
    #[schema(value_type = String)]
    status: &'static str,
}

impl SessionToppedUpBody {
    /// The only such response.
    pub(crate) const OK: Self = Self { status: "ok" };
}

/// The response to the `close` of a session of the scheme `Payment` (`draft-lightning-session-00`, "Close").
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionClosedBody {
    /// `closed`.
    #[schema(value_type = String)]
    status: &'static str,
    /// What was left, in sats.
    refund_sats: u64,
    /// `succeeded`, `failed`, or `skipped` if there is nothing to pay.
    #[schema(value_type = String)]
    refund_status: &'static str,
    /// Whether it may still be paid, although it is called failed: the draft has no word for a payment in flight.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refund_pending: bool,
}

impl From<&ClosedPaymentSession> for SessionClosedBody {
    fn from(closed: &ClosedPaymentSession) -> Self {
        Self {
            status: "closed",
            refund_sats: closed.refund.get(),
            refund_status: closed.status.as_str(),
            refund_pending: closed.is_pending,
        }
    }
}
