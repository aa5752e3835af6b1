//! Estimates.

use super::{Decimal, PoolSummaryBody};
use serde::Serialize;
use tithe_engine::{Estimate, FreeTierPreview};
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// The span of what a request can cost.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RangeBody {
    /// The least, in sats.
    min_sats: u64,
    /// The most, in sats: what you are asked to pay before what is not used is owed back.
    max_sats: u64,
}

/// What a request is expected to use.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenEstimateBody {
    /// Tokens of your request.
    input_tokens: u64,
    /// Tokens of the answer, as expected.
    output_tokens: u64,
    /// The model.
    model: String,
}

/// What the pool would pay if you asked now. Nothing is set aside for it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FreeTierBody {
    /// `free`, `partial` or `gate` (the pool pays nothing): decided on the most that the work can cost.
    serve: &'static str,
    /// What the pool is expected to pay, in sats. With `chargeSats` it is `estimatedSats`.
    absorb_sats: u64,
    /// What is expected to be left for you to pay, in sats, rounded up. The evaluation's fee is in it, which the pool never
    /// pays.
    charge_sats: u64,
    /// What the work's invoice would ask for, in sats, before what is not used is owed back; 0: there would be none.
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

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
struct IdentityBody {
    /// The identity's tier; `anonymous` without one.
    trust_tier: &'static str,
    /// The identity's public key: 64 hex digits. Only with an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pubkey: Option<String>,
    /// What the pool would pay. Only with an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_tier: Option<FreeTierBody>,
}

/// What a request would cost: its evaluation and its work together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EstimateBody {
    /// What is expected, in sats, rounded up.
    estimated_sats: u64,
    /// The same, exactly.
    estimated_msats: u64,
    /// The same in dollars, margin included.
    #[schema(value_type = f64)]
    estimated_cost_usd: Decimal,
    /// The part of it that the evaluation costs, in sats: flat, paid first, not given back once it has run.
    evaluation_fee_sats: u64,
    /// The BTC price that it was worked out at.
    #[schema(value_type = f64)]
    btc_price_usd: Decimal,
    /// From the least to the most.
    range: RangeBody,
    /// What was counted.
    token_estimate: TokenEstimateBody,
    /// Who asks.
    identity: IdentityBody,
    /// How the pool stands.
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
