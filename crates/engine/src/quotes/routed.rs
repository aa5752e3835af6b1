//! Quotes of models that several backends may do the work of.

use super::service::Quotes;
use crate::error::RequestError;
use crate::inference::{self, Target};
use tithe_chat::Chat;
use tithe_pricing::{InputTokens, Model, ModelRates, Quote};

impl Quotes {
    /// Where the work on a chat is done, in order: the targets of the model's route that can be sent such a chat, without those that are
    /// known not to work as long as there are others.
    ///
    /// # Errors
    /// [`RequestError::ToolOfApi`] if the chat has a tool that no backend of the route understands.
    pub(crate) fn targets(&self, model: &str, chat: &Chat) -> Result<Vec<Target>, RequestError> {
        let mut targets = self.core.targets(model);
        targets.retain(|target| understands(target, chat));
        if targets.is_empty() {
            return Err(not_understood(model, chat));
        }
        Ok(self.those_that_work(targets))
    }

    /// Where requests are evaluated, in order.
    pub(super) fn evaluation_targets(&self, model: &str) -> Vec<Target> {
        self.those_that_work(self.core.targets(model))
    }

    fn those_that_work(&self, targets: Vec<Target>) -> Vec<Target> {
        let working: Vec<Target> =
            targets.iter().filter(|target| self.backend.can_work(target)).cloned().collect();
        if working.is_empty() { targets } else { working }
    }

    /// The tokens of a chat for a model, and the most that any backend of its route may count.
    pub(super) fn input_tokens(&self, model: &Model, chat: &Chat) -> InputTokens {
        self.most_input(model, |model| inference::input_tokens(model, chat))
    }

    /// The most input that any model behind a name counts.
    pub(super) fn most_input(&self, model: &Model, count: impl Fn(&Model) -> InputTokens) -> InputTokens {
        let mut most = count(model);
        let mut counted = vec![(model.tokenizer, model.input_safety_pct)];
        for other in self.core.ports.routes.priced(&model.name) {
            let tokenizer = (other.tokenizer, other.input_safety_pct);
            if !counted.contains(&tokenizer) {
                counted.push(tokenizer);
                let tokens = count(other);
                most.counted = most.counted.max(tokens.counted);
                most.max = most.max.max(tokens.max);
                most.cache_writes = most.cache_writes.max(tokens.cache_writes);
            }
        }
        most
    }
}

/// Refuses a chat that a backend does not understand.
///
/// # Errors
/// [`RequestError::ToolOfApi`].
pub(crate) fn check_understood(target: &Target, model: &str, chat: &Chat) -> Result<(), RequestError> {
    if understands(target, chat) { Ok(()) } else { Err(not_understood(model, chat)) }
}

fn understands(target: &Target, chat: &Chat) -> bool {
    match chat.original.as_ref().filter(|original| !original.own_tools.is_empty()) {
        None => true,
        Some(original) => target.speaks(original.api),
    }
}

fn not_understood(model: &str, chat: &Chat) -> RequestError {
    let tools = chat.original.iter().flat_map(|original| &original.own_tools);
    let tool = tools.map(|tool| tool.chars().take(100).collect()).next().unwrap_or_default();
    RequestError::ToolOfApi { tool, model: model.to_owned() }
}

/// The prices at which a target does the work of a quote, if the quote has others: those of all targets of its route.
pub(crate) fn rates_at(quote: &Quote, target: &Target) -> Option<ModelRates> {
    target.priced.as_ref().map(|model| model.rates_at(quote.terms.as_of()).clone())
}

/// A quote as it is charged when a target does the work: at most its maximum, at the target's prices.
pub(crate) fn quote_at(quote: &Quote, target: &Target) -> Quote {
    match rates_at(quote, target) {
        None => quote.clone(),
        Some(rates) => Quote { rates, ..quote.clone() },
    }
}
