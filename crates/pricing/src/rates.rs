//! A model's prices, and what usage costs at them.

use crate::{Price, Terms, Usage};
use tithe_money::{MoneyError, PicoUsd, UsdMicros};

/// Prices by kind of token, in micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRates {
    /// Per million fresh input tokens.
    pub input: UsdMicros,
    /// Per million input tokens that the backend read from its cache; the same as `input` where there is no discount.
    pub cached_input: UsdMicros,
    /// Per million input tokens that the backend wrote to its cache, to be kept for some minutes; the same as `input` where that
    /// costs nothing extra.
    pub cache_write: UsdMicros,
    /// Per million input tokens that the backend wrote to its cache, to be kept for an hour; the same as `cache_write` where there is no
    /// such choice.
    pub cache_write_1h: UsdMicros,
    /// Per million output tokens.
    pub output: UsdMicros,
    /// Per million output tokens of reasoning; the same as `output` where they are not priced apart.
    pub reasoning: UsdMicros,
}

impl TokenRates {
    /// The same price for all input, and the same price for all output.
    #[must_use]
    pub const fn uniform(input: UsdMicros, output: UsdMicros) -> Self {
        Self {
            input,
            cached_input: input,
            cache_write: input,
            cache_write_1h: input,
            output,
            reasoning: output,
        }
    }

    /// The exact cost of `usage`. The parts of the input never add up to more than the input, whatever the backend reports: cache
    /// reads count first, then writes for an hour, then writes for minutes; the rest is fresh.
    fn cost(&self, usage: &Usage) -> Result<PicoUsd, MoneyError> {
        let mut fresh = usage.input_tokens;
        let mut part = |reported: u64| {
            let tokens = reported.min(fresh);
            fresh -= tokens;
            tokens
        };
        let cached = part(usage.cached_input_tokens);
        let written_1h = part(usage.cache_write_1h_tokens);
        let written = part(usage.cache_write_tokens);
        let reasoning = usage.reasoning_tokens.min(usage.output_tokens);
        PicoUsd::of_tokens(fresh, self.input)?
            .checked_add(PicoUsd::of_tokens(cached, self.cached_input)?)?
            .checked_add(PicoUsd::of_tokens(written, self.cache_write)?)?
            .checked_add(PicoUsd::of_tokens(written_1h, self.cache_write_1h)?)?
            .checked_add(PicoUsd::of_tokens(usage.output_tokens - reasoning, self.output)?)?
            .checked_add(PicoUsd::of_tokens(reasoning, self.reasoning)?)
    }

    /// The dearest price of an input token of a request that may cause these cache writes.
    fn dearest_input(&self, writes: CacheWrites) -> UsdMicros {
        let read = self.input.max(self.cached_input);
        match writes {
            CacheWrites::None => read,
            CacheWrites::Minutes => read.max(self.cache_write),
            CacheWrites::Hour => read.max(self.cache_write).max(self.cache_write_1h),
        }
    }
}

/// Prices of the whole request, prompt and output, that apply above a size of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateTier {
    /// The prices apply to prompts of more tokens than this.
    pub above_input_tokens: u64,
    /// The prices of all tokens of such a request.
    pub rates: TokenRates,
}

/// A model's prices.
///
/// As JSON it is one flat object. What older versions stored, without the fields for cache writes, reasoning and tiers, is read as the
/// same price for all input that was not read from the cache, all output, and all sizes. Older versions skip the fields that they do not
/// know; fields that say nothing new are not written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "stored::Rates", into = "stored::Rates"))]
pub struct ModelRates {
    /// The prices of requests to which no tier applies.
    pub base: TokenRates,
    /// Prices of requests with long prompts, in any order. Empty for most models, and then cloning allocates nothing.
    pub tiers: Vec<RateTier>,
}

/// The cache writes that a request may cause at its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CacheWrites {
    /// None: the request does not ask for any.
    #[default]
    None,
    /// Writes that are kept for some minutes.
    Minutes,
    /// Writes that are kept for some minutes or for an hour.
    Hour,
}

impl ModelRates {
    /// The prices of a request with a prompt of `input_tokens`: those of the highest tier that the prompt exceeds.
    #[must_use]
    pub fn at_size(&self, input_tokens: u64) -> &TokenRates {
        let reached = self.tiers.iter().filter(|tier| input_tokens > tier.above_input_tokens);
        reached.max_by_key(|tier| tier.above_input_tokens).map_or(&self.base, |tier| &tier.rates)
    }

    /// The exact cost of `usage` for the operator.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the cost cannot be expressed.
    pub fn cost(&self, usage: &Usage, fixed_cost: UsdMicros) -> Result<PicoUsd, MoneyError> {
        self.at_size(usage.input_tokens).cost(usage)?.checked_add(fixed_cost.into())
    }

    /// The selling price of `usage`: cost times (1 + margin), rounded up once.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    pub fn price(&self, usage: &Usage, terms: &Terms) -> Result<Price, MoneyError> {
        Price::of(self.cost(usage, terms.fixed_cost)?, terms)
    }

    /// The most that a request can cost which has at most `max_input` tokens of input and `max_output` of output, and which causes no
    /// cache writes but these: every input token at the dearest price that can apply to it, in the dearest of the tiers that it can
    /// reach.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    pub fn max_price(
        &self,
        max_input: u64,
        writes: CacheWrites,
        max_output: u64,
        terms: &Terms,
    ) -> Result<Price, MoneyError> {
        let mut dearest = PicoUsd::ZERO;
        let starts = self.tiers.iter().map(|tier| tier.above_input_tokens);
        // The largest prompt of each tier: each threshold, and the largest prompt of all.
        for input in starts.filter(|start| *start < max_input).chain([max_input]) {
            let rates = self.at_size(input);
            let cost = PicoUsd::of_tokens(input, rates.dearest_input(writes))?
                .checked_add(PicoUsd::of_tokens(max_output, rates.output.max(rates.reasoning))?)?;
            dearest = dearest.max(cost);
        }
        Price::of(dearest.checked_add(terms.fixed_cost.into())?, terms)
    }
}

impl From<TokenRates> for ModelRates {
    fn from(base: TokenRates) -> Self {
        Self { base, tiers: Vec::new() }
    }
}

/// What is stored.
#[cfg(feature = "serde")]
mod stored {
    use super::{ModelRates, RateTier, TokenRates};
    use serde::{Deserialize, Serialize};
    use tithe_money::UsdMicros;

    /// The prices of a model, or of one of its tiers.
    #[derive(Serialize, Deserialize)]
    pub(super) struct Rates {
        /// Only in a tier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        above_input_tokens: Option<u64>,
        input: UsdMicros,
        cached_input: UsdMicros,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache_write: Option<UsdMicros>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache_write_1h: Option<UsdMicros>,
        output: UsdMicros,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reasoning: Option<UsdMicros>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tiers: Vec<Rates>,
    }

    impl Rates {
        fn new(above_input_tokens: Option<u64>, rates: TokenRates, tiers: Vec<Self>) -> Self {
            let apart = |rate: UsdMicros, like: UsdMicros| (rate != like).then_some(rate);
            Self {
                above_input_tokens,
                input: rates.input,
                cached_input: rates.cached_input,
                cache_write: apart(rates.cache_write, rates.input),
                cache_write_1h: apart(rates.cache_write_1h, rates.cache_write),
                output: rates.output,
                reasoning: apart(rates.reasoning, rates.output),
                tiers,
            }
        }

        fn token_rates(&self) -> TokenRates {
            let cache_write = self.cache_write.unwrap_or(self.input);
            TokenRates {
                input: self.input,
                cached_input: self.cached_input,
                cache_write,
                cache_write_1h: self.cache_write_1h.unwrap_or(cache_write),
                output: self.output,
                reasoning: self.reasoning.unwrap_or(self.output),
            }
        }
    }

    impl From<ModelRates> for Rates {
        fn from(rates: ModelRates) -> Self {
            let tier = |tier: RateTier| Self::new(Some(tier.above_input_tokens), tier.rates, Vec::new());
            Self::new(None, rates.base, rates.tiers.into_iter().map(tier).collect())
        }
    }

    impl From<Rates> for ModelRates {
        fn from(stored: Rates) -> Self {
            let tier = |tier: &Rates| RateTier {
                above_input_tokens: tier.above_input_tokens.unwrap_or_default(),
                rates: tier.token_rates(),
            };
            Self { base: stored.token_rates(), tiers: stored.tiers.iter().map(tier).collect() }
        }
    }
}

#[cfg(test)]
mod tests;
