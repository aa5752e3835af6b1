//! Counting tokens.

#[cfg(feature = "tokenizers")]
use crate::dictionary::{CL100K_BASE, O200K_BASE};
use std::fmt;
use std::str::FromStr;

/// A tokenizer.
///
/// The dictionaries are loaded on first use and shared afterwards. Counting takes time linear in the text, so a hostile
/// prompt costs no more than an ordinary one.
///
/// Without the feature `tokenizers`, every tokenizer counts bytes, which is an upper bound: a quote is then too high, never too
/// low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "&'static str", try_from = "String"))]
pub enum Tokenizer {
    /// OpenAI's current encoding (GPT-4o and later).
    O200kBase,
    /// OpenAI's former encoding (GPT-4, GPT-3.5).
    Cl100kBase,
    /// One token per byte: an upper bound for every tokenizer that falls back to bytes. For models whose own tokenizer
    /// is unknown and which must never be sold below cost.
    Bytes,
}

/// There is no tokenizer with this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tokenizer: expected o200k_base, cl100k_base or bytes, got {0:?}")]
pub struct UnknownTokenizer(String);

impl Tokenizer {
    /// The number of tokens in `text`.
    #[must_use]
    pub fn count(self, text: &str) -> u64 {
        u64::try_from(self.count_usize(text)).unwrap_or(u64::MAX)
    }

    #[cfg(feature = "tokenizers")]
    fn count_usize(self, text: &str) -> usize {
        match self {
            Self::O200kBase => O200K_BASE.count(text),
            Self::Cl100kBase => CL100K_BASE.count(text),
            Self::Bytes => text.len(),
        }
    }

    #[cfg(not(feature = "tokenizers"))]
    const fn count_usize(self, text: &str) -> usize {
        match self {
            Self::O200kBase | Self::Cl100kBase | Self::Bytes => text.len(),
        }
    }

    /// The tokenizer's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
            Self::Bytes => "bytes",
        }
    }
}

impl FromStr for Tokenizer {
    type Err = UnknownTokenizer;
    fn from_str(name: &str) -> Result<Self, UnknownTokenizer> {
        match name {
            "o200k_base" => Ok(Self::O200kBase),
            "cl100k_base" => Ok(Self::Cl100kBase),
            "bytes" => Ok(Self::Bytes),
            _ => Err(UnknownTokenizer(name.to_owned())),
        }
    }
}

impl fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Tokenizer> for &'static str {
    fn from(tokenizer: Tokenizer) -> Self {
        tokenizer.as_str()
    }
}

impl TryFrom<String> for Tokenizer {
    type Error = UnknownTokenizer;
    fn try_from(name: String) -> Result<Self, UnknownTokenizer> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(feature = "tokenizers")]
    #[test]
    fn counts_are_those_of_the_published_encodings() {
        // From OpenAI's own cookbook, "How to count tokens with tiktoken".
        for (text, cl100k, o200k) in
            [("antidisestablishmentarianism", 6, 6), ("2 + 2 = 4", 7, 7), ("お誕生日おめでとう", 9, 8)]
        {
            assert_eq!(Tokenizer::Cl100kBase.count(text), cl100k, "{text}");
            assert_eq!(Tokenizer::O200kBase.count(text), o200k, "{text}");
        }
    }

    #[cfg(feature = "tokenizers")]
    proptest! {
        #[test]
        fn counts_are_those_of_the_crate_that_the_dictionaries_come_from(text in "(\\PC|[ \\n\\r\\t]){0,200}") {
            let count = |count: usize| u64::try_from(count).unwrap();
            prop_assert_eq!(Tokenizer::O200kBase.count(&text), count(bpe_openai::o200k_base().count(text.as_str())));
            prop_assert_eq!(Tokenizer::Cl100kBase.count(&text), count(bpe_openai::cl100k_base().count(text.as_str())));
        }
    }

    proptest! {
        #[test]
        fn bytes_are_never_fewer_than_tokens(text in "\\PC{0,200}") {
            prop_assert!(Tokenizer::O200kBase.count(&text) <= Tokenizer::Bytes.count(&text));
            prop_assert!(Tokenizer::Cl100kBase.count(&text) <= Tokenizer::Bytes.count(&text));
        }
    }

    #[test]
    fn names_read_back() {
        for tokenizer in [Tokenizer::O200kBase, Tokenizer::Cl100kBase, Tokenizer::Bytes] {
            assert_eq!(tokenizer.to_string().parse(), Ok(tokenizer));
        }
        assert!("gpt2".parse::<Tokenizer>().is_err());
    }
}
