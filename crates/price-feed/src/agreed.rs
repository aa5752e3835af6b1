//! The price that several sources agree on.

use tithe_money::BtcPrice;

/// Sources agree if they are at most one part in this many from the median: five percent.
const AGREE_PARTS: u64 = 20;

/// What several sources say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed<T> {
    /// The median of the prices that agree. Of an even number the lower of the two in the middle: a lower price of bitcoin asks for
    /// more sats, so work is never sold below its cost in dollars.
    pub price: BtcPrice,
    /// The sources that agree.
    pub agreeing: Vec<T>,
    /// The sources that do not.
    pub outliers: Vec<(T, BtcPrice)>,
}

impl<T: Copy> Agreed<T> {
    /// The price that more than half of the sources agree on; `None` if there is none. One false price changes nothing but the
    /// choice between its neighbours; two sources that disagree are no price.
    pub fn of(mut prices: Vec<(T, BtcPrice)>) -> Option<Self> {
        prices.sort_by_key(|(_, price)| *price);
        let middle = median(&prices)?;
        let (agreeing, outliers): (Vec<_>, Vec<_>) =
            prices.iter().copied().partition(|(_, price)| agree(*price, middle));
        if agreeing.len() * 2 <= prices.len() {
            return None;
        }
        let price = median(&agreeing)?;
        Some(Self { price, agreeing: agreeing.into_iter().map(|(source, _)| source).collect(), outliers })
    }
}

/// The price in the middle of a sorted list.
fn median<T>(prices: &[(T, BtcPrice)]) -> Option<BtcPrice> {
    prices.get(prices.len().checked_sub(1)? / 2).map(|(_, price)| *price)
}

fn agree(one: BtcPrice, other: BtcPrice) -> bool {
    let (one, other) = (one.usd_micros().get(), other.usd_micros().get());
    one.abs_diff(other) <= other / AGREE_PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(dollars: &str) -> BtcPrice {
        BtcPrice::parse(dollars).unwrap()
    }

    fn agreed(dollars: &[&str]) -> Option<Agreed<usize>> {
        Agreed::of(dollars.iter().enumerate().map(|(n, text)| (n, price(text))).collect())
    }

    #[test]
    fn the_middle_one_counts_and_of_two_the_lower() {
        for (prices, expected) in [
            (&["100000"][..], "100000"),
            (&["100002", "100000"], "100000"),
            (&["100002", "100000", "100001"], "100001"),
            (&["100003", "100000", "100002", "100001"], "100001"),
            (&["100000000", "100000", "100001", "100002", "100"], "100001"),
        ] {
            assert_eq!(agreed(prices).unwrap().price, price(expected), "{prices:?}");
        }
        assert_eq!(agreed(&[]), None);
    }

    #[test]
    fn what_is_further_off_than_five_percent_is_dropped_and_named() {
        let all = agreed(&["100000", "100000", "105000"]).unwrap();
        assert_eq!((all.agreeing.len(), all.outliers), (3, vec![]));
        let high = agreed(&["100000", "100000", "105000.000001"]).unwrap();
        assert_eq!((high.price, high.outliers), (price("100000"), vec![(2, price("105000.000001"))]));
        let low = agreed(&["94999", "100000", "100000"]).unwrap();
        assert_eq!((low.price, low.outliers), (price("100000"), vec![(0, price("94999"))]));
    }

    #[test]
    fn sources_that_disagree_are_no_price() {
        assert_eq!(agreed(&["100000", "110000"]), None);
        assert_eq!(agreed(&["100000", "100000", "150000", "150000"]), None);
        assert_eq!(agreed(&["50000", "100000", "200000"]), None);
    }

    proptest! {
        #[test]
        fn one_source_alone_moves_the_price_nowhere(
            honest in proptest::collection::vec(99_000_000_000_u64..101_000_000_000, 2..7),
            false_one in 100_000_000_u64..100_000_000_000_000,
        ) {
            let prices = honest.iter().copied().chain([false_one]).enumerate();
            let prices = prices.map(|(n, micros)| (n, BtcPrice::try_from(micros).unwrap())).collect();
            let price = Agreed::of(prices).unwrap().price.usd_micros().get();
            prop_assert!(honest.iter().min().unwrap() <= &price && &price <= honest.iter().max().unwrap());
        }
    }
}
