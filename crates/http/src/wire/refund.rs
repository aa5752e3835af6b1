//! Refunds.

use super::vocabulary::RefundStateName;
use serde::Serialize;
use tithe_jobs::Refund;
use tithe_money::Sats;
use utoipa::ToSchema;

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefundBody {
    /// The state: `not_applicable`, `pending`, `paying` or `paid`.
    #[schema(value_type = RefundStateName)]
    state: &'static str,
    /// The refunded amount, in sats.
    amount_sats: u64,
}

impl From<Refund> for RefundBody {
    fn from(refund: Refund) -> Self {
        Self { state: refund.as_str(), amount_sats: refund.amount().get() }
    }
}

impl From<Sats> for RefundBody {
    /// The refund of what was due when a session ended, and is not paid yet.
    fn from(amount: Sats) -> Self {
        let state = if amount.is_zero() { "not_applicable" } else { "pending" };
        Self { state, amount_sats: amount.get() }
    }
}
