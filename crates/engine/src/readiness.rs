//! Whether what the engine needs is there.

use crate::Engine;

/// What was asked and answered; `None` where no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// The database answers and its tables are right.
    pub database: Option<bool>,
    /// The wallet answers.
    pub wallet: Option<bool>,
    /// A current BTC price is known.
    pub price: Option<bool>,
}

impl Engine {
    /// Asks everything that the engine needs, each for at most the wallet's patience.
    pub async fn readiness(&self) -> Readiness {
        let patience = self.settings.wallet_timeout.min(std::time::Duration::from_secs(4));
        let (database, wallet, price) = tokio::join!(
            tokio::time::timeout(patience, self.ports.store.ready()),
            tokio::time::timeout(patience, self.ports.wallet.balance()),
            tokio::time::timeout(patience, self.ports.prices.btc_price()),
        );
        Readiness {
            database: database.ok().map(|answer| answer.is_ok()),
            wallet: wallet.ok().map(|answer| answer.is_ok()),
            price: price.ok().map(|answer| answer.is_ok()),
        }
    }
}
