//! Catalogues written as TOML files.

use crate::{Catalogue, Model, ModelRates, Purpose, TokenRates};
use std::fmt::{Display, Error, Write};
use tithe_money::UsdMicros;

impl Catalogue {
    /// The catalogue as a TOML file that [`Catalogue::parse`] reads as the same catalogue. Dated prices are written with their day.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut file = String::new();
        // Writing into a string cannot fail.
        let _infallible = self.write(&mut file);
        file
    }

    fn write(&self, file: &mut String) -> Result<(), Error> {
        writeln!(file, "as_of = {}", quoted(&self.as_of))?;
        writeln!(file, "source = {}", quoted(&self.source))?;
        self.models().try_for_each(|model| write_model(file, model))
    }
}

fn write_model(file: &mut String, model: &Model) -> Result<(), Error> {
    writeln!(file, "\n[[model]]")?;
    writeln!(file, "name = {}", quoted(&model.name))?;
    writeln!(file, "vendor = {}", quoted(&model.vendor))?;
    writeln!(file, "context_tokens = {}", model.context_tokens)?;
    match model.purpose {
        Purpose::Chat => {
            writeln!(file, "max_output_tokens = {}", model.max_output_tokens)?;
            writeln!(file, "default_max_output_tokens = {}", model.default_max_output_tokens)?;
        }
        purpose @ Purpose::Embeddings => writeln!(file, "purpose = {}", quoted(purpose.as_str()))?,
    }
    let written = WrittenPrices { like: &model.rates.base, purpose: model.purpose };
    written.prices(file, &model.rates.base)?;
    writeln!(file, "tokenizer = {}", quoted(model.tokenizer))?;
    writeln!(file, "input_safety_pct = {}", model.input_safety_pct)?;
    if model.implicit_cache_writes {
        writeln!(file, "implicit_cache_writes = true")?;
    }
    if model.shows_all_output {
        writeln!(file, "shows_all_output = true")?;
    }
    if is_free(&model.rates.base) {
        writeln!(file, "free = true")?;
    }
    written.tiers(file, "model.tier", &model.rates)?;
    for change in &model.price_changes {
        let from = change.from.to_string();
        let day = from.split_once('T').map_or(from.as_str(), |(day, _)| day);
        writeln!(file, "\n[[model.from]]\ndate = {}", quoted(day))?;
        written.prices(file, &change.rates.base)?;
        WrittenPrices { like: &change.rates.base, ..written }.tiers(
            file,
            "model.from.tier",
            &change.rates,
        )?;
    }
    Ok(())
}

/// How the prices of a model are written.
#[derive(Clone, Copy)]
struct WrittenPrices<'a> {
    /// Prices that the others must have all the parts of.
    like: &'a TokenRates,
    purpose: Purpose,
}

impl WrittenPrices<'_> {
    fn tiers(&self, file: &mut String, table: &str, rates: &ModelRates) -> Result<(), Error> {
        for tier in &rates.tiers {
            writeln!(file, "\n[[{table}]]\nabove_input_tokens = {}", tier.above_input_tokens)?;
            self.prices(file, &tier.rates)?;
        }
        Ok(())
    }

    /// Everything but what is a default anyway, and everything that the prices `like` have apart: there, nothing is a default.
    fn prices(&self, file: &mut String, rates: &TokenRates) -> Result<(), Error> {
        let like = self.like;
        let writes = |rates: &TokenRates| rates.cache_write != rates.input;
        let writes_1h = |rates: &TokenRates| rates.cache_write_1h != rates.cache_write;
        let reasons = |rates: &TokenRates| rates.reasoning != rates.output;
        let mut price = |field: &str, price: UsdMicros| writeln!(file, "{field} = \"{price}\"");
        price("input_usd", rates.input)?;
        if rates.cached_input != rates.input {
            price("cached_input_usd", rates.cached_input)?;
        }
        if writes(rates) || writes(like) {
            price("cache_write_usd", rates.cache_write)?;
        }
        if writes_1h(rates) || writes_1h(like) {
            price("cache_write_1h_usd", rates.cache_write_1h)?;
        }
        if self.purpose == Purpose::Chat {
            price("output_usd", rates.output)?;
        }
        if reasons(rates) || reasons(like) {
            price("reasoning_usd", rates.reasoning)?;
        }
        Ok(())
    }
}

fn is_free(rates: &TokenRates) -> bool {
    *rates == TokenRates::uniform(UsdMicros::ZERO, UsdMicros::ZERO)
}

fn quoted(text: impl Display) -> toml::Value {
    toml::Value::String(text.to_string())
}
