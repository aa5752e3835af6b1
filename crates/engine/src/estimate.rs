//! What a request would cost. Changes nothing.

use crate::evaluation::INSTRUCTIONS;
use crate::{Engine, EngineError, PoolStatus, RequestError};
use tithe_free_tier::Decision;
use tithe_money::{Msats, Sats, UsdMicros};
use tithe_pricing::{BtcQuote, Model, Quote, QuoteError, Terms};
use tithe_trust::{NostrPubkey, Tier};

/// What a request would cost: its evaluation and its work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// The evaluation fee: flat, and not given back.
    pub evaluation_fee: Sats,
    /// The work alone.
    pub work: Quote,
    /// The least that both cost.
    pub min: Msats,
    /// What both are expected to cost.
    pub expected: Msats,
    /// What both are expected to cost, in dollars.
    pub expected_usd: UsdMicros,
    /// The most that both cost: what is asked for before the unused part is refunded.
    pub max: Msats,
    /// The BTC price that it was worked out at.
    pub btc: BtcQuote,
    /// The tier of who asks.
    pub tier: Tier,
    /// Who asks, and what the pool would pay for them.
    pub free_tier: Option<FreeTierPreview>,
    /// How the pool stands.
    pub pool: PoolStatus,
}

/// What the pool would pay if an identity asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeTierPreview {
    /// Who asks.
    pub pubkey: NostrPubkey,
    /// What would be decided about the most that the work can cost, which is what an invoice asks for: `charge` is what it
    /// would ask for.
    pub decision: Decision,
    /// What the pool is expected to pay of what is expected.
    pub expected_absorb: Msats,
    /// What is expected to be left to pay: at least the evaluation's fee.
    pub expected_charge: Msats,
}

impl Engine {
    /// What `request` would cost on `model`, with at most `max_output_tokens` of output, and what of that the pool would pay
    /// for `identity`.
    ///
    /// # Errors
    /// [`EngineError::Request`] when it would not be taken, [`EngineError::NoPrice`].
    pub async fn estimate(
        &self,
        request: &str,
        model: Option<&str>,
        max_output_tokens: Option<u64>,
        identity: Option<NostrPubkey>,
    ) -> Result<Estimate, EngineError> {
        let model = self.work_model(model)?;
        self.check_text(request)?;
        let terms = self.terms().await?;
        let work = model.quote(&[request], max_output_tokens, &terms)?;
        let evaluation = self.quote_evaluation(request, &terms)?;
        let evaluation_fee = evaluation.full_amount()?;
        let fee = evaluation_fee.to_msats();
        let expected = fee.checked_add(work.expected.msats)?;
        let mut tier = Tier::Anonymous;
        let mut free_tier = None;
        if let Some(pubkey) = identity {
            let (its_tier, decision) = self.pool_preview(pubkey, work.full_amount()?).await?;
            let expected_absorb = work.expected.msats.min(decision.absorb);
            let expected_charge = expected.checked_sub(expected_absorb)?;
            tier = its_tier;
            free_tier = Some(FreeTierPreview { pubkey, decision, expected_absorb, expected_charge });
        }
        Ok(Estimate {
            evaluation_fee,
            min: fee.checked_add(work.min.msats)?,
            expected,
            tier,
            free_tier,
            pool: self.pool_status().await?,
            expected_usd: evaluation.max.usd.checked_add(work.expected.usd)?,
            max: fee.checked_add(work.full_amount()?.to_msats())?,
            work,
            btc: terms.btc,
        })
    }

    /// The models that customers may choose, by name.
    pub fn offered_models(&self) -> impl Iterator<Item = &Model> {
        self.ports.catalogue.models().filter(|model| self.work_model(Some(&model.name)).is_ok())
    }

    pub(crate) fn quote_evaluation(&self, request: &str, terms: &Terms) -> Result<Quote, EngineError> {
        let messages = [INSTRUCTIONS, request];
        let model = self.eval_model()?;
        let wanted = self.settings.eval_max_output_tokens.min(model.max_output_tokens);
        let quote = model.quote(&messages, Some(wanted), terms)?;
        if quote.tokens.max_output < wanted {
            // A verdict that has no room would be unreadable, over and over, at our cost.
            let limit = model.context_tokens.saturating_sub(wanted);
            let input_tokens = quote.tokens.max_input;
            return Err(QuoteError::TooLong { input_tokens, limit, model: model.name.clone() }.into());
        }
        Ok(quote)
    }

    pub(crate) fn check_text(&self, request: &str) -> Result<(), RequestError> {
        if request.trim().is_empty() {
            return Err(RequestError::Empty);
        }
        let (bytes, limit) = (request.len(), self.settings.max_request_bytes);
        if bytes > limit {
            return Err(RequestError::TooLong { bytes, limit });
        }
        let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
        if let Some((position, c)) = request.chars().enumerate().find(|(_, c)| odd(*c)) {
            return Err(RequestError::ControlCharacter { code: c.into(), position });
        }
        Ok(())
    }
}
