//! Catalogues as TOML files.

use crate::{Catalogue, Model, ModelRates, Tokenizer};
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

    /// Parses a catalogue from TOML:
    ///
    /// ```toml
    /// as_of = "2026-11-18"                # the date of the prices
    /// source = "the vendor's price page"  # where they are from
    ///
    /// [[model]]
    /// name = "large"                      # as the backend and customers name it
    /// vendor = "example"
    /// context_tokens = 128000             # input and output together
    /// max_output_tokens = 16384           # the model's output limit
    /// default_max_output_tokens = 4096    # the output limit if the customer sets none
    /// input_usd = "2.50"                  # dollars per million tokens, as text: no binary fractions
    /// cached_input_usd = "1.25"           # optional; the same as input_usd without it
    /// output_usd = "10"
    /// tokenizer = "o200k_base"            # or cl100k_base, or bytes: an upper bound for every model
    /// input_safety_pct = 20               # optional: by how much the vendor's own tokenizer may count more
    /// ```
    ///
    /// Unknown fields are errors.
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
    use std::iter::once;

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

    #[test]
    fn a_catalogue_is_collected_from_models() {
        let model = Catalogue::parse(ENTRY).unwrap().model("m").unwrap().clone();
        let collected: Catalogue = once(model.clone()).collect();
        assert_eq!(collected.model("m"), Some(&model));
        assert_eq!((collected.as_of(), collected.source()), ("", ""));
    }
}
