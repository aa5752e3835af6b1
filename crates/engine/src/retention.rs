//! Deleting what is no longer needed, so that strangers leave nothing for ever.
//!
//! What money has moved for stays. The rest goes after [`Settings::retention`](crate::Settings::retention), but never before a late
//! payment could still need it; the text of an expired job goes at once, other texts after
//! [`Settings::text_retention`](crate::Settings::text_retention), and a credit that took nothing after a day. Rows are deleted in small steps, with pauses, so that
//! nobody waits for a deletion.

use crate::core::Core;
use crate::error::EngineError;
use crate::store::StoreError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tithe_trust::NostrPubkey;
use tokio::time::Instant;
use tracing::info;

/// The most rows that one step deletes, and the most steps for one kind of row in one sweep.
const STEP_ROWS: usize = 200;
const STEPS_MAX: usize = 50;

/// How many identities one sweep looks at.
const IDENTITIES_LOOKED_AT: usize = 500;

/// How long a credit that took nothing is kept after it has ended. Within this time its request may be sent again under its idempotency
/// key, whose record names the credit (see [`Settings::idempotency_keep`](crate::Settings::idempotency_keep)); and the server that has
/// done its work may still commit it late, after an outage of the database. Work that is committed later than this finds no credit: it
/// is refused, and takes nothing.
const CREDITS_KEPT: Duration = Duration::from_hours(24);

/// Deletes what is no longer needed.
pub(crate) struct Retention {
    core: Arc<Core>,
    /// The last identity that was looked at. The next sweep goes on after it.
    identities_after: Mutex<Option<NostrPubkey>>,
}

impl Retention {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, identities_after: Mutex::default() }
    }

    /// Deletes what is due. Several servers may do it at once; what one sweep leaves, the next one deletes.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub(crate) async fn sweep(&self) -> Result<(), EngineError> {
        let (store, now) = (&self.core.ports.store, self.core.now());
        let before = now - self.core.settings.retention_in_force();
        steps("expired idempotency keys", || store.idempotency_purge(now, STEP_ROWS)).await?;
        steps("expired authentication nonces", || store.auth_nonces_purge(now, STEP_ROWS)).await?;
        steps("origins of installs", || store.install_origins_purge(now, STEP_ROWS)).await?;
        let ended_before = now - CREDITS_KEPT;
        steps("credits that took nothing", || store.credits_purge(ended_before, STEP_ROWS)).await?;
        steps("kept requests", || store.kept_requests_purge(now, STEP_ROWS)).await?;
        steps("texts of expired jobs", || store.expired_texts_purge(STEP_ROWS)).await?;
        if let Some(kept) = self.core.settings.text_retention_in_force() {
            steps("old texts", || store.old_texts_purge(now - kept, now, STEP_ROWS)).await?;
        }
        steps("unpaid jobs", || store.unpaid_jobs_purge(before, STEP_ROWS)).await?;
        steps("unpaid sessions", || store.unpaid_sessions_purge(before, STEP_ROWS)).await?;
        steps("unpaid bootstraps", || store.unpaid_bootstraps_purge(before, STEP_ROWS)).await?;
        steps("steps of jobs", || store.job_changes_purge(before, STEP_ROWS)).await?;
        let after = *self.identities_after.lock().unwrap_or_else(PoisonError::into_inner);
        let purged = store.identities_purge(after, before, IDENTITIES_LOOKED_AT).await?;
        *self.identities_after.lock().unwrap_or_else(PoisonError::into_inner) = purged.next;
        log("identities without history", purged.deleted);
        Ok(())
    }
}

/// Repeats a step until nothing is left to delete. Others have the database for as long as the last step took.
async fn steps<F: Future<Output = Result<usize, StoreError>>>(
    what: &'static str,
    step: impl Fn() -> F,
) -> Result<(), EngineError> {
    let mut deleted = 0;
    for _ in 0..STEPS_MAX {
        let began = Instant::now();
        let rows = step().await?;
        deleted += rows;
        if rows < STEP_ROWS {
            break;
        }
        tokio::time::sleep(began.elapsed()).await;
    }
    log(what, deleted);
    Ok(())
}

fn log(what: &'static str, deleted: usize) {
    if deleted > 0 {
        info!(kind = what, deleted, "rows deleted that are no longer needed");
    }
}
