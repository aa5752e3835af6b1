//! The token usage of a piece of work.

/// The tokens that one piece of work used, as the backend reported them (or, where it did not, as the tokenizer counted
/// them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Usage {
    /// All input tokens: fresh ones, and those read from or written to the backend's cache.
    pub input_tokens: u64,
    /// The part of the input that the backend read from its cache; more than `input_tokens` counts as `input_tokens`.
    pub cached_input_tokens: u64,
    /// The part of the input that the backend wrote to its cache, to be kept for about 5 minutes.
    pub cache_write_tokens: u64,
    /// The part of the input that the backend wrote to its cache, to be kept for about an hour.
    pub cache_write_1h_tokens: u64,
    /// All output tokens, reasoning included.
    pub output_tokens: u64,
    /// The part of the output that was reasoning, as far as the backend says so.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Nothing was used.
    pub const ZERO: Self = Self {
        input_tokens: 0,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        cache_write_1h_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
    };

    /// All input tokens that the backend wrote to its cache.
    #[must_use]
    pub const fn cache_writes(&self) -> u64 {
        self.cache_write_tokens.saturating_add(self.cache_write_1h_tokens)
    }
}
