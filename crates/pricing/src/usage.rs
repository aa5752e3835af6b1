//! The token usage of a piece of work.

/// The tokens that one piece of work used, as the backend reported them (or, where it did not, as the tokenizer counted
/// them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Usage {
    /// All input tokens, the cached ones included.
    pub input_tokens: u64,
    /// The part of the input that the backend had cached; more than `input_tokens` counts as `input_tokens`.
    pub cached_input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
}
