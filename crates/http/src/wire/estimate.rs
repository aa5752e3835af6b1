//! Estimates.

use super::{ANONYMOUS, Decimal};
use serde::Serialize;
use tithe_engine::Estimate;
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

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
struct IdentityBody {
    /// The identity's tier; `anonymous` without one.
    trust_tier: &'static str,
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
}

impl TryFrom<&Estimate> for EstimateBody {
    type Error = MoneyError;

    fn try_from(estimate: &Estimate) -> Result<Self, MoneyError> {
        Ok(Self {
            estimated_sats: estimate.expected.to_sats_rounding_up()?.get(),
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
            identity: IdentityBody { trust_tier: ANONYMOUS },
        })
    }
}
