//! Models and their prices.

use crate::Tokenizer;
use serde::Deserialize;
use std::collections::BTreeMap;
use tithe_money::{MoneyError, UsdMicros};

/// The built-in catalogue: public list prices, with their date and source.
const BUILT_IN: &str = include_str!("../models.toml");

/// The reason why a catalogue is invalid. The message names the model and the field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The text is not TOML of the expected form.
    #[error("invalid model catalogue: {0}")]
    Form(#[from] toml::de::Error),
    /// A price is not a decimal number of dollars.
    #[error("model {model:?}: {field} is {value:?}: {source}")]
    Price {
        /// The model.
        model: String,
        /// The field.
        field: &'static str,
        /// The field's value.
        value: String,
        /// The cause.
        source: MoneyError,
    },
    /// A value is unknown or out of range.
    #[error("model {model:?}: {problem}")]
    Value {
        /// The model.
        model: String,
        /// The problem.
        problem: String,
    },
    /// Two entries have the same name.
    #[error("duplicate model: {0:?}")]
    Duplicate(String),
}

/// A model's prices, in micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
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

/// The models on sale, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    as_of: String,
    source: String,
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    as_of: String,
    source: String,
    model: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    name: String,
    vendor: String,
    context_tokens: u64,
    max_output_tokens: u64,
    default_max_output_tokens: u64,
    input_usd: String,
    cached_input_usd: Option<String>,
    output_usd: String,
    tokenizer: String,
    #[serde(default)]
    input_safety_pct: u32,
}

impl Catalogue {
    /// The built-in catalogue.
    ///
    /// # Panics
    /// Never: a test parses the same file.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the file is part of this crate, and a test reads it")]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in catalogue is valid")
    }

    /// Parses a catalogue.
    ///
    /// # Errors
    /// [`CatalogueError`] names the model and the field that is wrong.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let file: CatalogueFile = toml::from_str(text)?;
        let mut models = BTreeMap::new();
        for entry in file.model {
            let model = Model::try_from(entry)?;
            if let Some(twice) = models.insert(model.name.clone(), model) {
                return Err(CatalogueError::Duplicate(twice.name));
            }
        }
        Ok(Self { as_of: file.as_of, source: file.source, models })
    }

    /// This catalogue with `other`'s models added; those of the same name are replaced.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        self.models.extend(other.models);
        self
    }

    /// The model with this name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(name)
    }

    /// All models, ordered by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// The date of the built-in prices, as stated in the file.
    #[must_use]
    pub fn as_of(&self) -> &str {
        &self.as_of
    }

    /// The source of the built-in prices, as stated in the file.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl TryFrom<ModelEntry> for Model {
    type Error = CatalogueError;

    fn try_from(entry: ModelEntry) -> Result<Self, CatalogueError> {
        let price = |field, value: &str| {
            UsdMicros::parse(value).map_err(|source| CatalogueError::Price {
                model: entry.name.clone(),
                field,
                value: value.to_owned(),
                source,
            })
        };
        let wrong = |problem: String| CatalogueError::Value { model: entry.name.clone(), problem };
        let input = price("input_usd", &entry.input_usd)?;
        let cached_input = match &entry.cached_input_usd {
            Some(value) => price("cached_input_usd", value)?,
            None => input,
        };
        let rates = ModelRates { input, cached_input, output: price("output_usd", &entry.output_usd)? };
        let tokenizer: Tokenizer = entry.tokenizer.parse().map_err(|e| wrong(format!("tokenizer: {e}")))?;
        let limits = [
            ("context_tokens", entry.context_tokens),
            ("max_output_tokens", entry.max_output_tokens),
            ("default_max_output_tokens", entry.default_max_output_tokens),
        ];
        for (field, tokens) in limits {
            if !(1..=1_000_000_000).contains(&tokens) {
                return Err(wrong(format!("{field} is {tokens}, not between 1 and 1000000000")));
            }
        }
        if entry.default_max_output_tokens > entry.max_output_tokens {
            return Err(wrong("default_max_output_tokens exceeds max_output_tokens".to_owned()));
        }
        if entry.input_safety_pct > 1_000 {
            return Err(wrong(format!("input_safety_pct is {}, more than 1000", entry.input_safety_pct)));
        }
        Ok(Self {
            rates,
            tokenizer,
            context_tokens: entry.context_tokens,
            max_output_tokens: entry.max_output_tokens,
            default_max_output_tokens: entry.default_max_output_tokens,
            input_safety_pct: entry.input_safety_pct,
            vendor: entry.vendor,
            name: entry.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        as_of = "2026-11-01"
        source = "a test"
        [[model]]
        name = "m"
        vendor = "v"
        context_tokens = 1000
        max_output_tokens = 500
        default_max_output_tokens = 100
        input_usd = "1.25"
        output_usd = "10"
        tokenizer = "bytes"
    "#;

    #[test]
    fn the_built_in_catalogue_has_models_a_date_and_a_source() {
        let catalogue = Catalogue::built_in();
        assert!(catalogue.models().count() >= 10);
        assert!(catalogue.as_of().starts_with("20"));
        assert!(!catalogue.source().is_empty());
        for model in catalogue.models() {
            assert!(model.rates.cached_input <= model.rates.input, "{}", model.name);
        }
    }

    #[test]
    fn an_entry_is_read_exactly() {
        let catalogue = Catalogue::parse(ENTRY).unwrap();
        let rates = catalogue.model("m").unwrap().rates;
        assert_eq!(rates.input, UsdMicros::new(1_250_000).unwrap());
        assert_eq!(rates.cached_input, rates.input);
        assert_eq!(rates.output, UsdMicros::new(10_000_000).unwrap());
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, message) in [
            ("\"1.25\"", "\"1,25\"", "model \"m\": input_usd is \"1,25\""),
            ("\"bytes\"", "\"gpt2\"", "model \"m\": tokenizer: unknown tokenizer"),
            ("= 100\n", "= 501\n", "default_max_output_tokens exceeds max_output_tokens"),
            ("= 1000\n", "= 0\n", "context_tokens is 0"),
            ("vendor", "vend0r", "vend0r"),
            ("\"1.25\"", "1.25", "input_usd"),
        ] {
            let error = Catalogue::parse(&ENTRY.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let twice = format!(
            "{ENTRY}{}",
            ENTRY.split_once("[[model]]").map(|(_, e)| format!("[[model]]{e}")).unwrap()
        );
        assert!(matches!(Catalogue::parse(&twice), Err(CatalogueError::Duplicate(name)) if name == "m"));
    }

    #[test]
    fn an_operators_prices_replace_the_built_in_ones() {
        let mine = Catalogue::parse(&ENTRY.replace("\"m\"", "\"sim-large\"")).unwrap();
        let merged = Catalogue::built_in().overridden_by(mine);
        assert_eq!(merged.model("sim-large").unwrap().vendor, "v");
        assert!(merged.model("sim-small").is_some());
    }
}
