//! What is owed, and what is held.

use serde::Serialize;
use tithe_clock::Timestamp;
use tithe_engine::reconciliation::Solvency;
use utoipa::ToSchema;

/// What is owed to customers, in sats, rounded down.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwedBody {
    /// The balances of sessions.
    sessions: u64,
    /// What was paid for jobs and is not earned yet.
    jobs: u64,
    /// What was paid for nodes and is not earned yet.
    bootstraps: u64,
    /// Refunds that are due.
    refunds: u64,
    /// The generosity pool.
    pool: u64,
}

/// What is owed, and what is held.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SolvencyBody {
    /// What is owed to customers, by kind.
    owed_sats: OwedBody,
    /// What the Lightning wallet holds, in sats; null if it did not answer.
    held_sats: Option<u64>,
    /// When this was found out.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
}

impl From<Solvency> for SolvencyBody {
    fn from(found: Solvency) -> Self {
        Self {
            owed_sats: OwedBody {
                sessions: found.sessions.get(),
                jobs: found.jobs.get(),
                bootstraps: found.bootstraps.get(),
                refunds: found.refunds.get(),
                pool: found.pool.get(),
            },
            held_sats: found.held.map(tithe_money::Sats::get),
            checked_at: found.checked_at,
        }
    }
}
