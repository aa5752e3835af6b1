//! One model that stands for several.

use crate::{Model, ModelRates, PriceChange, RateTier, TokenRates};
use std::collections::BTreeSet;
use tithe_money::UsdMicros;

impl Model {
    /// A model with this name that promises no more than each of `models` can do, and costs at least as much as any of them, whatever is
    /// used: the smallest context and limits; for each kind of token, size of the prompt and time the dearest price. A quote of it covers
    /// the work of whichever of them does it.
    ///
    /// Its vendor and its tokenizer are those of the first model: whoever quotes it counts the prompt with the tokenizer of each
    /// ([`Model::quote_tokens`]). `None` without any model.
    #[must_use]
    pub fn covering(name: &str, models: &[&Self]) -> Option<Self> {
        let first = models.first()?;
        let least = |of: fn(&Self) -> u64| models.iter().map(|model| of(model)).min().unwrap_or_default();
        let changes: BTreeSet<_> =
            models.iter().flat_map(|model| &model.price_changes).map(|change| change.from).collect();
        let price_changes = changes.into_iter().map(|from| {
            let then: Vec<_> = models.iter().map(|model| model.rates_at(from)).collect();
            PriceChange { from, rates: ModelRates::dearest(&then) }
        });
        Some(Self {
            name: name.to_owned(),
            vendor: first.vendor.clone(),
            purpose: first.purpose,
            context_tokens: least(|model| model.context_tokens),
            max_output_tokens: least(|model| model.max_output_tokens),
            default_max_output_tokens: least(|model| model.default_max_output_tokens),
            rates: ModelRates::dearest(&models.iter().map(|model| &model.rates).collect::<Vec<_>>()),
            price_changes: price_changes.collect(),
            implicit_cache_writes: models.iter().any(|model| model.implicit_cache_writes),
            shows_all_output: models.iter().all(|model| model.is_output_countable()),
            tokenizer: first.tokenizer,
            input_safety_pct: models.iter().map(|model| model.input_safety_pct).max().unwrap_or_default(),
        })
    }
}

impl ModelRates {
    /// The dearest prices of all, by kind of token and size of the prompt.
    fn dearest(all: &[&Self]) -> Self {
        let dearest = |of: &dyn Fn(&Self) -> TokenRates| {
            let each = |price: fn(&TokenRates) -> UsdMicros| {
                all.iter().map(|rates| price(&of(rates))).max().unwrap_or(UsdMicros::ZERO)
            };
            TokenRates {
                input: each(|rates| rates.input),
                cached_input: each(|rates| rates.cached_input),
                cache_write: each(|rates| rates.cache_write),
                cache_write_1h: each(|rates| rates.cache_write_1h),
                output: each(|rates| rates.output),
                reasoning: each(|rates| rates.reasoning),
            }
        };
        let sizes: BTreeSet<u64> =
            all.iter().flat_map(|rates| &rates.tiers).map(|tier| tier.above_input_tokens).collect();
        let tiers = sizes.into_iter().map(|above_input_tokens| RateTier {
            above_input_tokens,
            rates: dearest(&|rates| *rates.at_size(above_input_tokens.saturating_add(1))),
        });
        Self { tiers: tiers.collect(), base: dearest(&|rates| rates.base) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        BtcQuote, Model, ModelRates, PriceChange, Purpose, RateTier, Terms, TokenRates, Tokenizer, Usage,
    };
    use proptest::prelude::*;
    use std::time::Duration;
    use tithe_clock::Timestamp;
    use tithe_money::{BasisPoints, BtcPrice, UsdMicros};

    fn time(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    prop_compose! {
        fn any_rates()(prices in prop::array::uniform6(0_u64..=100_000_000)) -> TokenRates {
            let [input, cached_input, cache_write, cache_write_1h, output, reasoning] =
                prices.map(|micros| UsdMicros::new(micros).unwrap());
            TokenRates { input, cached_input, cache_write, cache_write_1h, output, reasoning }
        }
    }

    prop_compose! {
        fn any_model_rates()(base in any_rates(), tiers in prop::collection::vec((0_u64..=2_000, any_rates()), 0..3)) -> ModelRates {
            let tiers = tiers.into_iter().map(|(above_input_tokens, rates)| RateTier { above_input_tokens, rates });
            ModelRates { base, tiers: tiers.collect() }
        }
    }

    prop_compose! {
        fn any_model()(
            rates in any_model_rates(),
            changes in prop::collection::vec((1_u64..=100, any_model_rates()), 0..3),
            context_tokens in 1_000_u64..=5_000,
            max_output_tokens in 1_u64..=5_000,
            implicit_cache_writes: bool,
            shows_all_output: bool,
            input_safety_pct in prop_oneof![Just(0_u32), Just(20)],
        ) -> Model {
            Model {
                name: "m".to_owned(),
                vendor: "v".to_owned(),
                purpose: Purpose::Chat,
                context_tokens,
                max_output_tokens,
                default_max_output_tokens: max_output_tokens,
                rates,
                price_changes: changes.into_iter().map(|(at, rates)| PriceChange { from: time(at), rates }).collect(),
                implicit_cache_writes,
                shows_all_output,
                tokenizer: Tokenizer::Bytes,
                input_safety_pct,
            }
        }
    }

    prop_compose! {
        fn any_usage()(counts in prop::array::uniform6(0_u64..=3_000)) -> Usage {
            let [input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens] = counts;
            Usage { input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens }
        }
    }

    proptest! {
        #[test]
        fn what_stands_for_several_is_never_cheaper_and_never_larger(
            models in prop::collection::vec(any_model(), 1..4),
            usage in any_usage(),
            at in 0_u64..=101,
        ) {
            let covering = Model::covering("alias", &models.iter().collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(&covering.name, "alias");
            let btc = BtcQuote { price: BtcPrice::try_from(100_000_000_000_u64).unwrap(), as_of: time(at) };
            let terms = Terms { margin: BasisPoints::new(0).unwrap(), fixed_cost: UsdMicros::ZERO, btc };
            for model in &models {
                let price = |model: &Model| model.rates_at(terms.as_of()).price(&usage, &terms).unwrap();
                prop_assert!(price(&covering).msats >= price(model).msats);
                prop_assert!(covering.context_tokens <= model.context_tokens);
                prop_assert!(covering.max_output_tokens <= model.max_output_tokens);
                prop_assert!(covering.implicit_cache_writes || !model.implicit_cache_writes);
                prop_assert!(!covering.is_output_countable() || model.is_output_countable());
            }
            // What stands for one costs the same.
            let alone = Model::covering("m", &[&models[0]]).unwrap();
            let price = |model: &Model| model.rates_at(terms.as_of()).price(&usage, &terms).unwrap();
            prop_assert_eq!(price(&alone), price(&models[0]));
        }
    }

    #[test]
    fn nothing_stands_for_no_model() {
        assert_eq!(Model::covering("alias", &[]), None);
    }
}
