//! What the work of a request is done by, and what it costs.

use super::service::Sessions;
use crate::error::EngineError;
use crate::metered::{MeteredQuotes, Prompt};
use std::collections::BTreeSet;
use tithe_pricing::{CallPrice, Terms, Tokenizer};

/// What the work of a request is done by, and what it costs.
pub(super) struct QuotedWork {
    /// The model that does it, or the path of the mounted route.
    pub(super) model: String,
    /// What counts the tokens of an answer.
    pub(super) tokenizer: Tokenizer,
    /// Whether an answer can be counted while it is generated.
    pub(super) is_countable: bool,
    /// The prices.
    pub(super) quotes: MeteredQuotes,
}

impl Sessions {
    /// The model that a request runs on, and what it costs, if it can be sold and is among the `models` that the caller's macaroon allows.
    pub(super) fn quotes_of(
        &self,
        models: Option<&BTreeSet<String>>,
        prompt: &Prompt,
        model: Option<&str>,
        max_output_tokens: Option<u64>,
        terms: &Terms,
    ) -> Result<QuotedWork, EngineError> {
        if let Some(call) = prompt.as_call() {
            return quote_call(models, prompt, call.mount.price, terms);
        }
        if let Some(text) = prompt.as_text() {
            self.quotes.check_text(text)?;
        }
        let model = self.quotes.work_model(model)?;
        check_model(models, &model.name)?;
        let _understood = self.quotes.targets(&model.name, prompt.as_chat())?;
        let evaluated = prompt.as_text().filter(|_| self.core.settings.session_evaluation);
        if evaluated.is_some() {
            self.quotes.check_backend(&model.name)?;
        } else {
            self.quotes.check_work_backend(&model.name)?;
        }
        let evaluation = evaluated.map(|text| self.quotes.evaluation(text, terms)).transpose()?;
        let work = self.quotes.metered(model, prompt, max_output_tokens, terms)?;
        Ok(QuotedWork {
            model: model.name.clone(),
            tokenizer: model.tokenizer,
            is_countable: model.is_output_countable(),
            quotes: MeteredQuotes { evaluation, work, call: None },
        })
    }
}

/// The mounted route that a request calls, at this price, if the caller's macaroon allows it.
pub(super) fn quote_call(
    models: Option<&BTreeSet<String>>,
    prompt: &Prompt,
    price: CallPrice,
    terms: &Terms,
) -> Result<QuotedWork, EngineError> {
    let call = prompt.as_call().ok_or(EngineError::Internal)?;
    let model = call.mount.path.to_string();
    check_model(models, &model)?;
    let work = price.quote(&model, terms)?;
    Ok(QuotedWork {
        model,
        tokenizer: Tokenizer::Bytes,
        is_countable: false,
        quotes: MeteredQuotes { evaluation: None, work, call: Some(price) },
    })
}

/// Whether a caller's macaroon allows a model, or a mounted route by its path.
fn check_model(models: Option<&BTreeSet<String>>, model: &str) -> Result<(), EngineError> {
    if models.is_some_and(|models| !models.contains(model)) {
        return Err(EngineError::KeyModel { model: model.to_owned() });
    }
    Ok(())
}
