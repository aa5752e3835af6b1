//! What a backend has done and nobody pays for: it is booked as the operator's loss.

use super::service::Quotes;
use crate::books::{Post, Posting};
use crate::error_chain::chain;
use crate::inference::{PROBE_OUTPUT_MAX, PROBE_TEXT, ProbeUsage};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Msats;
use tithe_pricing::{Priced, Quote, Usage};
use tracing::warn;
use uuid::Uuid;

impl Quotes {
    /// Books the price of `usage`, at the rates of `quote`, as uncollected. `occasion` makes the booking unique for what it
    /// `concerns`.
    pub(crate) async fn book_uncollected(
        &self,
        quote: &Quote,
        usage: &Usage,
        concerns: Uuid,
        occasion: &str,
    ) {
        let Ok(price) = quote.price(usage) else { return };
        self.book(price.msats, concerns, format!("uncollected:{concerns}:{occasion}")).await;
    }

    /// Books what a probe used.
    pub(crate) async fn book_probe(&self, probe: &ProbeUsage) {
        let Some(model) = self.core.ports.catalogue.model(&probe.model) else { return };
        let Ok(terms) = self.terms().await else {
            warn!(model = probe.model, "a probe of the backend could not be priced and is not booked");
            return;
        };
        let Ok(quote) = model.quote(&[PROBE_TEXT], Some(PROBE_OUTPUT_MAX), &terms) else { return };
        let most = Usage {
            input_tokens: quote.tokens.max_input,
            cached_input_tokens: 0,
            output_tokens: quote.tokens.max_output,
        };
        self.book_uncollected(&quote, &probe.usage.unwrap_or(most), self.core.new_id(), "probe").await;
    }

    async fn book(&self, amount: Msats, reference: Uuid, key: String) {
        if amount.is_zero() {
            return;
        }
        let posting = Posting {
            key: TransferKey::new(key),
            debit: AccountId::Operator,
            credit: AccountId::Revenue,
            amount,
            kind: TransferKind::Uncollected,
            reference,
        };
        if let Err(failure) = self.core.committer.commit(Post(posting)).await {
            warn!(failure = chain(&failure), %amount, "what nobody pays for could not be booked");
        }
    }
}
