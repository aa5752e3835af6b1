//! Prices and the checks of requests.

use super::evaluation::INSTRUCTIONS;
use crate::core::Core;
use crate::error::{EngineError, RequestError};
use crate::inference::{BackendHealth, InferenceError, TEXT_BYTES_MAX, input_tokens};
use crate::pool::Pool;
use std::sync::Arc;
use tithe_chat::Chat;
use tithe_money::BtcPrice;
use tithe_pricing::{Catalogue, Model, Quote, QuoteError, Terms};
use tracing::error;

/// The longest token of a known vocabulary, in bytes.
const TOKEN_BYTES_MAX: u64 = 128;

/// The most output that the limit of an answer's text certainly lets through, in tokens.
const OUTPUT_TOKENS_MAX: u64 = TEXT_BYTES_MAX / TOKEN_BYTES_MAX;

/// A model that the settings name is not in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown model: {role} is {name:?}, which is not in the model catalogue")]
pub struct UnknownModel {
    /// What the model was to be used for.
    pub role: &'static str,
    /// The model's name.
    pub name: String,
}

/// The use cases of quotes.
pub struct Quotes {
    pub(super) core: Arc<Core>,
    pub(super) pool: Arc<Pool>,
    pub(super) backend: Arc<BackendHealth>,
}

impl Quotes {
    /// # Errors
    /// [`UnknownModel`] when the settings name a model that the catalogue does not have.
    pub(crate) fn new(
        core: Arc<Core>,
        pool: Arc<Pool>,
        backend: Arc<BackendHealth>,
    ) -> Result<Self, UnknownModel> {
        let settings = &core.settings;
        let named =
            [("the evaluation model", &settings.eval_model), ("the work model", &settings.work_model)];
        let offered = settings.offered_models.iter().map(|name| ("an offered model", name));
        for (role, name) in named.into_iter().chain(offered) {
            if core.ports.catalogue.model(name).is_none() {
                return Err(UnknownModel { role, name: name.clone() });
            }
        }
        Ok(Self { core, pool, backend })
    }

    /// The models that customers may choose, by name.
    pub fn offered_models(&self) -> impl Iterator<Item = &Model> {
        self.core.ports.catalogue.models().filter(|model| self.is_offered(&model.name))
    }

    /// The model of this name, if customers may choose it.
    #[must_use]
    pub fn offered_model(&self, name: &str) -> Option<&Model> {
        self.core.ports.catalogue.model(name).filter(|model| self.is_offered(&model.name))
    }

    fn is_offered(&self, name: &str) -> bool {
        let settings = &self.core.settings;
        name == settings.work_model || settings.offered_models.contains(name)
    }

    /// The tokens of a chat, counted for a model.
    #[must_use]
    pub fn prompt_tokens(&self, model: &str, chat: &Chat) -> u64 {
        self.catalogue().model(model).map_or(0, |model| input_tokens(model, chat).counted)
    }

    /// The models and their prices.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.core.ports.catalogue
    }

    /// A run of a model has failed: the model is probed soon, unless the failure says nothing of it.
    pub(crate) fn suspect(&self, model: &str, failure: &InferenceError) {
        self.backend.suspect(model, failure);
    }

    /// The price of a bitcoin, now.
    ///
    /// # Errors
    /// [`EngineError::NoPrice`].
    pub async fn btc_price(&self) -> Result<BtcPrice, EngineError> {
        Ok(self.core.ports.prices.btc_price().await.map_err(EngineError::NoPrice)?.price)
    }

    /// The operator's side of a price, now.
    pub(crate) async fn terms(&self) -> Result<Terms, EngineError> {
        let btc = self.core.ports.prices.btc_price().await.map_err(EngineError::NoPrice)?;
        let settings = &self.core.settings;
        Ok(Terms { margin: settings.margin, fixed_cost: settings.fixed_cost, btc })
    }

    /// The model that work is to run on.
    pub(crate) fn work_model(&self, wanted: Option<&str>) -> Result<&Model, RequestError> {
        let settings = &self.core.settings;
        let name = wanted.unwrap_or(&settings.work_model);
        self.offered_model(name).ok_or_else(|| {
            let mut offered: Vec<&str> = settings.offered_models.iter().map(String::as_str).collect();
            if !settings.offered_models.contains(&settings.work_model) {
                offered.push(&settings.work_model);
            }
            RequestError::UnknownModel { name: name.chars().take(100).collect(), offered: offered.join(", ") }
        })
    }

    /// Refuses to sell what the backend cannot do: work on this model, and its evaluation.
    pub(crate) fn check_backend(&self, model: &str) -> Result<(), EngineError> {
        let can_sell = |model: &str| self.backend.can_sell(model);
        if can_sell(&self.core.settings.eval_model) && can_sell(model) {
            Ok(())
        } else {
            Err(EngineError::NoBackend)
        }
    }

    /// Refuses to sell work that the backend cannot do on this model. What is not evaluated needs no more.
    pub(crate) fn check_work_backend(&self, model: &str) -> Result<(), EngineError> {
        if self.backend.can_sell(model) { Ok(()) } else { Err(EngineError::NoBackend) }
    }

    /// The most output that can be asked of a model.
    pub(crate) fn output_limit(model: &Model) -> u64 {
        model.max_output_tokens.min(OUTPUT_TOKENS_MAX)
    }

    /// The price of the work. No more output is quoted than the limits of this server let through.
    pub(crate) fn work(
        model: &Model,
        chat: &Chat,
        wanted: Option<u64>,
        terms: &Terms,
    ) -> Result<Quote, QuoteError> {
        let most = Self::output_limit(model);
        if let Some(asked) = wanted.filter(|asked| *asked > most) {
            return Err(QuoteError::OutputLimit { asked, limit: most, model: model.name.clone() });
        }
        let wanted = wanted.or_else(|| Some(most).filter(|most| *most < model.default_max_output_tokens));
        // Counting is the expensive part; a limit that is out of range is refused first.
        model.check_output_limit(wanted)?;
        model.quote_tokens(input_tokens(model, chat), wanted, terms)
    }

    /// The price of evaluating a request.
    pub(crate) fn evaluation(&self, request: &str, terms: &Terms) -> Result<Quote, EngineError> {
        let messages = [INSTRUCTIONS, request];
        let settings = &self.core.settings;
        let Some(model) = self.core.ports.catalogue.model(&settings.eval_model) else {
            error!(model = settings.eval_model, "the evaluation model is no longer in the catalogue");
            return Err(EngineError::Internal);
        };
        let wanted = settings.eval_max_output_tokens.min(model.max_output_tokens);
        let quote = model.quote(&messages, Some(wanted), terms)?;
        if quote.tokens.max_output < wanted {
            // A verdict without enough room would be unreadable, again and again, at our cost.
            let limit = model.context_tokens.saturating_sub(wanted);
            let input_tokens = quote.tokens.max_input;
            return Err(QuoteError::TooLong { input_tokens, limit, model: model.name.clone() }.into());
        }
        Ok(quote)
    }

    /// Checks the text of a request.
    pub(crate) fn check_text(&self, request: &str) -> Result<(), RequestError> {
        if request.trim().is_empty() {
            return Err(RequestError::Empty);
        }
        let (bytes, limit) = (request.len(), self.core.settings.max_request_bytes);
        if bytes > limit {
            return Err(RequestError::TooLong { bytes, limit });
        }
        let is_refused = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
        if let Some((position, c)) = request.chars().enumerate().find(|(_, c)| is_refused(*c)) {
            return Err(RequestError::ControlCharacter { code: c.into(), position });
        }
        Ok(())
    }
}
