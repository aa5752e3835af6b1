//! The entries of a catalogue file.

use super::error::CatalogueError;
use crate::{Model, ModelRates, PriceChange, Purpose, RateTier, TokenRates, Tokenizer};
use serde::Deserialize;
use tithe_clock::Timestamp;
use tithe_money::UsdMicros;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CatalogueFile {
    pub(super) as_of: String,
    pub(super) source: String,
    pub(super) model: Vec<ModelEntry>,
}

/// The prices of an entry, as written.
#[derive(Clone, Copy)]
struct Prices<'a> {
    input: Option<&'a str>,
    cached_input: Option<&'a str>,
    cache_write: Option<&'a str>,
    cache_write_1h: Option<&'a str>,
    output: Option<&'a str>,
    reasoning: Option<&'a str>,
}

/// An entry with prices; `flatten` and `deny_unknown_fields` exclude each other.
macro_rules! priced_entry {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($fields)*
            input_usd: Option<String>,
            cached_input_usd: Option<String>,
            cache_write_usd: Option<String>,
            cache_write_1h_usd: Option<String>,
            output_usd: Option<String>,
            reasoning_usd: Option<String>,
        }

        impl $name {
            fn prices(&self) -> Prices<'_> {
                Prices {
                    input: self.input_usd.as_deref(),
                    cached_input: self.cached_input_usd.as_deref(),
                    cache_write: self.cache_write_usd.as_deref(),
                    cache_write_1h: self.cache_write_1h_usd.as_deref(),
                    output: self.output_usd.as_deref(),
                    reasoning: self.reasoning_usd.as_deref(),
                }
            }
        }
    };
}

priced_entry! {
    ModelEntry {
        name: String,
        vendor: String,
        context_tokens: u64,
        purpose: Option<String>,
        max_output_tokens: Option<u64>,
        default_max_output_tokens: Option<u64>,
        tokenizer: String,
        #[serde(default)]
        input_safety_pct: u32,
        #[serde(default)]
        implicit_cache_writes: bool,
        #[serde(default)]
        shows_all_output: bool,
        #[serde(default)]
        free: bool,
        #[serde(default)]
        tier: Vec<TierEntry>,
        #[serde(default)]
        from: Vec<FromEntry>,
    }
}

priced_entry! {
    /// Prices of requests with long prompts.
    TierEntry {
        above_input_tokens: u64,
    }
}

priced_entry! {
    /// Prices from a day on.
    FromEntry {
        date: String,
        #[serde(default)]
        tier: Vec<TierEntry>,
    }
}

/// Reads the prices of one model. The messages name the model and where in its entry the mistake is.
struct PriceReader<'a> {
    model: &'a str,
    purpose: Purpose,
    free: bool,
}

impl PriceReader<'_> {
    fn wrong(&self, problem: String) -> CatalogueError {
        CatalogueError::Value { model: self.model.to_owned(), problem }
    }

    fn price(&self, field: &'static str, value: &str) -> Result<UsdMicros, CatalogueError> {
        UsdMicros::parse(value).map_err(|source| CatalogueError::Price {
            model: self.model.to_owned(),
            field,
            value: value.to_owned(),
            source,
        })
    }

    /// `place` is empty for the model's own prices. What `like` prices apart must be priced here, too: without it, a surcharge would be
    /// given away.
    fn rates(
        &self,
        place: &str,
        prices: Prices<'_>,
        like: Option<&TokenRates>,
    ) -> Result<TokenRates, CatalogueError> {
        let required = |field, value: Option<&str>| match value {
            Some(value) => self.price(field, value),
            None if self.free => Ok(UsdMicros::ZERO),
            None => Err(self.wrong(format!("no price{place}: expected {field} (or free = true)"))),
        };
        let optional = |field, value: Option<&str>, instead, is_apart: bool| match value {
            Some(value) => self.price(field, value),
            None if is_apart => Err(self
                .wrong(format!("no price{place}: expected {field}, which the model's other prices include"))),
            None => Ok(instead),
        };
        let input = required("input_usd", prices.input)?;
        let output = match (self.purpose, prices.output.or(prices.reasoning)) {
            (Purpose::Chat, _) => required("output_usd", prices.output)?,
            (Purpose::Embeddings, None) => UsdMicros::ZERO,
            (Purpose::Embeddings, Some(_)) => {
                let problem = format!("output has a price{place}: expected none of an embedding model");
                return Err(self.wrong(problem));
            }
        };
        let writes = like.is_some_and(|like| like.cache_write != like.input);
        let cache_write = optional("cache_write_usd", prices.cache_write, input, writes)?;
        let writes_1h = like.is_some_and(|like| like.cache_write_1h != like.cache_write);
        let reasons = like.is_some_and(|like| like.reasoning != like.output);
        let rates = TokenRates {
            input,
            cached_input: optional("cached_input_usd", prices.cached_input, input, false)?,
            cache_write,
            cache_write_1h: optional("cache_write_1h_usd", prices.cache_write_1h, cache_write, writes_1h)?,
            output,
            reasoning: optional("reasoning_usd", prices.reasoning, output, reasons)?,
        };
        let is_free = rates == TokenRates::uniform(UsdMicros::ZERO, UsdMicros::ZERO);
        if self.free && !is_free {
            return Err(self.wrong(format!("free = true, but there is a price{place}")));
        }
        if is_free && !self.free {
            return Err(self.wrong(format!("all prices{place} are 0: expected prices, or free = true")));
        }
        Ok(rates)
    }

    fn tiers(
        &self,
        place: &str,
        tiers: &[TierEntry],
        base: TokenRates,
    ) -> Result<ModelRates, CatalogueError> {
        let mut read: Vec<RateTier> = Vec::with_capacity(tiers.len());
        for tier in tiers {
            let above = tier.above_input_tokens;
            if above == 0 || read.last().is_some_and(|last| last.above_input_tokens >= above) {
                return Err(self.wrong(format!(
                    "tiers{place} out of order: expected ascending above_input_tokens from 1 on, got {above}"
                )));
            }
            let place = format!("{place} above {above} input tokens");
            let rates = self.rates(&place, tier.prices(), Some(&base))?;
            read.push(RateTier { above_input_tokens: above, rates });
        }
        Ok(ModelRates { base, tiers: read })
    }

    fn changes(&self, from: &[FromEntry], like: &TokenRates) -> Result<Vec<PriceChange>, CatalogueError> {
        let mut changes: Vec<PriceChange> = Vec::with_capacity(from.len());
        for entry in from {
            let date = &entry.date;
            let from = Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z")).map_err(|_| {
                self.wrong(format!("invalid date: expected a day such as \"2026-12-01\", got {date:?}"))
            })?;
            if changes.last().is_some_and(|last| last.from >= from) {
                return Err(self.wrong(format!("prices out of order: expected ascending dates, got {date}")));
            }
            let place = format!(" from {date} on");
            let base = self.rates(&place, entry.prices(), Some(like))?;
            changes.push(PriceChange { from, rates: self.tiers(&place, &entry.tier, base)? });
        }
        Ok(changes)
    }
}

impl TryFrom<ModelEntry> for Model {
    type Error = CatalogueError;

    fn try_from(entry: ModelEntry) -> Result<Self, CatalogueError> {
        let purpose = match entry.purpose.as_deref() {
            None | Some("chat") => Purpose::Chat,
            Some("embeddings") => Purpose::Embeddings,
            Some(other) => {
                let problem = format!("unknown purpose: expected chat or embeddings, got {other:?}");
                return Err(CatalogueError::Value { model: entry.name, problem });
            }
        };
        let read = PriceReader { model: &entry.name, purpose, free: entry.free };
        let base = read.rates("", entry.prices(), None)?;
        let price_changes = read.changes(&entry.from, &base)?;
        let rates = read.tiers("", &entry.tier, base)?;
        let tokenizer: Tokenizer =
            entry.tokenizer.parse().map_err(|e| read.wrong(format!("tokenizer: {e}")))?;
        let limit = |field: &str, tokens: Option<u64>| match tokens {
            Some(tokens) if (1..=1_000_000_000).contains(&tokens) => Ok(tokens),
            Some(tokens) => Err(read.wrong(format!("{field} is {tokens}, not between 1 and 1000000000"))),
            None => Err(read.wrong(format!("missing {field}: expected a number of tokens"))),
        };
        let context_tokens = limit("context_tokens", Some(entry.context_tokens))?;
        let (most, default) = (entry.max_output_tokens, entry.default_max_output_tokens);
        let (max_output_tokens, default_max_output_tokens) = match purpose {
            Purpose::Chat => {
                (limit("max_output_tokens", most)?, limit("default_max_output_tokens", default)?)
            }
            Purpose::Embeddings if most.or(default).is_none() => (0, 0),
            Purpose::Embeddings => {
                let problem = "output has a limit: expected none of an embedding model";
                return Err(read.wrong(problem.to_owned()));
            }
        };
        if default_max_output_tokens > max_output_tokens {
            return Err(read.wrong("default_max_output_tokens exceeds max_output_tokens".to_owned()));
        }
        if entry.input_safety_pct > 1_000 {
            return Err(read.wrong(format!("input_safety_pct is {}, more than 1000", entry.input_safety_pct)));
        }
        Ok(Self {
            rates,
            price_changes,
            implicit_cache_writes: entry.implicit_cache_writes,
            shows_all_output: entry.shows_all_output,
            tokenizer,
            purpose,
            context_tokens,
            max_output_tokens,
            default_max_output_tokens,
            input_safety_pct: entry.input_safety_pct,
            vendor: entry.vendor,
            name: entry.name,
        })
    }
}
