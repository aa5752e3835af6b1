//! The bodies of models and their prices.

use super::Decimal;
use serde::Serialize;
use tithe_engine::quotes::OfferedModel;
use tithe_money::MoneyError;
use tithe_pricing::Price;
use utoipa::ToSchema;

/// A price in both currencies, including the margin.
#[derive(Debug, Serialize, ToSchema)]
struct PriceBody {
    /// The price, in US dollars.
    #[schema(value_type = f64)]
    usd: Decimal,
    /// The price at the current BTC price, in msats.
    msats: u64,
}

impl From<Price> for PriceBody {
    fn from(price: Price) -> Self {
        Self { usd: price.usd.into(), msats: price.msats.get() }
    }
}

/// The prices of a model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ModelPricingBody {
    /// The price of a million input tokens.
    input: PriceBody,
    /// The price of a million input tokens that the backend reads from its cache.
    cached_input: PriceBody,
    /// The price of a million output tokens.
    output: PriceBody,
    /// The price of a request besides its tokens.
    request: PriceBody,
}

/// A model that is offered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelBody {
    /// The name to send as `model`.
    name: String,
    /// What it is for: `chat`, or `embeddings`, which are only sold by `POST /v1/embeddings`.
    purpose: &'static str,
    /// Whether work runs on this model if the request names none.
    is_default: bool,
    /// The context window, input and output together, in tokens; of an embedding model, the most that one input may have.
    context_tokens: u64,
    /// The largest `maxOutputTokens`; 0 of an embedding model.
    max_output_tokens: u64,
    /// The prices.
    pricing: ModelPricingBody,
}

impl TryFrom<&OfferedModel> for ModelBody {
    type Error = MoneyError;

    fn try_from(model: &OfferedModel) -> Result<Self, MoneyError> {
        Ok(Self {
            name: model.name.clone(),
            purpose: model.purpose.as_str(),
            is_default: model.is_default,
            context_tokens: model.context_tokens,
            max_output_tokens: model.max_output_tokens,
            pricing: ModelPricingBody {
                input: model.input.into(),
                cached_input: model.cached_input.into(),
                output: model.output.into(),
                request: model.request.into(),
            },
        })
    }
}

/// The models that are offered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelListBody {
    /// The models, by name.
    pub(crate) models: Vec<ModelBody>,
}
