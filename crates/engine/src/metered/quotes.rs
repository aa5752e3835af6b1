//! What a metered request costs at most.

use crate::inference::Cover;
use tithe_money::{MoneyError, Msats};
use tithe_pricing::{Priced, Quote, Tokenizer, Usage};

/// The prices of a metered request.
#[derive(Debug, Clone)]
pub(crate) struct MeteredQuotes {
    /// The price of its evaluation; `None` if it is not evaluated.
    pub(crate) evaluation: Option<Quote>,
    /// The price of its work.
    pub(crate) work: Quote,
}

impl MeteredQuotes {
    /// The most that the evaluation can cost.
    pub(crate) fn fee(&self) -> Msats {
        self.evaluation.as_ref().map_or(Msats::ZERO, |quote| quote.max.msats)
    }

    /// What is set aside: the most that the request can cost. Something is set aside for what costs nothing, too.
    ///
    /// # Errors
    /// [`MoneyError`] if that is more than can exist.
    pub(crate) fn limit(&self) -> Result<Msats, MoneyError> {
        Ok(self.fee().checked_add(self.work.max.msats)?.max(Msats::new(1)?))
    }

    /// What is set aside for at most so much output, in tokens.
    ///
    /// # Errors
    /// [`MoneyError`] if that is more than can exist.
    pub(crate) fn limit_of(&self, output: u64) -> Result<Msats, MoneyError> {
        let quote = &self.work;
        let plain = |output_tokens| {
            let usage = Usage { input_tokens: quote.tokens.max_input, output_tokens, ..Usage::ZERO };
            quote.price_or_max(&usage).msats
        };
        // What the quote covers beside fresh input and output, such as writes to a cache.
        let surcharge = quote.max.msats.saturating_sub(plain(quote.tokens.max_output));
        let most = plain(output).checked_add(surcharge)?.min(quote.max.msats);
        Ok(self.fee().checked_add(most)?.max(Msats::new(1)?))
    }

    /// The most output that `limit` covers, in tokens. Zero also if it does not even cover the prompt.
    pub(crate) fn output_within(&self, limit: Msats) -> u64 {
        let covers = |output| self.limit_of(output).is_ok_and(|needed| needed <= limit);
        let (mut covered, mut too_much) = (0, self.work.tokens.max_output);
        if covers(too_much) {
            return too_much;
        }
        while too_much - covered > 1 {
            let middle = u64::midpoint(covered, too_much);
            if covers(middle) { covered = middle } else { too_much = middle }
        }
        covered
    }

    /// What `limit` covers of an answer, which can grow by `left`; `None` if it does not grow.
    pub(crate) fn cover(&self, limit: Msats, left: Option<Msats>, tokenizer: Tokenizer) -> Cover {
        let covered = self.output_within(limit);
        let Some(left) = left else { return Cover::whole(covered) };
        let reach = self.output_within(limit.checked_add(left).unwrap_or(Msats::MAX));
        // A count of bytes says too little to end an answer that the backend ends as well.
        let is_strict = reach < self.work.tokens.max_output && tokenizer != Tokenizer::Bytes;
        Cover::new(covered, reach, is_strict)
    }
}
