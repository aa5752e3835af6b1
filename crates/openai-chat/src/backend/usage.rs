//! How the token counts of backends are normalised.

use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_pricing::Usage;

#[derive(Debug, Clone, Copy, Deserialize)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// The name of the cached part in `DeepSeek`'s reports.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot's name for it.
    #[serde(default)]
    cached_tokens: Option<u64>,
    /// Anthropic's name for it, which proxies pass on.
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    /// Anthropic's name for what was written to the cache.
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    /// OpenAI's and `OpenRouter`'s name for what was written to the cache.
    #[serde(default)]
    cache_write_tokens: Option<u64>,
    /// `LiteLLM`'s name for it.
    #[serde(default)]
    cache_creation_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let reasoning = usage.completion_tokens_details.and_then(|it| it.reasoning_tokens).unwrap_or(0);
        let shown = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        // Some vendors (xAI, and servers in front of Gemini) count reasoning beside the completion. The total shows which.
        let apart = reasoning > usage.completion_tokens
            || usage.total_tokens == Some(shown.saturating_add(reasoning)) && reasoning > 0;
        let prompt = usage.prompt_tokens_details;
        // A name that is there for compatibility only has a zero beside the other's count.
        let reads = [
            prompt.and_then(|it| it.cached_tokens),
            usage.prompt_cache_hit_tokens,
            usage.cached_tokens,
            usage.cache_read_input_tokens,
        ];
        let writes = [
            prompt.and_then(|it| it.cache_write_tokens),
            prompt.and_then(|it| it.cache_creation_tokens),
            usage.cache_creation_input_tokens,
        ];
        Self {
            input_tokens: usage.prompt_tokens,
            cached_input_tokens: reads.into_iter().flatten().max().unwrap_or(0),
            cache_write_tokens: writes.into_iter().flatten().max().unwrap_or(0),
            cache_write_1h_tokens: 0,
            output_tokens: usage.completion_tokens.saturating_add(if apart { reasoning } else { 0 }),
            reasoning_tokens: reasoning,
        }
    }
}

/// Reads a report. An incomplete one is ignored: the tokenizer then counts instead, and a good response is not discarded.
pub(super) fn read(raw: Option<&RawValue>) -> Option<Usage> {
    serde_json::from_str::<WireUsage>(raw?.get()).ok().map(Usage::from)
}

/// Merges two reports of one completion. Some servers report running counts, some report several times, and some send a
/// trailing report of zeros: the larger of two reports of one count is the total.
#[must_use]
pub fn larger(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Usage {
            input_tokens: one.input_tokens.max(other.input_tokens),
            cached_input_tokens: one.cached_input_tokens.max(other.cached_input_tokens),
            cache_write_tokens: one.cache_write_tokens.max(other.cache_write_tokens),
            cache_write_1h_tokens: one.cache_write_1h_tokens.max(other.cache_write_1h_tokens),
            output_tokens: one.output_tokens.max(other.output_tokens),
            reasoning_tokens: one.reasoning_tokens.max(other.reasoning_tokens),
        }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn usage(value: &Value) -> Option<Usage> {
        let raw = RawValue::from_string(value.to_string()).unwrap();
        read(Some(&raw))
    }

    #[test]
    fn usage_of_zeros_is_usage_and_half_a_usage_is_none() {
        let some = |input_tokens, cached_input_tokens, output_tokens| {
            Some(Usage { input_tokens, cached_input_tokens, output_tokens, ..Usage::ZERO })
        };
        for (report, expected) in [
            (json!({"prompt_tokens": 0, "completion_tokens": 0}), some(0, 0, 0)),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}),
                some(9, 4, 2),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": null}}),
                some(9, 0, 2),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": null}),
                some(9, 0, 2),
            ),
            (json!({"prompt_tokens": 9}), None),
            (json!({"prompt_tokens": -1, "completion_tokens": 2}), None),
            (json!(null), None),
            (json!("many"), None),
        ] {
            assert_eq!(usage(&report), expected, "{report}");
        }
        assert_eq!(read(None), None);
    }

    /// Each vendor's habits: what its report looks like, and what was used (input, cache reads, cache writes, output, reasoning).
    #[test]
    fn every_dialect_of_usage_is_normalised() {
        for (vendor, report, expected) in [
            (
                "OpenAI: reasoning is part of the completion",
                json!({"prompt_tokens": 32, "completion_tokens": 909, "total_tokens": 941, "completion_tokens_details": {"reasoning_tokens": 900}}),
                (32, 0, 0, 909, 900),
            ),
            (
                "xAI, Gemini: reasoning beside the completion",
                json!({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 941, "completion_tokens_details": {"reasoning_tokens": 900}}),
                (32, 0, 0, 909, 900),
            ),
            (
                "more reasoning than completion, without a total",
                json!({"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 900}}),
                (32, 0, 0, 909, 900),
            ),
            (
                "little reasoning beside the completion",
                json!({"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 65, "completion_tokens_details": {"reasoning_tokens": 5}}),
                (10, 0, 0, 55, 5),
            ),
            (
                "no reasoning, a total that counts something else",
                json!({"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 99, "completion_tokens_details": {"reasoning_tokens": 0}}),
                (10, 0, 0, 50, 0),
            ),
            (
                "DeepSeek",
                json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}),
                (10, 8, 0, 5, 0),
            ),
            (
                "Moonshot",
                json!({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 7}),
                (10, 7, 0, 5, 0),
            ),
            (
                "OpenRouter, OpenAI: cache writes",
                json!({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cost": 0.01,
                    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 50, "audio_tokens": 0}}),
                (100, 40, 50, 5, 0),
            ),
            (
                "LiteLLM in front of Anthropic",
                json!({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105,
                    "prompt_tokens_details": {"cached_tokens": 40, "cache_creation_tokens": 50},
                    "cache_creation_input_tokens": 50, "cache_read_input_tokens": 40}),
                (100, 40, 50, 5, 0),
            ),
        ] {
            let (input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens) =
                expected;
            let expected = Usage {
                input_tokens,
                cached_input_tokens,
                cache_write_tokens,
                output_tokens,
                reasoning_tokens,
                ..Usage::ZERO
            };
            assert_eq!(usage(&report), Some(expected), "{vendor}");
        }
    }

    #[test]
    fn the_larger_of_two_reports_wins_whatever_their_order() {
        let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..Usage::ZERO };
        for (one, other) in
            [(usage(9, 2), usage(9, 70)), (usage(9, 70), usage(0, 0)), (usage(9, 0), usage(0, 70))]
        {
            assert_eq!(larger(Some(one), Some(other)), Some(usage(9, 70)));
            assert_eq!(larger(Some(other), Some(one)), Some(usage(9, 70)));
        }
        assert_eq!(larger(None, Some(usage(1, 2))), Some(usage(1, 2)));
        assert_eq!(larger(Some(usage(1, 2)), None), Some(usage(1, 2)));
    }
}
