//! Refunds, and where they are paid.

use super::vocabulary::RefundStateName;
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use tithe_engine::payouts::RefundView;
use tithe_lightning::Bolt11Error;
use tithe_payouts::{Destination, LightningAddress};
use utoipa::ToSchema;
use uuid::Uuid;

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefundBody {
    /// The state: `not_applicable`, `pending`, `paying` or `paid`.
    #[schema(value_type = RefundStateName)]
    state: &'static str,
    /// The refunded amount, in sats: everything that was ever owed.
    amount_sats: u64,
    /// What is due still, in sats, while anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    due_sats: Option<u64>,
    /// What the routing fee of its payment may be, in sats. It is taken from what is due, whatever the fee turns out to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    fee_limit_sats: Option<u64>,
    /// What can be paid, in sats: an invoice for the refund must be for exactly this, or without an amount. Zero if no more is due than the
    /// routing fee may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    payable_sats: Option<u64>,
    /// Whether it is known where to pay to, while anything is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    has_destination: Option<bool>,
    /// Why it was not paid yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<String>,
    /// The payment hash of the payment that was made last, or is in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    payment_hash: Option<String>,
}

impl From<&RefundView> for RefundBody {
    fn from(refund: &RefundView) -> Self {
        let due = |value| (!refund.quote.due.is_zero()).then_some(value);
        Self {
            state: refund.state.as_str(),
            amount_sats: refund.accrued.get(),
            due_sats: due(refund.quote.due.get()),
            fee_limit_sats: due(refund.quote.fee_limit.get()),
            payable_sats: due(refund.quote.payable.get()),
            has_destination: (!refund.quote.due.is_zero()).then_some(refund.has_destination),
            problem: refund.problem.clone(),
            payment_hash: refund.payment_hash.map(|hash| hash.to_string()),
        }
    }
}

impl RefundBody {
    /// Nothing was ever owed.
    pub(crate) fn none() -> Self {
        Self {
            state: "not_applicable",
            amount_sats: 0,
            due_sats: None,
            fee_limit_sats: None,
            payable_sats: None,
            has_destination: None,
            problem: None,
            payment_hash: None,
        }
    }
}

/// Where a refund is paid: an invoice, a Lightning address, or the balance of a session.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "lightningAddress": "alice@example.com" }))]
pub(crate) struct DestinationBody {
    /// A BOLT11 invoice for exactly `payableSats` of the refund, or without an amount.
    #[schema(nullable = false)]
    invoice: Option<String>,
    /// A Lightning address, such as `alice@example.com`: it is asked for an invoice (LNURL-pay).
    #[schema(nullable = false)]
    lightning_address: Option<String>,
    /// The id of a session that is active: all of `dueSats` is added to its balance, without a routing fee, and however small it is. Anybody's
    /// session will do.
    #[schema(nullable = false, value_type = Option<Uuid>)]
    session_id: Option<String>,
}

impl DestinationBody {
    /// The destination, or none if the body names none.
    ///
    /// # Errors
    /// A problem that names the field.
    pub(crate) fn read_optional(&self) -> Result<Option<Destination>, Problem> {
        if self.invoice.is_none() && self.lightning_address.is_none() && self.session_id.is_none() {
            return Ok(None);
        }
        self.read().map(Some)
    }

    /// The destination.
    ///
    /// # Errors
    /// A problem that names the field.
    pub(crate) fn read(&self) -> Result<Destination, Problem> {
        match (&self.invoice, &self.lightning_address, &self.session_id) {
            (Some(invoice), None, None) => {
                let text = invoice.trim();
                let text = text
                    .strip_prefix("lightning:")
                    .or_else(|| text.strip_prefix("LIGHTNING:"))
                    .unwrap_or(text);
                let request =
                    text.parse().map_err(|wrong: Bolt11Error| Problem::field("invoice", why(&wrong)))?;
                Ok(Destination::Invoice(Box::new(request)))
            }
            (None, Some(address), None) => {
                let address: Result<LightningAddress, _> = address.parse();
                address.map(Destination::Address).map_err(|wrong| Problem::field("lightningAddress", wrong))
            }
            (None, None, Some(id)) => Uuid::try_parse(id).map(Destination::Session).map_err(|_| {
                Problem::field("sessionId", format!("malformed session id: expected a UUID, got {id:?}"))
            }),
            (None, None, None) => {
                Err(Problem::field("invoice", "missing: expected invoice, lightningAddress or sessionId"))
            }
            _ => Err(Problem::field(
                "invoice",
                "several destinations: expected one of invoice, lightningAddress and sessionId",
            )),
        }
    }
}

/// The refund of a job or a bootstrap.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefundRequestedBody {
    /// The refund. It is paid in the background: read the job again to see what becomes of it.
    pub(crate) refund: RefundBody,
}

/// How a session is closed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CloseSessionBody {
    /// Where what the session has left is paid. It can also be named later, by closing the session again.
    #[schema(nullable = false)]
    pub(crate) return_to: Option<DestinationBody>,
}

/// Why a text is no payment request, with the cause.
fn why(wrong: &Bolt11Error) -> String {
    let cause = std::error::Error::source(wrong).map_or(String::new(), |cause| format!(": {cause}"));
    format!("{wrong}{cause}")
}
