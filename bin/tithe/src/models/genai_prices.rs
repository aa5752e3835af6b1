//! Prices in the format of genai-prices, version 2.
//!
//! Read are: the prices of text by kind of token, tiers by size of the prompt, and prices from a day on. Prices of batches, of service tiers and
//! of other media do not concern what Tithe sells, and are skipped.

use super::decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tithe_clock::Timestamp;
use tithe_money::UsdMicros;
use tithe_pricing::{ModelRates, PriceChange, Purpose, RateTier, TokenRates};

/// A provider of models.
#[derive(Deserialize)]
pub(super) struct Provider {
    pub(super) id: String,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(default, rename = "match")]
    matches: Option<Match>,
    prices: Box<RawValue>,
}

/// What a model's name may be. Patterns are not followed: a name must be exactly one of those listed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Match {
    Or { or: Vec<Match> },
    Equals { equals: String },
    Pattern(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Conditional {
    #[serde(default)]
    constraint: Option<BTreeMap<String, String>>,
    prices: PriceSet,
}

type PriceSet = BTreeMap<String, Price>;

/// A price as it is written: a number, or an object with tiers.
type Price = Box<RawValue>;

#[derive(Deserialize)]
struct Tiered {
    base: Box<RawValue>,
    tiers: Vec<Tier>,
}

#[derive(Deserialize)]
struct Tier {
    start: u64,
    price: Box<RawValue>,
}

/// The prices of a model: until the first change, and the changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Imported {
    pub(super) rates: ModelRates,
    pub(super) changes: Vec<PriceChange>,
}

/// Reads a file's providers.
pub(super) fn read(json: &str) -> Result<Vec<Provider>, serde_json::Error> {
    serde_json::from_str(json)
}

impl Provider {
    /// Whether this is the vendor of a catalogue: ids differ only in punctuation.
    pub(super) fn is(&self, vendor: &str) -> bool {
        let letters = |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).collect() };
        letters(&self.id).eq_ignore_ascii_case(&letters(vendor))
    }

    /// The prices of a model, as of a time. None if the provider does not have it.
    pub(super) fn prices(
        &self,
        model: &str,
        purpose: Purpose,
        now: Timestamp,
    ) -> Option<Result<Imported, String>> {
        let by_id = self.models.iter().find(|listed| listed.id == model);
        let listed = by_id.or_else(|| self.models.iter().find(|listed| listed.is_named(model)))?;
        Some(imported(&listed.prices, purpose, now))
    }
}

impl Model {
    fn is_named(&self, name: &str) -> bool {
        self.matches.as_ref().is_some_and(|matches| matches.names(name))
    }
}

impl Match {
    fn names(&self, name: &str) -> bool {
        match self {
            Self::Or { or } => or.iter().any(|one| one.names(name)),
            Self::Equals { equals } => equals == name,
            Self::Pattern(_) => false,
        }
    }
}

/// A model's prices: one set, or several with conditions. Those without a condition, and those of days that have passed, are in force; the last
/// of them counts.
fn imported(prices: &RawValue, purpose: Purpose, now: Timestamp) -> Result<Imported, String> {
    let malformed = |cause: serde_json::Error| format!("unreadable prices: {cause}");
    if prices.get().starts_with('{') {
        let set: PriceSet = serde_json::from_str(prices.get()).map_err(malformed)?;
        return Ok(Imported { rates: rates(&set, purpose)?, changes: Vec::new() });
    }
    let sets: Vec<Conditional> = serde_json::from_str(prices.get()).map_err(malformed)?;
    let mut in_force: Option<(Option<Timestamp>, ModelRates)> = None;
    let mut changes: Vec<PriceChange> = Vec::new();
    for set in sets {
        let rates = rates(&set.prices, purpose)?;
        match set.from()? {
            Some(from) if from > now => changes.push(PriceChange { from, rates }),
            begun => {
                if in_force.as_ref().is_none_or(|(last, _)| *last <= begun) {
                    in_force = Some((begun, rates));
                }
            }
        }
    }
    changes.sort_by_key(|change| change.from);
    let (_, rates) = in_force.ok_or("no prices are in force yet")?;
    Ok(Imported { rates, changes })
}

impl Conditional {
    /// The moment from which the prices apply; none if always.
    fn from(&self) -> Result<Option<Timestamp>, String> {
        let Some(constraint) = self.constraint.as_ref().filter(|constraint| !constraint.is_empty()) else {
            return Ok(None);
        };
        match constraint.first_key_value() {
            Some((kind, date)) if kind == "start_date" && constraint.len() == 1 => {
                Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z"))
                    .map(Some)
                    .map_err(|_| format!("start_date is {date:?}"))
            }
            _ => {
                let kinds: Vec<&str> = constraint.keys().map(String::as_str).collect();
                Err(format!("prices depend on {}, which a catalogue cannot say", kinds.join(" and ")))
            }
        }
    }
}

/// One price at the size of a prompt: the base, or that of the last tier that begins below.
struct BySize {
    base: UsdMicros,
    tiers: Vec<(u64, UsdMicros)>,
}

impl BySize {
    fn read(field: &str, price: &RawValue) -> Result<Self, String> {
        let usd = |number: &RawValue| {
            let refused = || format!("{field} is {number}, which is no whole number of micro-dollars");
            decimal::usd(number.get()).ok_or_else(refused)
        };
        if !price.get().starts_with('{') {
            return Ok(Self { base: usd(price)?, tiers: Vec::new() });
        }
        let tiered: Tiered =
            serde_json::from_str(price.get()).map_err(|cause| format!("{field}: {cause}"))?;
        let tiers = tiered.tiers.iter().map(|tier| Ok((tier.start, usd(&tier.price)?)));
        Ok(Self { base: usd(&tiered.base)?, tiers: tiers.collect::<Result<_, String>>()? })
    }

    fn above(&self, start: u64) -> UsdMicros {
        let begun = self.tiers.iter().filter(|(from, _)| *from <= start);
        begun.max_by_key(|(from, _)| *from).map_or(self.base, |(_, price)| *price)
    }
}

/// An embedding model has no output, whatever its prices say of one.
fn rates(set: &PriceSet, purpose: Purpose) -> Result<ModelRates, String> {
    let optional = |field: &str| set.get(field).map(|price| BySize::read(field, price)).transpose();
    let required = |field: &str| optional(field)?.ok_or_else(|| format!("there is no {field}"));
    let input = required("input_mtok")?;
    let output = match purpose {
        Purpose::Chat => required("output_mtok")?,
        Purpose::Embeddings => BySize { base: UsdMicros::ZERO, tiers: Vec::new() },
    };
    let cached_input = optional("cache_read_mtok")?;
    let cache_write = match optional("cache_write_mtok")? {
        Some(price) => Some(price),
        None => optional("cache_write_5m_mtok")?,
    };
    let cache_write_1h = optional("cache_write_1h_mtok")?;
    let reasoning = optional("output_reasoning_mtok")?.filter(|_| purpose == Purpose::Chat);
    let at = |price: &Option<BySize>, start: Option<u64>, instead: UsdMicros| {
        price.as_ref().map_or(instead, |price| start.map_or(price.base, |start| price.above(start)))
    };
    let token_rates = |start: Option<u64>| {
        let of = |price: &BySize| start.map_or(price.base, |start| price.above(start));
        let (input, output) = (of(&input), of(&output));
        let cache_write = at(&cache_write, start, input);
        TokenRates {
            input,
            cached_input: at(&cached_input, start, input),
            cache_write,
            cache_write_1h: at(&cache_write_1h, start, cache_write),
            output,
            reasoning: at(&reasoning, start, output),
        }
    };
    let some = [&cached_input, &cache_write, &cache_write_1h, &reasoning];
    let priced = some.into_iter().flatten().chain([&input, &output]);
    let mut starts: Vec<u64> = priced.flat_map(|price| price.tiers.iter().map(|(start, _)| *start)).collect();
    starts.sort_unstable();
    starts.dedup();
    let base = token_rates(None);
    if base == TokenRates::uniform(UsdMicros::ZERO, UsdMicros::ZERO) {
        return Err("all prices are 0, which says nothing".to_owned());
    }
    let tier = |start: u64| RateTier { above_input_tokens: start, rates: token_rates(Some(start)) };
    Ok(ModelRates { base, tiers: starts.into_iter().filter(|start| *start > 0).map(tier).collect() })
}

#[cfg(test)]
mod tests;
