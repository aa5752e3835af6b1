//! What a metered request costs at most.

use crate::inference::Cover;
use tithe_money::{MoneyError, Msats};
use tithe_pricing::{CallPrice, Priced, Quote, Tokenizer, Usage};

/// The prices of a metered request.
#[derive(Debug, Clone)]
pub(crate) struct MeteredQuotes {
    /// The price of its evaluation; `None` if it is not evaluated.
    pub(crate) evaluation: Option<Quote>,
    /// The price of its work.
    pub(crate) work: Quote,
    /// What the call of a mounted route costs, if that is the work.
    pub(crate) call: Option<CallPrice>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tithe_clock::Timestamp;
    use tithe_money::{BasisPoints, BtcPrice, UsdMicros};
    use tithe_pricing::{BtcQuote, CacheWrites, Catalogue, InputTokens, Terms};

    prop_compose! {
        fn quotes()(
            model in prop_oneof![Just("sim-large"), Just("sim-small")], input in 0_u64..90_000, writes in 0_u8..3,
            output in 1_u64..=4_096, btc in 1_000_000_000..=1_000_000_000_000_u64, margin in 0_u32..=30_000, fixed in 0_u64..=100_000,
        ) -> MeteredQuotes {
            let terms = Terms {
                margin: BasisPoints::new(margin).unwrap(),
                fixed_cost: UsdMicros::new(fixed).unwrap(),
                btc: BtcQuote { price: BtcPrice::try_from(btc).unwrap(), as_of: Timestamp::UNIX_EPOCH },
            };
            let writes = [CacheWrites::None, CacheWrites::Minutes, CacheWrites::Hour][usize::from(writes)];
            let catalogue = Catalogue::built_in();
            let model = catalogue.model(model).unwrap();
            let tokens = InputTokens::at_most(input, input + input / 5).with_cache_writes(writes);
            let most = output.min(model.max_output_tokens);
            MeteredQuotes { evaluation: None, call: None, work: model.quote_tokens(tokens, Some(most), &terms).unwrap() }
        }
    }

    proptest! {
        /// Whatever is generated within the cover costs at most what is held; and the whole answer holds what it was quoted at.
        #[test]
        fn what_is_covered_is_held(quotes in quotes(), part in 0_u64..=100, input_part in 0_u64..=100) {
            let quote = &quotes.work;
            let most = quote.tokens.max_output;
            prop_assert_eq!(quotes.limit_of(most).unwrap(), quotes.limit().unwrap());
            let output = most * part / 100;
            let limit = quotes.limit_of(output).unwrap();
            prop_assert!(limit <= quotes.limit().unwrap());
            let covered = quotes.output_within(limit);
            prop_assert!(covered >= output, "{} < {}", covered, output);
            let input_tokens = quote.tokens.max_input * input_part / 100;
            for output_tokens in [0, covered / 2, covered] {
                let usage = Usage { input_tokens, output_tokens, ..Usage::ZERO };
                prop_assert!(quote.price(&usage).unwrap().msats <= limit);
            }
        }

        /// The most output within a limit is really the most.
        #[test]
        fn a_limit_covers_as_much_as_it_can(quotes in quotes(), part in 0_u64..=120) {
            let limit = Msats::new(quotes.limit().unwrap().get() * part / 100).unwrap();
            let covered = quotes.output_within(limit);
            prop_assert!(covered == 0 || quotes.limit_of(covered).unwrap() <= limit);
            prop_assert!(covered == quotes.work.tokens.max_output || quotes.limit_of(covered + 1).unwrap() > limit);
        }
    }
}
