//! A model and its prices.

use crate::{ModelRates, Tokenizer};
use tithe_clock::Timestamp;

/// Prices that apply from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PriceChange {
    /// The first moment at which the prices apply.
    pub from: Timestamp,
    /// The prices.
    pub rates: ModelRates,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Purpose {
    /// It continues chats.
    #[default]
    Chat,
    /// It turns texts into vectors. It has no output that costs anything.
    Embeddings,
}

impl Purpose {
    /// The name: `chat` or `embeddings`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }

    /// A model of this purpose, in words.
    pub(crate) const fn model(self) -> &'static str {
        match self {
            Self::Chat => "a chat model",
            Self::Embeddings => "an embedding model",
        }
    }
}

/// A model that work can run on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Model {
    /// The name used by the backend and by customers.
    pub name: String,
    /// The vendor.
    pub vendor: String,
    /// What it is for.
    #[cfg_attr(feature = "serde", serde(default))]
    pub purpose: Purpose,
    /// The context window in tokens, input and output together; of an embedding model, the most that one input may have.
    pub context_tokens: u64,
    /// The model's output limit; 0 of an embedding model.
    pub max_output_tokens: u64,
    /// The output limit used if the customer sets none; 0 of an embedding model.
    pub default_max_output_tokens: u64,
    /// The model's prices until the first of the price changes.
    pub rates: ModelRates,
    /// Announced changes of the prices, by time.
    #[cfg_attr(feature = "serde", serde(default))]
    pub price_changes: Vec<PriceChange>,
    /// True if the backend writes prompts to its cache, at the price of a cache write, without being asked to.
    #[cfg_attr(feature = "serde", serde(default))]
    pub implicit_cache_writes: bool,
    /// True if the backend sends, and so lets us count, everything that the model writes: it has no reasoning that is billed and not shown.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shows_all_output: bool,
    /// The tokenizer that counts its prompts.
    pub tokenizer: Tokenizer,
    /// The safety margin, in percent, by which the vendor's own tokenizer may count more.
    pub input_safety_pct: u32,
}

impl Model {
    /// Whether the output that is generated can be counted while it is: all of it is shown, and our tokenizer is the vendor's.
    #[must_use]
    pub fn is_output_countable(&self) -> bool {
        self.shows_all_output && self.input_safety_pct == 0 && self.tokenizer != Tokenizer::Bytes
    }

    /// The prices in force at a time: those of the last change that is not later.
    #[must_use]
    pub fn rates_at(&self, time: Timestamp) -> &ModelRates {
        let begun = self.price_changes.iter().filter(|change| change.from <= time);
        begun.max_by_key(|change| change.from).map_or(&self.rates, |change| &change.rates)
    }
}
