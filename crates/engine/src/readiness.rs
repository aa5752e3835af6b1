//! Readiness: whether everything that the engine needs answers.

use crate::core::Core;
use std::time::Duration;

/// What the checks found; `None` where no answer came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// The database answers, and its tables are as expected.
    pub database: Option<bool>,
    /// The wallet answers.
    pub wallet: Option<bool>,
    /// A current BTC price is known.
    pub price: Option<bool>,
}

impl Readiness {
    /// Checks everything that the engine needs, all at once.
    pub(crate) async fn check(core: &Core) -> Self {
        let patience = core.settings.wallet_timeout.min(Duration::from_secs(4));
        let (database, wallet, price) = tokio::join!(
            tokio::time::timeout(patience, core.ports.store.ready()),
            tokio::time::timeout(patience, core.ports.wallet.balance()),
            tokio::time::timeout(patience, core.ports.prices.btc_price()),
        );
        Self {
            database: database.ok().map(|answer| answer.is_ok()),
            wallet: wallet.ok().map(|answer| answer.is_ok()),
            price: price.ok().map(|answer| answer.is_ok()),
        }
    }
}
