//! The prices of the built-in catalogue, and what usage costs at them, compared with `genai-prices`, which is maintained
//! independently. It computes with binary fractions, so that its totals are exact only to a few billionths of a dollar.

#![cfg(feature = "toml")]
#![expect(clippy::unwrap_used, reason = "a test")]

use genai_prices::{Calculator, PriceRequest, UsageKey};
use std::time::{Duration, SystemTime};
use tithe_clock::Timestamp;
use tithe_money::{PicoUsd, UsdMicros};
use tithe_pricing::{Catalogue, Model, Purpose, Usage};

/// How far the totals may be apart, in pico-dollars.
const TOLERANCE: f64 = 5_000.0;

/// Models that both know. The others are missing there, or are priced by the time of the day.
const MODELS: [&str; 22] = [
    "claude-fable-5-1",
    "claude-haiku-4-5",
    "claude-haiku-5-5",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "gemini-3.5-flash-lite",
    "gemini-3.8-flash",
    "gemini-4-argon",
    "gpt-4.1-mini",
    "gpt-4o-mini",
    "gpt-6-luna",
    "gpt-6.1-terra",
    "grok-4.3",
    "grok-4.7",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "ministral-8b-2512",
    "mistral-small-2603",
    "openai/gpt-oss-120b",
    "openai/gpt-oss-20b",
    "text-embedding-3-large",
    "text-embedding-3-small",
    "text-embedding-ada-002",
];

/// Before, between and after the announced changes of prices.
const DAYS: [&str; 3] = ["2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"];

fn oracle(model: &Model, usage: &Usage, at: Timestamp) -> f64 {
    let count = |tokens: u64| f64::from(u32::try_from(tokens).unwrap());
    let mut counts = vec![
        (UsageKey::INPUT_TOKENS, count(usage.input_tokens)),
        (UsageKey::CACHE_READ_TOKENS, count(usage.cached_input_tokens)),
        (UsageKey::OUTPUT_TOKENS, count(usage.output_tokens)),
    ];
    // There, writes for an hour are a part of all writes.
    let writes = usage.cache_write_tokens + usage.cache_write_1h_tokens;
    if writes > 0 {
        counts.push((UsageKey::CACHE_WRITE_TOKENS, count(writes)));
        counts.push((UsageKey::CACHE_WRITE_1H_TOKENS, count(usage.cache_write_1h_tokens)));
    }
    let counts: genai_prices::Usage = counts.into_iter().collect();
    let vendor = if model.vendor == "xai" { "x-ai" } else { &model.vendor };
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.unix_micros()).unwrap());
    let request = PriceRequest::new(&model.name, &counts).with_provider_id(vendor).with_timestamp(time);
    let price = Calculator::bundled().calculate(&request).unwrap();
    assert_eq!((price.model_id.as_str(), price.warnings.len()), (model.name.as_str(), 0), "{price:?}");
    price.total_price * 1e12
}

/// A few counts around every threshold, and those parts of the input that the model prices apart.
fn usages(model: &Model) -> Vec<Usage> {
    let rates = &model.rates.base;
    let (writes, writes_1h) = (rates.cache_write != rates.input, rates.cache_write_1h != rates.cache_write);
    let thresholds = model.rates.tiers.iter().map(|tier| tier.above_input_tokens);
    let sizes =
        thresholds.flat_map(|above| [above, above + 1]).chain([0, 1, 999, 10_007, model.context_tokens]);
    let mut usages = Vec::new();
    for input_tokens in sizes {
        for cached_input_tokens in [0, input_tokens / 3, input_tokens] {
            let left = input_tokens - cached_input_tokens;
            let cache_write_tokens = if writes { left / 3 } else { 0 };
            let cache_write_1h_tokens = if writes_1h { left / 5 } else { 0 };
            let outputs: &[u64] = if model.purpose == Purpose::Chat { &[0, 1, 4_097] } else { &[0] };
            for &output_tokens in outputs {
                usages.push(Usage {
                    input_tokens,
                    cached_input_tokens,
                    cache_write_tokens,
                    cache_write_1h_tokens,
                    output_tokens,
                    reasoning_tokens: output_tokens / 2,
                });
            }
        }
    }
    usages
}

#[test]
fn every_cost_is_that_of_an_independent_implementation() {
    let catalogue = Catalogue::built_in();
    for name in MODELS {
        let model = catalogue.model(name).unwrap();
        for at in DAYS.map(|day| Timestamp::parse_rfc3339(day).unwrap()) {
            for usage in usages(model) {
                let cost = model.rates_at(at).cost(&usage, UsdMicros::ZERO).unwrap();
                let expected = oracle(model, &usage, at);
                let bound = |picos: f64| PicoUsd::new(format!("{:.0}", picos.max(0.0)).parse().unwrap());
                let is_near = bound(expected - TOLERANCE) <= cost && cost <= bound(expected + TOLERANCE);
                assert!(is_near, "{name} at {at}: {usage:?} costs {cost:?}, not {expected}");
            }
        }
    }
}
