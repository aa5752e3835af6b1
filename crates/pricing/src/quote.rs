//! Quotes and cost splits.

use crate::{CacheWrites, Model, ModelRates, Price, Priced, Purpose, Terms, Usage};
use tithe_money::MoneyError;

/// The tokens that a chat template may add around each message, with a safety margin.
const TOKENS_PER_MESSAGE: u64 = 16;

/// The part of the output limit that an answer is expected to use by default, in percent.
const EXPECTED_OUTPUT_PCT: u64 = 40;

/// The reason why a request cannot be quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The prompt and one token of output do not fit the model's context window.
    #[error("too long for {model}: expected at most {limit} tokens, got about {input_tokens}")]
    TooLong {
        /// The tokens counted, including the safety margin.
        input_tokens: u64,
        /// The maximum input that leaves room for one token of output.
        limit: u64,
        /// The model.
        model: String,
    },
    /// The requested output limit is zero or above the model's limit.
    #[error("out of range: expected 1 to {limit} output tokens of {model}, got {asked}")]
    OutputLimit {
        /// The requested limit.
        asked: u64,
        /// The model's limit.
        limit: u64,
        /// The model.
        model: String,
    },
    /// The model is not for this.
    #[error("wrong model: expected {}, got {model}, which is {}", wanted.model(), is.model())]
    Purpose {
        /// The model.
        model: String,
        /// What it is for.
        is: Purpose,
        /// What was wanted of it.
        wanted: Purpose,
    },
    /// The price is too large to express.
    #[error("price out of range")]
    Money(#[from] MoneyError),
}

/// The token counts that a quote is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuotedTokens {
    /// The input, as counted.
    pub input: u64,
    /// The maximum input, including the tokenizer's safety margin and the chat template's overhead.
    pub max_input: u64,
    /// The expected output.
    pub output: u64,
    /// The maximum output, which is the limit sent to the backend.
    pub max_output: u64,
}

/// The price of a piece of work, with its rates frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quote {
    /// The model's name.
    pub model: String,
    /// The model's prices at the time of the terms.
    pub rates: ModelRates,
    /// The margin, fixed cost and BTC price.
    pub terms: Terms,
    /// The token counts.
    pub tokens: QuotedTokens,
    /// The minimum price: the input as counted and one token of output.
    pub min: Price,
    /// The expected price.
    pub expected: Price,
    /// The maximum price. The work is never charged above it.
    pub max: Price,
}

/// The tokens of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputTokens {
    /// The tokens as counted.
    pub counted: u64,
    /// The most that the backend may count and bill. The quote's maximum is based on it.
    pub max: u64,
    /// The cache writes that the request asks for. The quote's maximum covers them, and those that the model's backend does unasked.
    pub cache_writes: CacheWrites,
}

impl InputTokens {
    /// A count that the backend cannot exceed, of a prompt that asks for no cache writes.
    #[must_use]
    pub const fn exactly(tokens: u64) -> Self {
        Self::at_most(tokens, tokens)
    }

    /// A count, and the most that the backend may count, of a prompt that asks for no cache writes.
    #[must_use]
    pub const fn at_most(counted: u64, max: u64) -> Self {
        Self { counted, max, cache_writes: CacheWrites::None }
    }

    /// The same tokens in a request that asks for these cache writes.
    #[must_use]
    pub const fn with_cache_writes(self, cache_writes: CacheWrites) -> Self {
        Self { cache_writes, ..self }
    }
}

impl Model {
    /// Quotes one completion of `messages` (the texts of all messages, including the system message) with at most
    /// `max_output_tokens` of output. If the customer sets no limit, it is the model's default, or less if the context
    /// window is nearly full.
    ///
    /// # Errors
    /// [`QuoteError`] describes which limit is exceeded.
    pub fn quote(
        &self,
        messages: &[&str],
        max_output_tokens: Option<u64>,
        terms: &Terms,
    ) -> Result<Quote, QuoteError> {
        // Counting is the expensive part; a limit that is out of range is refused first.
        self.check_output_limit(max_output_tokens)?;
        self.quote_tokens(self.input_tokens(messages.iter().copied()), max_output_tokens, terms)
    }

    /// The tokens of a prompt of these texts, and the most that the backend may count: the tokenizer's safety margin, and what a chat
    /// template adds around each text.
    #[must_use]
    pub fn input_tokens<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> InputTokens {
        let (mut counted, mut overhead) = (0_u64, 0_u64);
        for text in texts {
            counted = counted.saturating_add(self.tokenizer.count(text));
            overhead = overhead.saturating_add(TOKENS_PER_MESSAGE);
        }
        let safety = counted.saturating_mul(u64::from(self.input_safety_pct)).div_ceil(100);
        InputTokens::at_most(counted, counted.saturating_add(safety).saturating_add(overhead))
    }

    /// Quotes one completion of a prompt that the caller has counted, such as one with images.
    ///
    /// # Errors
    /// [`QuoteError`] describes which limit is exceeded.
    pub fn quote_tokens(
        &self,
        input: InputTokens,
        max_output_tokens: Option<u64>,
        terms: &Terms,
    ) -> Result<Quote, QuoteError> {
        self.check_purpose(Purpose::Chat)?;
        self.check_output_limit(max_output_tokens)?;
        let max_input = input.max.max(input.counted);
        let room = self.context_tokens.saturating_sub(max_input);
        if room == 0 {
            let limit = self.context_tokens.saturating_sub(1);
            return Err(QuoteError::TooLong { input_tokens: max_input, limit, model: self.name.clone() });
        }
        let max_output = max_output_tokens.unwrap_or(self.default_max_output_tokens).min(room);
        let output = (max_output * EXPECTED_OUTPUT_PCT).div_ceil(100);
        let rates = self.rates_at(terms.as_of());
        let price = |input_tokens, output_tokens| {
            rates.price(&Usage { input_tokens, output_tokens, ..Usage::ZERO }, terms)
        };
        let unasked = if self.implicit_cache_writes { CacheWrites::Minutes } else { CacheWrites::None };
        let writes = input.cache_writes.max(unasked);
        Ok(Quote {
            model: self.name.clone(),
            rates: rates.clone(),
            terms: *terms,
            tokens: QuotedTokens { input: input.counted, max_input, output, max_output },
            min: price(input.counted, 1)?,
            expected: price(input.counted, output)?,
            max: rates.max_price(max_input, writes, max_output, terms)?,
        })
    }

    /// Quotes the embeddings of inputs that the caller has counted and found short enough, each for itself. They have no output.
    ///
    /// # Errors
    /// [`QuoteError::Purpose`] if the model is no embedding model, [`QuoteError::Money`].
    pub fn quote_embeddings(&self, input: InputTokens, terms: &Terms) -> Result<Quote, QuoteError> {
        self.check_purpose(Purpose::Embeddings)?;
        let max_input = input.max.max(input.counted);
        let rates = self.rates_at(terms.as_of());
        let counted = rates.price(&Usage { input_tokens: input.counted, ..Usage::ZERO }, terms)?;
        Ok(Quote {
            model: self.name.clone(),
            rates: rates.clone(),
            terms: *terms,
            tokens: QuotedTokens { input: input.counted, max_input, output: 0, max_output: 0 },
            min: counted,
            expected: counted,
            max: rates.max_price(max_input, CacheWrites::None, 0, terms)?,
        })
    }

    /// Checks that the model is for this.
    ///
    /// # Errors
    /// [`QuoteError::Purpose`].
    pub fn check_purpose(&self, wanted: Purpose) -> Result<(), QuoteError> {
        if self.purpose == wanted {
            Ok(())
        } else {
            Err(QuoteError::Purpose { model: self.name.clone(), is: self.purpose, wanted })
        }
    }

    /// Checks a requested output limit.
    ///
    /// # Errors
    /// [`QuoteError::OutputLimit`] if it is zero or above the model's limit.
    pub fn check_output_limit(&self, max_output_tokens: Option<u64>) -> Result<(), QuoteError> {
        match max_output_tokens.filter(|asked| !(1..=self.max_output_tokens).contains(asked)) {
            None => Ok(()),
            Some(asked) => {
                let limit = self.max_output_tokens;
                Err(QuoteError::OutputLimit { asked, limit, model: self.name.clone() })
            }
        }
    }
}

impl Priced for Quote {
    type Usage = Usage;

    fn max_price(&self) -> Price {
        self.max
    }

    fn price(&self, usage: &Usage) -> Result<Price, MoneyError> {
        self.rates.price(usage, &self.terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BtcQuote, PriceChange, RateTier, TokenRates, Tokenizer};
    use proptest::prelude::*;
    use std::time::Duration;
    use tithe_clock::Timestamp;
    use tithe_money::{BasisPoints, BtcPrice, Msats, UsdMicros};

    fn rates(input: u64, output: u64) -> TokenRates {
        let usd = |micros| UsdMicros::new(micros).unwrap();
        TokenRates { cached_input: usd(input / 10), ..TokenRates::uniform(usd(input), usd(output)) }
    }

    fn model(input: u64, output: u64) -> Model {
        Model {
            name: "m".to_owned(),
            vendor: "v".to_owned(),
            purpose: Purpose::Chat,
            context_tokens: 10_000,
            max_output_tokens: 4_000,
            default_max_output_tokens: 1_000,
            rates: rates(input, output).into(),
            price_changes: Vec::new(),
            implicit_cache_writes: false,
            shows_all_output: true,
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
            Usage { input_tokens, cached_input_tokens, output_tokens, ..Usage::ZERO }
        }
    }

    #[test]
    fn a_price_by_hand() {
        // 1000 × $3/M + 500 × $15/M = $0.0105; + 40 % = $0.0147; at $100 000 that is 14.7 sats.
        let usage = Usage { input_tokens: 1_000, output_tokens: 500, ..Usage::ZERO };
        let price = model(3_000_000, 15_000_000).rates.price(&usage, &plain_terms()).unwrap();
        assert_eq!(price.msats, Msats::new(14_700).unwrap());
        assert_eq!(price.usd, UsdMicros::parse("0.0147").unwrap());
    }

    #[test]
    fn cached_input_is_cheaper_and_never_more_than_the_input() {
        let rates = model(3_000_000, 15_000_000).rates;
        let price = |cached| {
            let usage =
                Usage { input_tokens: 1_000, cached_input_tokens: cached, output_tokens: 0, ..Usage::ZERO };
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
    fn counted_tokens_are_quoted_like_texts() {
        let model = model(3_000_000, 15_000_000);
        let text = model.quote(&["hello"], Some(100), &plain_terms()).unwrap();
        let input = InputTokens::at_most(text.tokens.input, text.tokens.max_input);
        assert_eq!(model.quote_tokens(input, Some(100), &plain_terms()).unwrap(), text);
        let full = model.quote_tokens(InputTokens::exactly(10_000), None, &plain_terms());
        assert!(matches!(full, Err(QuoteError::TooLong { limit: 9_999, .. })));
        let limit = model.quote_tokens(InputTokens::exactly(1), Some(4_001), &plain_terms());
        assert!(matches!(limit, Err(QuoteError::OutputLimit { asked: 4_001, .. })));
    }

    #[test]
    fn embeddings_cost_their_input_and_only_of_models_that_are_for_them() {
        let chat = model(2_000_000, 8_000_000);
        let embeds = Model { purpose: Purpose::Embeddings, max_output_tokens: 0, ..model(2_000_000, 0) };
        // 1000 × $2/M = $0.002; + 40 % = $0.0028; at $100 000 that is 2.8 sats.
        let quote = embeds.quote_embeddings(InputTokens::at_most(1_000, 1_250), &plain_terms()).unwrap();
        let (min, max) = (quote.min.msats.get(), quote.max.msats.get());
        assert_eq!((min, quote.expected.msats.get(), max), (2_800, 2_800, 3_500));
        // Several inputs may have more than one may have.
        assert!(embeds.quote_embeddings(InputTokens::exactly(50_000), &plain_terms()).is_ok());
        let (is, wanted) = (Purpose::Chat, Purpose::Embeddings);
        let refused = chat.quote_embeddings(InputTokens::exactly(1), &plain_terms()).unwrap_err();
        assert_eq!(refused, QuoteError::Purpose { model: "m".to_owned(), is, wanted });
        let refused = embeds.quote(&["hello"], None, &plain_terms()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "wrong model: expected a chat model, got m, which is an embedding model"
        );
    }

    #[test]
    fn the_maximum_covers_cache_writes_only_where_they_can_occur() {
        let usd = |micros| UsdMicros::new(micros).unwrap();
        let mut model = model(1_000_000, 0);
        model.rates.base.cache_write = usd(1_250_000);
        model.rates.base.cache_write_1h = usd(2_000_000);
        let max = |model: &Model, writes| {
            let input = InputTokens::exactly(1_000).with_cache_writes(writes);
            model.quote_tokens(input, None, &terms(0, 0, 100_000_000_000)).unwrap().max.msats.get()
        };
        let all = |model: &Model| {
            [CacheWrites::None, CacheWrites::Minutes, CacheWrites::Hour].map(|w| max(model, w))
        };
        assert_eq!(all(&model), [1_000, 1_250, 2_000]);
        model.implicit_cache_writes = true;
        assert_eq!(all(&model), [1_250, 1_250, 2_000]);
    }

    #[test]
    fn a_quote_has_the_prices_of_its_time_and_the_tier_of_its_size() {
        let mut model = model(1_000_000, 0);
        model.rates.tiers = vec![RateTier {
            above_input_tokens: 500,
            rates: TokenRates::uniform(UsdMicros::new(2_000_000).unwrap(), UsdMicros::ZERO),
        }];
        let from = Timestamp::UNIX_EPOCH + Duration::from_mins(1);
        model.price_changes = vec![PriceChange { from, rates: rates(3_000_000, 0).into() }];
        let max = |seconds, tokens| {
            let mut terms = terms(0, 0, 100_000_000_000);
            terms.btc.as_of = Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
            model.quote_tokens(InputTokens::exactly(tokens), None, &terms).unwrap().max.msats.get()
        };
        assert_eq!((max(59, 500), max(59, 501), max(60, 501)), (500, 1_002, 1_503));
    }

    #[test]
    fn absurd_usage_is_charged_the_maximum() {
        let quote = model(3_000_000, 15_000_000).quote(&["hello"], None, &plain_terms()).unwrap();
        let paid = quote.full_amount().unwrap().to_msats();
        let absurd = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::ZERO };
        assert!(quote.price(&absurd).is_err());
        let split = quote.split(&absurd, paid, Msats::ZERO).unwrap();
        assert_eq!(
            (split.price, split.charged, split.uncollected),
            (quote.max, quote.max.msats, Msats::ZERO)
        );
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
                ..Usage::ZERO
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
            let s = quote.split(&usage, paid, reserved).unwrap();
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
            #[cfg(feature = "serde")]
            {
                let json = serde_json::to_string(&quote).unwrap();
                prop_assert_eq!(serde_json::from_str::<Quote>(&json).unwrap(), quote);
            }
        }
    }
}
