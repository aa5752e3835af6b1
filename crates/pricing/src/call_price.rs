//! The price of a call of an operator's own service, in sats.

use crate::{ModelRates, Price, Quote, QuotedTokens, Terms, TokenRates};
use tithe_money::{MoneyError, Msats, Sats, UsdMicros};

/// The price of a call of a service that is not priced by a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum CallPrice {
    /// The same for each call.
    Fixed(Sats),
    /// By the tokens that the service reports.
    PerToken {
        /// The price of one token.
        msats: Msats,
        /// The most tokens that are charged.
        tokens_max: u64,
    },
}

impl CallPrice {
    /// The most that a call can cost.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if that is more than can exist.
    pub fn most(self) -> Result<Msats, MoneyError> {
        match self {
            Self::Fixed(price) => Ok(price.to_msats()),
            Self::PerToken { msats, tokens_max } => times(msats, tokens_max),
        }
    }

    /// What a call costs that has used so many tokens. A service that does not say how many gets the most.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the most is more than can exist.
    pub fn of(self, tokens: Option<u64>) -> Result<Msats, MoneyError> {
        match (self, tokens) {
            (Self::PerToken { msats, tokens_max }, Some(tokens)) => times(msats, tokens.min(tokens_max)),
            _ => self.most(),
        }
    }

    /// A quote of this price. `name` takes the place of the model. What the call has cost is not computed from the quote's rates, which
    /// are zero, but by [`CallPrice::of`].
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    pub fn quote(self, name: &str, terms: &Terms) -> Result<Quote, MoneyError> {
        let msats = self.most()?;
        let most = Price { msats, usd: terms.btc.price.value_rounding_up(msats)? };
        Ok(Quote {
            model: name.to_owned(),
            rates: ModelRates::from(TokenRates::uniform(UsdMicros::ZERO, UsdMicros::ZERO)),
            terms: *terms,
            tokens: QuotedTokens { input: 0, max_input: 0, output: 0, max_output: 0 },
            min: most,
            expected: most,
            max: most,
        })
    }
}

fn times(msats: Msats, tokens: u64) -> Result<Msats, MoneyError> {
    Msats::new(msats.get().checked_mul(tokens).ok_or(MoneyError::TooLarge)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BtcQuote, Priced};
    use tithe_clock::Timestamp;
    use tithe_money::{BasisPoints, BtcPrice};

    fn terms() -> Terms {
        Terms {
            margin: BasisPoints::from_percent(40).unwrap(),
            fixed_cost: UsdMicros::new(1_000_000).unwrap(),
            btc: BtcQuote { price: BtcPrice::parse("100000").unwrap(), as_of: Timestamp::UNIX_EPOCH },
        }
    }

    fn per_token(msats: u64, tokens_max: u64) -> CallPrice {
        CallPrice::PerToken { msats: Msats::new(msats).unwrap(), tokens_max }
    }

    #[test]
    fn a_quote_is_exactly_the_price_whatever_the_margin_and_the_fixed_cost() {
        let quote = CallPrice::Fixed(Sats::new(7).unwrap()).quote("/paid/weather", &terms()).unwrap();
        // 7 sats at $100 000 are $0.007.
        assert_eq!((quote.max.msats.get(), quote.max.usd.get()), (7_000, 7_000));
        assert_eq!(quote.full_amount().unwrap().get(), 7);
        let quote = per_token(3, 1_001).quote("/paid/model", &terms()).unwrap();
        assert_eq!((quote.max.msats.get(), quote.full_amount().unwrap().get()), (3_003, 4));
    }

    #[test]
    fn tokens_are_charged_up_to_the_most_and_unknown_ones_are_the_most() {
        let price = per_token(3, 1_000);
        let costs = [Some(0), Some(10), Some(1_000), Some(1_001), Some(u64::MAX), None]
            .map(|tokens| price.of(tokens).unwrap().get());
        assert_eq!(costs, [0, 30, 3_000, 3_000, 3_000, 3_000]);
        assert_eq!(CallPrice::Fixed(Sats::new(7).unwrap()).of(Some(1)).unwrap().get(), 7_000);
        assert_eq!(per_token(u64::from(u32::MAX), u64::MAX).most(), Err(MoneyError::TooLarge));
    }
}
