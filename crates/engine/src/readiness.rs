//! Readiness: whether everything that selling needs works.

use crate::core::Core;
use crate::error_chain::chain;
use crate::inference::BackendHealth;
use crate::telemetry;
use metrics::gauge;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tracing::{info, warn};

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the checks found; `None` where no answer came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// The database answers, and its tables are as expected.
    pub database: Option<bool>,
    /// The database takes writes.
    pub writes: Option<bool>,
    /// The wallet answers.
    pub wallet: Option<bool>,
    /// The AI backend can work.
    pub backend: Option<bool>,
    /// A current BTC price is known.
    pub price: Option<bool>,
}

impl Readiness {
    /// The checks by name, and whether each has passed.
    fn parts(self) -> [(&'static str, bool); 5] {
        [
            ("database", self.database),
            ("writes", self.writes),
            ("wallet", self.wallet),
            ("backend", self.backend),
            ("price", self.price),
        ]
        .map(|(name, found)| (name, found.unwrap_or(false)))
    }

    /// Checks everything at once.
    async fn check(core: &Core, backend: &BackendHealth) -> (Self, Causes) {
        let patience = core.settings.wallet_timeout.min(PATIENCE);
        let store = &core.ports.store;
        let (database, writes, wallet, price) = tokio::join!(
            tokio::time::timeout(patience, store.ready()),
            tokio::time::timeout(patience, store.writable()),
            tokio::time::timeout(patience, core.ports.wallet.balance()),
            tokio::time::timeout(patience, core.ports.prices.btc_price()),
        );
        let mut causes = Causes::new();
        let readiness = Self {
            database: passed("database", database, &mut causes),
            writes: passed("writes", writes, &mut causes),
            wallet: passed("wallet", wallet, &mut causes),
            backend: Some(backend.can_sell_any()),
            price: passed("price", price, &mut causes),
        };
        (readiness, causes)
    }
}

/// Why checks have failed, by the name of the part.
type Causes = BTreeMap<&'static str, String>;

/// Whether a check has passed; `None` if no answer came in time.
fn passed<T, E: std::error::Error + 'static>(
    part: &'static str,
    answer: Result<Result<T, E>, Elapsed>,
    causes: &mut Causes,
) -> Option<bool> {
    match answer {
        Ok(Ok(_)) => Some(true),
        Ok(Err(failure)) => {
            causes.insert(part, chain(&failure));
            Some(false)
        }
        Err(elapsed) => {
            causes.insert(part, elapsed.to_string());
            None
        }
    }
}

/// What was last found out. Asking often does not check often, and whoever asks while a check runs shares its result.
pub(crate) struct LastReadiness {
    core: Arc<Core>,
    backend: Arc<BackendHealth>,
    found: Mutex<Option<(Instant, Readiness)>>,
}

impl LastReadiness {
    pub(crate) fn new(core: Arc<Core>, backend: Arc<BackendHealth>) -> Self {
        Self { core, backend, found: Mutex::default() }
    }

    pub(crate) async fn get(&self) -> Readiness {
        let mut found = self.found.lock().await;
        if let Some((at, readiness)) = *found
            && at.elapsed() < self.core.settings.readiness_interval
        {
            return readiness;
        }
        let (now, causes) = Readiness::check(&self.core, &self.backend).await;
        let before = found.map(|(_, readiness)| readiness);
        *found = Some((Instant::now(), now));
        for (n, (name, passed)) in now.parts().into_iter().enumerate() {
            gauge!(telemetry::READY, "check" => name).set(if passed { 1.0 } else { 0.0 });
            let passed_before = before.and_then(|before| before.parts().get(n).map(|(_, passed)| *passed));
            match (passed_before, passed) {
                (Some(false), true) => info!(part = name, "ready again"),
                (None | Some(true), false) => {
                    let error = causes.get(name).map_or("it was logged before", String::as_str);
                    warn!(part = name, error, "not ready");
                }
                _ => {}
            }
        }
        now
    }
}
