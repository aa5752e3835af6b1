//! The body of an estimate.

use super::vocabulary::{ServeName, TierName};
use super::{Decimal, PoolSummaryBody};
use serde::Serialize;
use tithe_engine::quotes::{Estimate, FreeTierPreview};
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// The range of possible prices.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RangeBody {
    /// The minimum price, in sats.
    min_sats: u64,
    /// The maximum price, in sats: the amount invoiced in advance. Anything unused is refunded.
    max_sats: u64,
}

/// The expected token usage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenEstimateBody {
    /// The number of input tokens.
    input_tokens: u64,
    /// The expected number of output tokens.
    output_tokens: u64,
    /// The model that would be used.
    model: String,
}

/// The amount that the pool would pay for a job created now. An estimate reserves nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FreeTierBody {
    /// `free`, `partial` or `gate` (the pool pays nothing). The decision is based on the maximum price of the work.
    #[schema(value_type = ServeName)]
    serve: &'static str,
    /// The amount that the pool is expected to pay, in sats. Together with `chargeSats`, it equals `estimatedSats`.
    absorb_sats: u64,
    /// The amount that you are expected to pay, in sats, rounded up. It includes the evaluation fee, which the pool
    /// never pays.
    charge_sats: u64,
    /// The amount of the work invoice, in sats; 0 if there would be none. Anything unused is refunded.
    up_front_sats: u64,
}

impl FreeTierBody {
    fn of(preview: &FreeTierPreview, estimated_sats: u64) -> Result<Self, MoneyError> {
        let charge_sats = preview.expected_charge.to_sats_rounding_up()?.get();
        Ok(Self {
            serve: preview.decision.serve.as_str(),
            absorb_sats: estimated_sats.saturating_sub(charge_sats),
            charge_sats,
            up_front_sats: preview.decision.charge.to_sats_rounding_up()?.get(),
        })
    }
}

/// The identity of the caller.
#[derive(Debug, Serialize, ToSchema)]
struct IdentityBody {
    /// The trust tier of the caller; `anonymous` without an identity.
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
    /// The public key: 64 hex digits. Absent without an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pubkey: Option<String>,
    /// The amount that the pool would pay. Absent without an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_tier: Option<FreeTierBody>,
}

/// The estimated price of a request, including its evaluation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EstimateBody {
    /// The expected price, in sats, rounded up.
    estimated_sats: u64,
    /// The expected price, in msats.
    estimated_msats: u64,
    /// The same price in US dollars, including the margin.
    #[schema(value_type = f64)]
    estimated_cost_usd: Decimal,
    /// The evaluation fee, in sats, as a part of the price. It is paid first, and not refunded once the evaluation has
    /// run.
    evaluation_fee_sats: u64,
    /// The BTC price used for the estimate, in US dollars.
    #[schema(value_type = f64)]
    btc_price_usd: Decimal,
    /// The range of possible prices.
    range: RangeBody,
    /// The expected token usage.
    token_estimate: TokenEstimateBody,
    /// The identity of the caller.
    identity: IdentityBody,
    /// The state of the pool.
    pool: PoolSummaryBody,
}

impl TryFrom<&Estimate> for EstimateBody {
    type Error = MoneyError;

    fn try_from(estimate: &Estimate) -> Result<Self, MoneyError> {
        let estimated_sats = estimate.expected.to_sats_rounding_up()?.get();
        let preview = estimate.free_tier.as_ref();
        Ok(Self {
            estimated_sats,
            estimated_msats: estimate.expected.get(),
            estimated_cost_usd: estimate.expected_usd.into(),
            evaluation_fee_sats: estimate.evaluation_fee.get(),
            btc_price_usd: estimate.btc.price.usd_micros().into(),
            range: RangeBody {
                min_sats: estimate.min.to_sats_rounding_up()?.get(),
                max_sats: estimate.max.to_sats_rounding_up()?.get(),
            },
            token_estimate: TokenEstimateBody {
                input_tokens: estimate.work.tokens.input,
                output_tokens: estimate.work.tokens.output,
                model: estimate.work.model.clone(),
            },
            identity: IdentityBody {
                trust_tier: estimate.tier.as_str(),
                pubkey: preview.map(|preview| preview.pubkey.to_string()),
                free_tier: preview.map(|preview| FreeTierBody::of(preview, estimated_sats)).transpose()?,
            },
            pool: PoolSummaryBody::from(&estimate.pool),
        })
    }
}
