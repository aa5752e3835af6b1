use super::*;
use crate::BtcQuote;
use proptest::prelude::*;
use tithe_clock::Timestamp;
use tithe_money::{BasisPoints, BtcPrice};

/// Above every threshold and count of these tests.
const TOKENS: u64 = 400_000;

fn usd(micros: u64) -> UsdMicros {
    UsdMicros::new(micros).unwrap()
}

prop_compose! {
    fn any_token_rates()(rates in proptest::array::uniform6(0_u64..=100_000_000)) -> TokenRates {
        let [input, cached_input, cache_write, cache_write_1h, output, reasoning] = rates.map(usd);
        TokenRates { input, cached_input, cache_write, cache_write_1h, output, reasoning }
    }
}

prop_compose! {
    /// Tiers in any order, and cheaper or dearer than others.
    fn any_rates()(
        base in any_token_rates(),
        tiers in proptest::collection::vec((1..TOKENS, any_token_rates()), 0..=3),
    ) -> ModelRates {
        let tier = |(above_input_tokens, rates)| RateTier { above_input_tokens, rates };
        ModelRates { base, tiers: tiers.into_iter().map(tier).collect() }
    }
}

prop_compose! {
    /// Parts that may be larger than the whole.
    fn any_usage()(counts in proptest::array::uniform6(0..TOKENS)) -> Usage {
        let [input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens] = counts;
        Usage { input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens }
    }
}

prop_compose! {
    fn any_terms()(margin in 0_u32..=30_000, fixed in 0_u64..=10_000_000, btc in 1_000_000_000..=1_000_000_000_000_u64) -> Terms {
        Terms {
            margin: BasisPoints::new(margin).unwrap(),
            fixed_cost: usd(fixed),
            btc: BtcQuote { price: BtcPrice::try_from(btc).unwrap(), as_of: Timestamp::UNIX_EPOCH },
        }
    }
}

const RATES: TokenRates = {
    const fn usd(micros: u64) -> UsdMicros {
        match UsdMicros::new(micros) {
            Ok(usd) => usd,
            Err(_) => UsdMicros::MAX,
        }
    }
    TokenRates {
        input: usd(1_000_000),
        cached_input: usd(100_000),
        cache_write: usd(1_250_000),
        cache_write_1h: usd(2_000_000),
        output: usd(5_000_000),
        reasoning: usd(6_000_000),
    }
};

#[test]
fn each_part_has_its_price() {
    let usage = Usage {
        input_tokens: 100,
        cached_input_tokens: 40,
        cache_write_tokens: 30,
        cache_write_1h_tokens: 20,
        output_tokens: 50,
        reasoning_tokens: 10,
    };
    // 10 × 1 + 40 × 0.1 + 30 × 1.25 + 20 × 2 + 40 × 5 + 10 × 6 micro-dollars.
    let cost = ModelRates::from(RATES).cost(&usage, UsdMicros::ZERO).unwrap();
    assert_eq!(cost, PicoUsd::new(351_500_000));
}

#[test]
fn parts_larger_than_the_whole_are_cut() {
    let usage = Usage {
        input_tokens: 100,
        cached_input_tokens: 50,
        cache_write_tokens: u64::MAX,
        cache_write_1h_tokens: 20,
        output_tokens: 10,
        reasoning_tokens: u64::MAX,
    };
    // 50 × 0.1 + 20 × 2 + 30 × 1.25 + 10 × 6.
    let cost = ModelRates::from(RATES).cost(&usage, UsdMicros::ZERO).unwrap();
    assert_eq!(cost, PicoUsd::new(142_500_000));
}

#[test]
fn above_a_threshold_the_whole_request_has_other_prices() {
    let doubled = TokenRates::uniform(usd(2_000_000), usd(7_500_000));
    let rates = ModelRates {
        base: TokenRates::uniform(usd(1_000_000), usd(5_000_000)),
        tiers: vec![RateTier { above_input_tokens: 272_000, rates: doubled }],
    };
    let cost = |input_tokens| {
        rates.cost(&Usage { input_tokens, output_tokens: 1_000, ..Usage::ZERO }, UsdMicros::ZERO).unwrap()
    };
    assert_eq!(cost(272_000), PicoUsd::new(277_000_000_000));
    assert_eq!(cost(272_001), PicoUsd::new(551_502_000_000));
}

#[cfg(feature = "serde")]
mod stored {
    use super::*;

    const OLD: &str = r#"{"input":3000000,"cached_input":300000,"output":15000000}"#;

    #[test]
    fn what_an_older_version_stored_keeps_its_price() {
        let rates: ModelRates = serde_json::from_str(OLD).unwrap();
        let usage = Usage {
            input_tokens: 1_000,
            cached_input_tokens: 100,
            cache_write_tokens: 300,
            cache_write_1h_tokens: 200,
            output_tokens: 10,
            reasoning_tokens: 5,
        };
        // 900 × 3 + 100 × 0.3 + 10 × 15: as if nothing had been written or thought.
        assert_eq!(rates.cost(&usage, UsdMicros::ZERO).unwrap(), PicoUsd::new(2_880_000_000));
    }

    #[test]
    fn prices_that_say_nothing_new_are_stored_as_an_older_version_stores_them() {
        let rates: ModelRates = serde_json::from_str(OLD).unwrap();
        assert_eq!(serde_json::to_string(&rates).unwrap(), OLD);
    }

    #[test]
    fn an_older_version_reads_what_this_one_stores() {
        #[derive(serde::Deserialize)]
        struct Old {
            input: u64,
            cached_input: u64,
            output: u64,
        }
        let rates = ModelRates { base: RATES, tiers: vec![RateTier { above_input_tokens: 9, rates: RATES }] };
        let old: Old = serde_json::from_str(&serde_json::to_string(&rates).unwrap()).unwrap();
        assert_eq!((old.input, old.cached_input, old.output), (1_000_000, 100_000, 5_000_000));
    }

    proptest! {
        #[test]
        fn prices_read_back(rates in any_rates()) {
            let json = serde_json::to_string(&rates).unwrap();
            prop_assert_eq!(serde_json::from_str::<ModelRates>(&json).unwrap(), rates);
        }
    }
}

/// The usage with what these cache writes exclude counted as fresh.
fn only(usage: Usage, writes: CacheWrites) -> Usage {
    match writes {
        CacheWrites::None => Usage { cache_write_tokens: 0, cache_write_1h_tokens: 0, ..usage },
        CacheWrites::Minutes => Usage { cache_write_1h_tokens: 0, ..usage },
        CacheWrites::Hour => usage,
    }
}

proptest! {
    #[test]
    fn no_usage_within_the_limits_costs_more_than_the_maximum(
        rates in any_rates(), usage in any_usage(), more in 0_u64..1_000, terms in any_terms(),
        writes in prop_oneof![Just(CacheWrites::None), Just(CacheWrites::Minutes), Just(CacheWrites::Hour)],
    ) {
        let usage = only(usage, writes);
        let max = rates.max_price(usage.input_tokens + more, writes, usage.output_tokens + more, &terms).unwrap();
        let price = rates.price(&usage, &terms).unwrap();
        prop_assert!(price.msats <= max.msats && price.usd <= max.usd);
    }

    #[test]
    fn the_maximum_is_reached(base in any_token_rates(), terms in any_terms(), input in 0..TOKENS, output in 0..TOKENS) {
        let rates = ModelRates::from(base);
        let price = |part: u8, reasoning_tokens| {
            let tokens = |n| if part == n { input } else { 0 };
            let usage = Usage {
                input_tokens: input,
                cached_input_tokens: tokens(1),
                cache_write_tokens: tokens(2),
                cache_write_1h_tokens: tokens(3),
                output_tokens: output,
                reasoning_tokens,
            };
            rates.price(&usage, &terms).unwrap().msats
        };
        let dearest = (0..4).flat_map(|part| [price(part, 0), price(part, output)]).max();
        prop_assert_eq!(Some(rates.max_price(input, CacheWrites::Hour, output, &terms).unwrap().msats), dearest);
    }

    #[test]
    fn more_of_any_part_that_is_fresh_or_output_never_costs_less(
        base in any_token_rates(), usage in any_usage(), input in 0..TOKENS, output in 0..TOKENS,
    ) {
        let rates = ModelRates::from(base);
        // The parts stay what they are.
        let parts = usage.cached_input_tokens + usage.cache_write_tokens + usage.cache_write_1h_tokens;
        let usage = Usage { input_tokens: usage.input_tokens + parts, ..usage };
        let usage = Usage { reasoning_tokens: usage.reasoning_tokens.min(usage.output_tokens), ..usage };
        let larger = Usage {
            input_tokens: usage.input_tokens + input,
            output_tokens: usage.output_tokens + output,
            ..usage
        };
        let cost = |usage: &Usage| rates.cost(usage, UsdMicros::ZERO).unwrap();
        prop_assert!(cost(&usage) <= cost(&larger));
    }
}
