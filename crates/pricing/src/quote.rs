//! Quotes and their settlement.

use crate::{BtcQuote, Model, ModelRates, Usage};
use serde::{Deserialize, Serialize};
use tithe_money::{BasisPoints, MoneyError, Msats, PicoUsd, Sats, UsdMicros};

/// What a chat template may add around each message, in tokens, with room to spare.
const TOKENS_PER_MESSAGE: u64 = 16;

/// The part of the allowed output that an answer is expected to use, in percent, when nothing else is known.
const EXPECTED_OUTPUT_PCT: u64 = 40;

/// Why something cannot be quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The prompt and the least output do not fit the model's window.
    #[error("the request has about {input_tokens} tokens; {model} takes at most {limit}")]
    TooLong {
        /// Tokens counted, with the safety margin.
        input_tokens: u64,
        /// What fits beside one token of output.
        limit: u64,
        /// Which model.
        model: String,
    },
    /// More output is asked for than the model gives, or none.
    #[error("maxOutputTokens is {asked}; {model} gives 1 to {limit}")]
    OutputLimit {
        /// What was asked for.
        asked: u64,
        /// The model's own limit.
        limit: u64,
        /// Which model.
        model: String,
    },
    /// The price is larger than any amount of money.
    #[error("the price cannot be expressed")]
    Money(#[from] MoneyError),
}

/// The operator's side of a price, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Added on top of cost.
    pub margin: BasisPoints,
    /// Added to each request's token cost, before the margin.
    pub fixed_cost: UsdMicros,
    /// The BTC price and its time.
    pub btc: BtcQuote,
}

/// The tokens that a quote was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotedTokens {
    /// Input as counted.
    pub input: u64,
    /// Input at most: with the tokenizer's safety margin and the chat template's overhead.
    pub max_input: u64,
    /// Output as expected.
    pub output: u64,
    /// Output at most: what the backend is told to stop at.
    pub max_output: u64,
}

/// A price in both currencies, margin included, each rounded up from the exact value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// In bitcoin.
    pub msats: Msats,
    /// In dollars.
    pub usd: UsdMicros,
}

/// What a piece of work will cost, with its rates frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Which model.
    pub model: String,
    /// What the model charges.
    pub rates: ModelRates,
    /// Margin, fixed cost and BTC price.
    pub terms: Terms,
    /// What was counted.
    pub tokens: QuotedTokens,
    /// The least: the input as counted and one token of output.
    pub min: Price,
    /// What is expected.
    pub expected: Price,
    /// The most. The work is never charged above this.
    pub max: Price,
}

/// How what was paid for a piece of work is split once the usage is known.
///
/// `paid = charged + refund + rounding`, and `charged + absorbed + uncollected` is the price of the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The true price of the usage at the quote's rates.
    pub price: Price,
    /// What the customer pays of it.
    pub charged: Msats,
    /// What the pool pays of it.
    pub absorbed: Msats,
    /// What nobody pays: usage beyond the quote's maximum. It is the operator's loss.
    pub uncollected: Msats,
    /// What the customer gets back.
    pub refund: Sats,
    /// Less than a sat that no refund can pay; it is booked, not lost.
    pub rounding: Msats,
}

impl Model {
    /// Quotes one completion of `messages` (the texts of all messages, the system's included) with at most
    /// `max_output_tokens` of output (the model's default when the customer does not say; less when the window is
    /// nearly full).
    ///
    /// # Errors
    /// [`QuoteError`] says what does not fit.
    pub fn quote(
        &self,
        messages: &[&str],
        max_output_tokens: Option<u64>,
        terms: &Terms,
    ) -> Result<Quote, QuoteError> {
        if let Some(asked) = max_output_tokens.filter(|asked| !(1..=self.max_output_tokens).contains(asked)) {
            let limit = self.max_output_tokens;
            return Err(QuoteError::OutputLimit { asked, limit, model: self.name.clone() });
        }
        let input = messages.iter().map(|text| self.tokenizer.count(text)).fold(0, u64::saturating_add);
        let overhead = u64::try_from(messages.len()).unwrap_or(u64::MAX).saturating_mul(TOKENS_PER_MESSAGE);
        let safety = input.saturating_mul(u64::from(self.input_safety_pct)).div_ceil(100);
        let max_input = input.saturating_add(safety).saturating_add(overhead);
        let room = self.context_tokens.saturating_sub(max_input);
        if room == 0 {
            let limit = self.context_tokens.saturating_sub(1);
            return Err(QuoteError::TooLong { input_tokens: max_input, limit, model: self.name.clone() });
        }
        let max_output = max_output_tokens.unwrap_or(self.default_max_output_tokens).min(room);
        let output = (max_output * EXPECTED_OUTPUT_PCT).div_ceil(100);
        let price = |input_tokens, output_tokens| {
            self.rates.price(&Usage { input_tokens, cached_input_tokens: 0, output_tokens }, terms)
        };
        Ok(Quote {
            model: self.name.clone(),
            rates: self.rates,
            terms: *terms,
            tokens: QuotedTokens { input, max_input, output, max_output },
            min: price(input, 1)?,
            expected: price(input, output)?,
            max: price(max_input, max_output)?,
        })
    }
}

impl ModelRates {
    /// What `usage` costs the operator, exactly.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when it cannot be expressed.
    pub fn cost(&self, usage: &Usage, fixed_cost: UsdMicros) -> Result<PicoUsd, MoneyError> {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens.saturating_sub(cached);
        PicoUsd::of_tokens(fresh, self.input)?
            .checked_add(PicoUsd::of_tokens(cached, self.cached_input)?)?
            .checked_add(PicoUsd::of_tokens(usage.output_tokens, self.output)?)?
            .checked_add(fixed_cost.into())
    }

    /// What `usage` is sold for: cost times (1 + margin), rounded up once.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when it cannot be expressed.
    pub fn price(&self, usage: &Usage, terms: &Terms) -> Result<Price, MoneyError> {
        let cost = self.cost(usage, terms.fixed_cost)?;
        Ok(Price {
            msats: cost.to_msats_with_margin_rounding_up(terms.margin, terms.btc.price)?,
            usd: cost.to_usd_micros_with_margin_rounding_up(terms.margin)?,
        })
    }
}

impl Quote {
    /// What to ask for before the work starts: the most that it can cost, in whole sats, at least one.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when it cannot be expressed.
    pub fn full_amount(&self) -> Result<Sats, MoneyError> {
        Ok(self.max.msats.to_sats_rounding_up()?.max(Sats::new(1)?))
    }

    /// Splits what was paid for the work, given its true usage. `reserved` is what the pool has set aside for it: it is
    /// used first.
    ///
    /// Nothing is charged above the quote's maximum, whatever the usage.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when the usage is absurd.
    pub fn settle(&self, usage: &Usage, paid: Msats, reserved: Msats) -> Result<Settlement, MoneyError> {
        let price = self.rates.price(usage, &self.terms)?;
        let due = price.msats.min(self.full_amount()?.to_msats());
        let absorbed = due.min(reserved);
        let charged = due.checked_sub(absorbed)?.min(paid);
        let uncollected = price.msats.checked_sub(absorbed)?.checked_sub(charged)?;
        let left = paid.checked_sub(charged)?;
        let refund = left.to_sats_rounding_down();
        let rounding = left.checked_sub(refund.to_msats())?;
        Ok(Settlement { price, charged, absorbed, uncollected, refund, rounding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use proptest::prelude::*;
    use tithe_clock::Timestamp;
    use tithe_money::BtcPrice;

    fn model(input: u64, output: u64) -> Model {
        Model {
            name: "m".to_owned(),
            vendor: "v".to_owned(),
            context_tokens: 10_000,
            max_output_tokens: 4_000,
            default_max_output_tokens: 1_000,
            rates: ModelRates {
                input: UsdMicros::new(input).unwrap(),
                cached_input: UsdMicros::new(input / 10).unwrap(),
                output: UsdMicros::new(output).unwrap(),
            },
            tokenizer: Tokenizer::Bytes,
            input_safety_pct: 20,
        }
    }

    fn terms(margin: u32, fixed: u64, btc: u64) -> Terms {
        Terms {
            margin: BasisPoints::new(margin).unwrap(),
            fixed_cost: UsdMicros::new(fixed).unwrap(),
            btc: BtcQuote { price: BtcPrice::try_from(btc).unwrap(), as_of: Timestamp::UNIX_EPOCH },
        }
    }

    fn plain_terms() -> Terms {
        terms(4_000, 0, 100_000_000_000)
    }

    prop_compose! {
        fn any_terms()(margin in 0_u32..=30_000, fixed in 0_u64..=10_000_000, btc in 1_000_000_000..=1_000_000_000_000_u64) -> Terms {
            terms(margin, fixed, btc)
        }
    }

    prop_compose! {
        fn any_usage()(input_tokens in 0_u64..=20_000, cached_input_tokens in 0_u64..=30_000, output_tokens in 0_u64..=10_000) -> Usage {
            Usage { input_tokens, cached_input_tokens, output_tokens }
        }
    }

    #[test]
    fn a_price_by_hand() {
        // 1000 × $3/M + 500 × $15/M = $0.0105; + 40 % = $0.0147; at $100 000 that is 14.7 sats.
        let usage = Usage { input_tokens: 1_000, cached_input_tokens: 0, output_tokens: 500 };
        let price = model(3_000_000, 15_000_000).rates.price(&usage, &plain_terms()).unwrap();
        assert_eq!(price.msats, Msats::new(14_700).unwrap());
        assert_eq!(price.usd, UsdMicros::parse("0.0147").unwrap());
    }

    #[test]
    fn cached_input_is_cheaper_and_never_more_than_the_input() {
        let rates = model(3_000_000, 15_000_000).rates;
        let price = |cached| {
            let usage = Usage { input_tokens: 1_000, cached_input_tokens: cached, output_tokens: 0 };
            rates.price(&usage, &plain_terms()).unwrap().msats.get()
        };
        assert_eq!((price(0), price(1_000), price(5_000)), (4_200, 420, 420));
    }

    #[test]
    fn limits_are_refused_by_name() {
        let model = model(1, 1);
        let quote = |text: &str, max| model.quote(&[text], max, &plain_terms());
        assert!(matches!(quote("a", Some(0)), Err(QuoteError::OutputLimit { asked: 0, limit: 4_000, .. })));
        assert!(matches!(quote("a", Some(u64::MAX)), Err(QuoteError::OutputLimit { .. })));
        assert!(matches!(quote(&"a".repeat(10_000), None), Err(QuoteError::TooLong { limit: 9_999, .. })));
    }

    #[test]
    fn output_shrinks_to_the_room_that_is_left() {
        let quote = model(1, 1).quote(&[&"a".repeat(8_000)], None, &plain_terms()).unwrap();
        assert_eq!(quote.tokens.max_input, 9_616);
        assert_eq!(quote.tokens.max_output, 384);
    }

    proptest! {
        #[test]
        fn never_below_cost(usage in any_usage(), terms in any_terms(), input in 0_u64..=100_000_000, output in 0_u64..=500_000_000) {
            let rates = model(input, output).rates;
            let price = rates.price(&usage, &terms).unwrap();
            let cost = rates.cost(&usage, terms.fixed_cost).unwrap();
            prop_assert!(price.msats >= cost.to_msats_rounding_up(terms.btc.price).unwrap());
            prop_assert!(price.usd >= cost.to_usd_micros_rounding_up().unwrap());
        }

        #[test]
        fn monotone_in_tokens(usage in any_usage(), more in any_usage(), terms in any_terms()) {
            let rates = model(3_000_000, 15_000_000).rates;
            let larger = Usage {
                input_tokens: usage.input_tokens + more.input_tokens,
                cached_input_tokens: usage.cached_input_tokens,
                output_tokens: usage.output_tokens + more.output_tokens,
            };
            // More fresh input or output never costs less; cached tokens stay what they were.
            let cached = usage.cached_input_tokens.min(usage.input_tokens);
            let (usage, larger) = (Usage { cached_input_tokens: cached, ..usage }, Usage { cached_input_tokens: cached, ..larger });
            prop_assert!(rates.price(&larger, &terms).unwrap().msats >= rates.price(&usage, &terms).unwrap().msats);
        }

        #[test]
        fn paid_is_charged_plus_refunded(usage in any_usage(), terms in any_terms(), over in 0_u64..100_000, pool_pct in 0_u64..=100) {
            let quote = model(3_000_000, 15_000_000).quote(&["hello"], None, &terms).unwrap();
            let full = quote.full_amount().unwrap().to_msats();
            let reserved = Msats::new(full.get() * pool_pct / 100).unwrap();
            let paid = full.checked_sub(reserved).unwrap().checked_add(Msats::new(over).unwrap()).unwrap();
            let s = quote.settle(&usage, paid, reserved).unwrap();
            prop_assert_eq!(paid.get(), s.charged.get() + s.refund.to_msats().get() + s.rounding.get());
            prop_assert!(s.rounding.get() < 1_000);
            prop_assert!(s.absorbed <= reserved);
            prop_assert_eq!(s.price.msats.get(), s.charged.get() + s.absorbed.get() + s.uncollected.get());
            prop_assert!(s.charged.get() + s.absorbed.get() <= full.get());
            // Within the quote nothing is uncollected.
            if s.price.msats <= full { prop_assert!(s.uncollected.is_zero()); }
        }

        #[test]
        fn a_quote_encloses_what_it_expects(text in "[a-z ]{0,400}", max in proptest::option::of(1_u64..=4_000), terms in any_terms()) {
            let quote = model(3_000_000, 15_000_000).quote(&["system", &text], max, &terms).unwrap();
            prop_assert!(quote.min.msats <= quote.expected.msats && quote.expected.msats <= quote.max.msats);
            prop_assert!(quote.full_amount().unwrap().to_msats() >= quote.max.msats);
            let json = serde_json::to_string(&quote).unwrap();
            prop_assert_eq!(serde_json::from_str::<Quote>(&json).unwrap(), quote);
        }
    }
}
