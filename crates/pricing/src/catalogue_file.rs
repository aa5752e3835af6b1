//! Catalogues as TOML files.

mod entry;
mod error;
mod write;

pub use error::CatalogueError;

use crate::{Catalogue, Model};
use entry::CatalogueFile;
use std::collections::BTreeMap;

/// The built-in catalogue: public list prices, with their date and source.
const BUILT_IN: &str = include_str!("../models.toml");

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
    /// cached_input_usd = "1.25"           # read from the backend's cache; optional, the same as input_usd without it
    /// cache_write_usd = "3.125"           # written to it, to be kept for minutes; optional, the same as input_usd without it
    /// cache_write_1h_usd = "5"            # written to it, to be kept for an hour; optional, the same as cache_write_usd without it
    /// output_usd = "10"
    /// reasoning_usd = "12"                # optional, where reasoning is priced apart
    /// implicit_cache_writes = true        # optional: the backend writes to its cache, at that price, without being asked
    /// shows_all_output = true             # optional: the model has no reasoning that is billed and not shown
    /// purpose = "chat"                    # optional; or embeddings, of a model that has neither limits nor prices of output
    /// tokenizer = "o200k_base"            # or cl100k_base, or bytes: an upper bound for every model
    /// input_safety_pct = 20               # optional: by how much the vendor's own tokenizer may count more
    ///
    /// [[model.tier]]                      # optional: prices of the whole request, prompt and output, by size of the prompt
    /// above_input_tokens = 64000
    /// input_usd = "5"
    /// cached_input_usd = "2.50"
    /// cache_write_usd = "6.25"
    /// cache_write_1h_usd = "10"
    /// output_usd = "15"
    /// reasoning_usd = "18"
    ///
    /// [[model.from]]                      # optional: prices from a day on (UTC); [[model.from.tier]] are their tiers
    /// date = "2027-01-01"
    /// input_usd = "2"
    /// cache_write_usd = "2.50"
    /// cache_write_1h_usd = "4"
    /// output_usd = "8"
    /// reasoning_usd = "8"
    /// ```
    ///
    /// Unknown fields are errors. So is a model without a price, or with prices of zero: `free = true` gives it away. What a model's own
    /// prices have apart (cache writes, reasoning), its tiers and its prices from a day on must have, too.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, TokenRates};
    use std::iter::once;
    use tithe_clock::Timestamp;
    use tithe_money::UsdMicros;

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
            assert!(model.rates.base.cached_input <= model.rates.base.input, "{}", model.name);
        }
    }

    #[test]
    fn an_entry_is_read_exactly() {
        let catalogue = Catalogue::parse(ENTRY).unwrap();
        let rates = catalogue.model("m").unwrap().rates.base;
        assert_eq!(rates.input, UsdMicros::new(1_250_000).unwrap());
        assert_eq!(rates.cached_input, rates.input);
        assert_eq!(rates.output, UsdMicros::new(10_000_000).unwrap());
        assert_eq!(rates, TokenRates::uniform(rates.input, rates.output));
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
            ("input_usd = \"1.25\"", "", "model \"m\": no price: expected input_usd (or free = true)"),
            ("output_usd = \"10\"", "", "model \"m\": no price: expected output_usd (or free = true)"),
            ("= \"1.25\"\n        output_usd = \"10\"", "= \"0\"\noutput_usd = \"0\"", "all prices are 0"),
            ("vendor =", "free = true\nvendor =", "free = true, but there is a price"),
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

    const EMBEDS: &str = r#"
        as_of = "2026-11-01"
        source = "a test"
        [[model]]
        name = "e"
        vendor = "v"
        purpose = "embeddings"
        context_tokens = 8192
        input_usd = "0.02"
        tokenizer = "bytes"
    "#;

    #[test]
    fn an_embedding_model_has_no_output() {
        let catalogue = Catalogue::parse(EMBEDS).unwrap();
        let model = catalogue.model("e").unwrap();
        assert_eq!((model.purpose, model.max_output_tokens), (Purpose::Embeddings, 0));
        assert_eq!(model.rates.base, TokenRates::uniform(usd("0.02"), UsdMicros::ZERO));
        for (from, to, message) in [
            ("\"embeddings\"", "\"images\"", "unknown purpose: expected chat or embeddings, got \"images\""),
            ("\"embeddings\"", "\"chat\"", "no price: expected output_usd"),
            ("input_usd", "output_usd = \"1\"\ninput_usd", "output has a price"),
            ("input_usd", "max_output_tokens = 1\ninput_usd", "output has a limit"),
            ("\"0.02\"", "\"0\"", "all prices are 0"),
        ] {
            let error = Catalogue::parse(&EMBEDS.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    const APART: &str = r#"
        cached_input_usd = "0.125"
        cache_write_usd = "1.5625"
        cache_write_1h_usd = "2.5"
        reasoning_usd = "12"
        implicit_cache_writes = true
        [[model.tier]]
        above_input_tokens = 200
        input_usd = "2.5"
        cached_input_usd = "0.25"
        cache_write_usd = "3.125"
        cache_write_1h_usd = "5"
        output_usd = "15"
        reasoning_usd = "18"
        [[model.from]]
        date = "2027-01-01"
        input_usd = "2"
        cache_write_usd = "2.5"
        cache_write_1h_usd = "4"
        output_usd = "20"
        reasoning_usd = "20"
    "#;

    fn usd(dollars: &str) -> UsdMicros {
        UsdMicros::parse(dollars).unwrap()
    }

    #[test]
    fn cache_writes_reasoning_tiers_and_dates_are_read() {
        let catalogue = Catalogue::parse(&format!("{ENTRY}{APART}")).unwrap();
        let model = catalogue.model("m").unwrap();
        assert!(model.implicit_cache_writes);
        let before = model.rates_at(Timestamp::parse_rfc3339("2026-12-31T23:59:59Z").unwrap());
        let base = before.at_size(200);
        assert_eq!(
            (base.cache_write, base.cache_write_1h, base.reasoning),
            (usd("1.5625"), usd("2.5"), usd("12"))
        );
        assert_eq!(before.at_size(201).reasoning, usd("18"));
        let after = model.rates_at(Timestamp::parse_rfc3339("2027-01-01T00:00:00Z").unwrap());
        assert_eq!((after.base.input, after.base.cached_input), (usd("2"), usd("2")));
        assert!(after.tiers.is_empty());
    }

    #[test]
    fn a_written_catalogue_is_read_as_the_same() {
        let apart = Catalogue::parse(&format!("{ENTRY}{APART}")).unwrap();
        let free = ENTRY.replace("\"1.25\"", "\"0\"").replace("output_usd = \"10\"", "free = true");
        let embeds = Catalogue::parse(EMBEDS).unwrap();
        for catalogue in [apart, Catalogue::built_in(), Catalogue::parse(&free).unwrap(), embeds] {
            assert_eq!(Catalogue::parse(&catalogue.to_toml()).unwrap(), catalogue);
        }
    }

    #[test]
    fn tiers_and_dates_that_leave_a_surcharge_out_or_are_out_of_order_are_refused() {
        for (from, to, message) in [
            ("cache_write_usd = \"3.125\"", "", "no price above 200 input tokens: expected cache_write_usd"),
            ("cache_write_1h_usd = \"4\"", "", "no price from 2027-01-01 on: expected cache_write_1h_usd"),
            ("reasoning_usd = \"18\"", "", "expected reasoning_usd"),
            ("= 200\n", "= 0\n", "tiers out of order"),
            ("2027-01-01", "2027-13-01", "invalid date"),
            ("2027-01-01", "2027-1-1", "invalid date"),
        ] {
            let error =
                Catalogue::parse(&format!("{ENTRY}{}", APART.replace(from, to))).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
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
