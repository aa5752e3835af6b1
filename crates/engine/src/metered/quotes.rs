//! What a metered request costs at most.

use tithe_money::{MoneyError, Msats};
use tithe_pricing::Quote;

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
}
