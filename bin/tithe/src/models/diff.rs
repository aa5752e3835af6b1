//! What changes in the prices of a model.

use std::fmt;
use tithe_clock::Timestamp;
use tithe_money::UsdMicros;
use tithe_pricing::{Model, ModelRates, TokenRates};

/// A price that changes, appears or is no longer there, in dollars per million tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    name: String,
    old: Option<UsdMicros>,
    new: Option<UsdMicros>,
}

/// The differences between two sets of prices of one model, at a time and from then on.
pub(super) fn between(old: &Model, new: &Model, now: Timestamp) -> Vec<Difference> {
    let (old, new) = (named(old, now), named(new, now));
    let price = |prices: &[(String, UsdMicros)], name: &str| {
        prices.iter().find(|(named, _)| named == name).map(|(_, price)| *price)
    };
    let gone = old.iter().filter(|(name, _)| price(&new, name).is_none());
    let names = new.iter().chain(gone).map(|(name, _)| name);
    let all =
        names.map(|name| Difference { name: name.clone(), old: price(&old, name), new: price(&new, name) });
    all.filter(|difference| difference.old != difference.new).collect()
}

fn named(model: &Model, now: Timestamp) -> Vec<(String, UsdMicros)> {
    let mut prices = Vec::new();
    add(&mut prices, "", model.rates_at(now));
    for change in model.price_changes.iter().filter(|change| change.from > now) {
        let from = change.from.to_string();
        let day = from.split_once('T').map_or(from.as_str(), |(day, _)| day);
        add(&mut prices, &format!("from {day}: "), &change.rates);
    }
    prices
}

fn add(prices: &mut Vec<(String, UsdMicros)>, place: &str, rates: &ModelRates) {
    let mut add = |place: &str, rates: &TokenRates| {
        let named = [
            ("input_usd", rates.input),
            ("cached_input_usd", rates.cached_input),
            ("cache_write_usd", rates.cache_write),
            ("cache_write_1h_usd", rates.cache_write_1h),
            ("output_usd", rates.output),
            ("reasoning_usd", rates.reasoning),
        ];
        prices.extend(named.map(|(name, price)| (format!("{place}{name}"), price)));
    };
    add(place, &rates.base);
    for tier in &rates.tiers {
        add(&format!("{place}above {} input tokens: ", tier.above_input_tokens), &tier.rates);
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let price = |price: Option<UsdMicros>| price.map_or("none".to_owned(), |price| price.to_string());
        write!(f, "{}: {} -> {}", self.name, price(self.old), price(self.new))
    }
}
