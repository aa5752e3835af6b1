//! What is offered, and at what price.

use super::service::Quotes;
use crate::error::EngineError;
use tithe_pricing::{Model, ModelRates, Price, Purpose, Terms, Usage};

/// How many tokens the prices of a list are for.
const TOKENS: u64 = 1_000_000;

/// A model that is offered. Prices include the margin, and are for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedModel {
    /// The model's name.
    pub name: String,
    /// The vendor.
    pub vendor: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether work runs on it when the customer does not choose.
    pub is_default: bool,
    /// The context window, in tokens; of an embedding model, the most that one input may have.
    pub context_tokens: u64,
    /// The most output that can be asked for, in tokens; 0 of an embedding model.
    pub max_output_tokens: u64,
    /// The price of input.
    pub input: Price,
    /// The price of input that the backend reads from its cache.
    pub cached_input: Price,
    /// The price of input that the backend writes to its cache, to be kept for about 5 minutes.
    pub cache_write: Price,
    /// The price of output.
    pub output: Price,
    /// The price of a request besides its tokens.
    pub request: Price,
}

impl Quotes {
    /// The models that customers may choose, by name, with their prices now.
    ///
    /// # Errors
    /// [`EngineError::NoPrice`].
    pub async fn price_list(&self) -> Result<Vec<OfferedModel>, EngineError> {
        let terms = self.terms().await?;
        self.offered_models().map(|model| self.offered(model, &terms)).collect()
    }

    fn offered(&self, model: &Model, terms: &Terms) -> Result<OfferedModel, EngineError> {
        let tokens_only = Terms { fixed_cost: tithe_money::UsdMicros::ZERO, ..*terms };
        // Of requests that no tier applies to: a million tokens at once would be priced as one long prompt.
        let rates = ModelRates::from(model.rates_at(terms.as_of()).base);
        let price = |input_tokens, cached_input_tokens, output_tokens| {
            rates.price(
                &Usage { input_tokens, cached_input_tokens, output_tokens, ..Usage::ZERO },
                &tokens_only,
            )
        };
        Ok(OfferedModel {
            name: model.name.clone(),
            vendor: model.vendor.clone(),
            purpose: model.purpose,
            is_default: model.name == self.core.settings.work_model,
            context_tokens: model.context_tokens,
            max_output_tokens: Self::output_limit(model),
            input: price(TOKENS, 0, 0)?,
            cached_input: price(TOKENS, TOKENS, 0)?,
            cache_write: rates.price(
                &Usage { input_tokens: TOKENS, cache_write_tokens: TOKENS, ..Usage::ZERO },
                &tokens_only,
            )?,
            output: price(0, 0, TOKENS)?,
            request: rates.price(&Usage::default(), terms)?,
        })
    }
}
