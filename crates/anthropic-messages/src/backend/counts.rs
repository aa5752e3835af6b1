//! The token counts of backends.

use super::raw::lenient;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_pricing::Usage;

/// The token counts known so far, each for the whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    fresh: Option<u64>,
    cached: Option<u64>,
    newly_cached: Option<u64>,
    /// The part of `newly_cached` that is kept for an hour.
    for_an_hour: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

#[derive(Deserialize)]
struct WireCounts<'a> {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    #[serde(borrow)]
    cache_creation: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens_details: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Counts {
    /// Inconsistent counts are ignored: the tokenizer then counts instead, and a good response is not discarded.
    pub(super) fn read(value: Option<&RawValue>) -> Self {
        let Some(counts) = value.and_then(|value| WireCounts::deserialize(value).ok()) else {
            return Self::default();
        };
        let creation: CacheCreation = lenient(counts.cache_creation);
        let details: OutputDetails = lenient(counts.output_tokens_details);
        let for_an_hour = creation.ephemeral_1h_input_tokens;
        let split = match (creation.ephemeral_5m_input_tokens, for_an_hour) {
            (None, None) => None,
            (minutes, hour) => Some(minutes.unwrap_or(0).saturating_add(hour.unwrap_or(0))),
        };
        Self {
            fresh: counts.input_tokens,
            cached: counts.cache_read_input_tokens,
            newly_cached: counts.cache_creation_input_tokens.max(split),
            for_an_hour,
            output: counts.output_tokens,
            thinking: details.thinking_tokens,
        }
    }

    /// Without the output: what is said of it before it is complete is not the count.
    pub(super) fn of_input(self) -> Self {
        Self { output: None, thinking: None, ..self }
    }

    /// These counts and the `older` ones: of two reports of one count, the larger is the total.
    pub(super) fn and(self, older: Self) -> Self {
        Self {
            fresh: self.fresh.max(older.fresh),
            cached: self.cached.max(older.cached),
            newly_cached: self.newly_cached.max(older.newly_cached),
            for_an_hour: self.for_an_hour.max(older.for_an_hour),
            output: self.output.max(older.output),
            thinking: self.thinking.max(older.thinking),
        }
    }

    /// Anthropic's `input_tokens` exclude the tokens read from or written to the cache; ours include them.
    pub(super) fn usage(self) -> Option<Usage> {
        let cached = self.cached.unwrap_or(0);
        let newly_cached = self.newly_cached.unwrap_or(0);
        let for_an_hour = self.for_an_hour.unwrap_or(0).min(newly_cached);
        let output = self.output?;
        Some(Usage {
            input_tokens: self.fresh?.saturating_add(cached).saturating_add(newly_cached),
            cached_input_tokens: cached,
            cache_write_tokens: newly_cached.saturating_sub(for_an_hour),
            cache_write_1h_tokens: for_an_hour,
            output_tokens: output,
            reasoning_tokens: self.thinking.unwrap_or(0).min(output),
        })
    }

    /// What was used up to here, with the output as far as it is known.
    pub(super) fn used(self) -> Option<Usage> {
        Self { output: self.output.or(Some(0)), ..self }.usage()
    }
}
