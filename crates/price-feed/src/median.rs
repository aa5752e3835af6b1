//! The median of several prices.

use tithe_money::BtcPrice;

/// A spread above one part in this many is logged.
const SPREAD_PARTS: u64 = 20;

/// A summary of several prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Median {
    /// The price in the middle. Of an even number the lower of the two: a lower price of bitcoin asks for more sats,
    /// so work is never sold below its cost in dollars.
    pub price: BtcPrice,
    pub lowest: BtcPrice,
    pub highest: BtcPrice,
}

impl Median {
    /// `None` if there are no prices.
    pub fn of(mut prices: Vec<BtcPrice>) -> Option<Self> {
        prices.sort_unstable();
        let middle = prices.len().checked_sub(1)? / 2;
        Some(Self { price: *prices.get(middle)?, lowest: *prices.first()?, highest: *prices.last()? })
    }

    /// Returns true if the prices differ by more than five percent of the median.
    pub fn is_spread(&self) -> bool {
        let micros = |price: BtcPrice| price.usd_micros().get();
        let spread = micros(self.highest).saturating_sub(micros(self.lowest));
        spread > micros(self.price) / SPREAD_PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn median(dollars: &[&str]) -> Median {
        Median::of(dollars.iter().map(|text| BtcPrice::parse(text).unwrap()).collect()).unwrap()
    }

    #[test]
    fn the_middle_one_counts_and_of_two_the_lower() {
        for (prices, expected) in [
            (vec!["100000"], "100000"),
            (vec!["100002", "100000"], "100000"),
            (vec!["100002", "100000", "100001"], "100001"),
            (vec!["100003", "100000", "100002", "100001"], "100001"),
            // A single false price moves the result at most to a neighbouring price.
            (vec!["100000000", "100000", "100001", "100002", "100"], "100001"),
        ] {
            assert_eq!(median(&prices).price, BtcPrice::parse(expected).unwrap());
        }
        assert_eq!(Median::of(vec![]), None);
    }

    #[test]
    fn more_than_five_percent_is_a_spread() {
        assert!(!median(&["100000", "100000", "105000"]).is_spread());
        assert!(median(&["100000", "100000", "105000.000001"]).is_spread());
        assert!(median(&["100000", "100000", "94999"]).is_spread());
    }

    proptest! {
        #[test]
        fn at_least_half_are_not_below_and_at_least_half_are_not_above(
            micros in proptest::collection::vec(100_000_000_u64..100_000_000_000_000, 1..9),
        ) {
            let prices: Vec<_> = micros.iter().map(|micros| BtcPrice::try_from(*micros).unwrap()).collect();
            let median = Median::of(prices.clone()).unwrap().price;
            prop_assert!(prices.contains(&median));
            prop_assert!(prices.iter().filter(|price| **price >= median).count() * 2 >= prices.len());
            prop_assert!(prices.iter().filter(|price| **price <= median).count() * 2 >= prices.len());
        }
    }
}
