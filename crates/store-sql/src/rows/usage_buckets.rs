//! The part of a usage that has no columns of its own: one column of JSON, null for most work.

use super::Reader;
use serde::Deserialize;
use tithe_engine::store::StoreError;
use tithe_pricing::Usage;

const CACHE_WRITE: &str = "cache_write";
const CACHE_WRITE_1H: &str = "cache_write_1h";
const REASONING: &str = "reasoning";

/// What the column holds; what is zero is left out.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Buckets {
    cache_write: u64,
    cache_write_1h: u64,
    reasoning: u64,
}

/// The column `actual_buckets` of a usage.
pub(super) fn column(usage: &Usage) -> Option<String> {
    let counts = [
        (CACHE_WRITE, usage.cache_write_tokens),
        (CACHE_WRITE_1H, usage.cache_write_1h_tokens),
        (REASONING, usage.reasoning_tokens),
    ];
    let counted = counts.iter().filter(|(_, count)| *count > 0);
    let fields: Vec<String> = counted.map(|(name, count)| format!("\"{name}\":{count}")).collect();
    (!fields.is_empty()).then(|| format!("{{{}}}", fields.join(",")))
}

impl Reader {
    /// The usage in the column `actual_buckets`. Its other fields are zero.
    pub(super) fn usage_buckets(&self, column: Option<&str>) -> Result<Usage, StoreError> {
        let Some(json) = column else { return Ok(Usage::ZERO) };
        let buckets: Buckets = self.column("actual_buckets", serde_json::from_str(json))?;
        Ok(Usage {
            cache_write_tokens: buckets.cache_write,
            cache_write_1h_tokens: buckets.cache_write_1h,
            reasoning_tokens: buckets.reasoning,
            ..Usage::ZERO
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_read_back_and_only_what_was_used_is_written() {
        let read = Reader::new("job", "1");
        let all = Usage {
            cache_write_tokens: 1,
            cache_write_1h_tokens: u64::MAX,
            reasoning_tokens: 3,
            ..Usage::ZERO
        };
        let only_reasoning = Usage { reasoning_tokens: 3, ..Usage::ZERO };
        for (usage, stored) in [
            (Usage::ZERO, None),
            (only_reasoning, Some(r#"{"reasoning":3}"#)),
            (all, Some(r#"{"cache_write":1,"cache_write_1h":18446744073709551615,"reasoning":3}"#)),
        ] {
            assert_eq!(column(&usage).as_deref(), stored);
            assert_eq!(read.usage_buckets(stored).unwrap(), usage);
        }
        assert!(read.usage_buckets(Some("reasoning")).is_err());
    }
}
