//! Estimates: what a request would cost. They change nothing.

use super::service::Quotes;
use crate::error::EngineError;
use crate::pool::PoolStatus;
use tithe_chat::Chat;
use tithe_free_tier::Decision;
use tithe_money::{Msats, Sats, UsdMicros};
use tithe_pricing::{BtcQuote, Priced, Quote};
use tithe_trust::{NostrPubkey, Tier};

/// What a request would cost: its evaluation and its work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// The evaluation fee: flat, and not refunded once the evaluation has run.
    pub evaluation_fee: Sats,
    /// The work alone.
    pub work: Quote,
    /// The least that both cost.
    pub min: Msats,
    /// What both are expected to cost.
    pub expected: Msats,
    /// The same amount in dollars.
    pub expected_usd: UsdMicros,
    /// The most that both cost: what is invoiced before the unused part is refunded.
    pub max: Msats,
    /// The BTC price that was used.
    pub btc: BtcQuote,
    /// The tier of the identity.
    pub tier: Tier,
    /// What the pool would pay for the identity, if there is one.
    pub free_tier: Option<FreeTierPreview>,
    /// The pool.
    pub pool: PoolStatus,
}

/// What the pool would pay for an identity, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeTierPreview {
    /// The identity.
    pub pubkey: NostrPubkey,
    /// The decision on the most that the work can cost, which is what an invoice asks for: `charge` is what it would ask for.
    pub decision: Decision,
    /// What the pool is expected to pay of the expected cost.
    pub expected_absorb: Msats,
    /// What the customer is expected to pay: at least the evaluation fee.
    pub expected_charge: Msats,
}

impl Quotes {
    /// What `request` would cost on `model`, with at most `max_output_tokens` of output, and what the pool would pay of that
    /// for `identity`.
    ///
    /// # Errors
    /// [`EngineError::Request`] when the request would be refused, [`EngineError::NoPrice`].
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
        let work = self.work(model, &Chat::of(request), max_output_tokens, &terms)?;
        let evaluation = self.evaluation(request, &terms)?;
        let evaluation_fee = evaluation.full_amount()?;
        let fee = evaluation_fee.to_msats();
        let expected = fee.checked_add(work.expected.msats)?;
        let mut tier = Tier::Anonymous;
        let mut free_tier = None;
        if let Some(pubkey) = identity {
            let (its_tier, decision) = self.pool.preview(pubkey, work.full_amount()?).await?;
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
            pool: self.pool.status().await?,
            expected_usd: terms.btc.price.value_rounding_up(expected)?,
            max: fee.checked_add(work.full_amount()?.to_msats())?,
            work,
            btc: terms.btc,
        })
    }
}
