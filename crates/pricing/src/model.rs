//! A model and its prices.

use crate::Tokenizer;
use tithe_money::UsdMicros;

/// A model's prices, in micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ModelRates {
    /// Per million input tokens.
    pub input: UsdMicros,
    /// Per million input tokens that the backend had cached; the same as `input` where there is no discount.
    pub cached_input: UsdMicros,
    /// Per million output tokens.
    pub output: UsdMicros,
}

/// A model that work can run on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Model {
    /// The name used by the backend and by customers.
    pub name: String,
    /// The vendor.
    pub vendor: String,
    /// The context window in tokens, input and output together.
    pub context_tokens: u64,
    /// The model's output limit.
    pub max_output_tokens: u64,
    /// The output limit used if the customer sets none.
    pub default_max_output_tokens: u64,
    /// The model's prices.
    pub rates: ModelRates,
    /// The tokenizer that counts its prompts.
    pub tokenizer: Tokenizer,
    /// The safety margin, in percent, by which the vendor's own tokenizer may count more.
    pub input_safety_pct: u32,
}
