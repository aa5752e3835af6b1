//! Deletes customers' texts: all that are old, and those of one customer on request.
//!
//! What a text was charged, what it used, and when, stays: the ledger and the audit never need a text. What has not ended needs its
//! text, so a deletion on request goes on until nothing of it runs any more, on any server.

use crate::core::Core;
use crate::error::EngineError;
use crate::records::{TextDeletion, TextOwner, TextsFound};
use std::sync::Arc;
use tracing::info;

/// The most rows of a kind that one step changes.
const STEP_ROWS: usize = 200;

/// The most deletions that one sweep goes on with.
const OPEN_MAX: usize = 100;

/// What [`Texts::forget`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// What was deleted now; and how many still run, whose texts the servers delete when they end.
    pub now: TextsFound,
    /// The deletion, with what earlier requests for the same owner have deleted.
    pub deletion: TextDeletion,
    /// Whether the database keeps no copies that it has not overwritten yet.
    pub overwritten: bool,
}

/// Deletes customers' texts.
pub struct Texts {
    core: Arc<Core>,
}

impl Texts {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// What there is of an owner's texts. Changes nothing.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn found(&self, owner: TextOwner) -> Result<TextsFound, EngineError> {
        Ok(self.core.ports.store.texts_found(&owner, self.core.now()).await?)
    }

    /// Deletes an owner's texts, wherever they are stored, and records that. Repeating it deletes what was made since.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer; what was deleted by then stays deleted, and is not counted.
    pub async fn forget(&self, owner: TextOwner) -> Result<Forgotten, EngineError> {
        let store = &self.core.ports.store;
        let requested_at = self.core.now();
        // Recorded first: if this process dies, the servers go on.
        let open = TextDeletion { owner, requested_at, finished_at: None, deleted: TextsFound::default() };
        store.text_deletion_record(&open).await?;
        let now = self.delete(&open).await?;
        let overwritten = store.deleted_texts_overwrite().await?;
        let deletion = store.text_deletion(&owner).await?.unwrap_or(open);
        info!(%owner, jobs = now.jobs, session_requests = now.session_requests, responses = now.responses, running = now.running, "texts deleted on request");
        Ok(Forgotten { now, deletion, overwritten })
    }

    /// Deletes what has ended, and records it. Returns what was deleted, and how many still run.
    async fn delete(&self, deletion: &TextDeletion) -> Result<TextsFound, EngineError> {
        let (store, owner, until) = (&self.core.ports.store, &deletion.owner, deletion.requested_at);
        let mut deleted = TextsFound::default();
        loop {
            let step = store.texts_delete(owner, until, self.core.now(), STEP_ROWS).await?;
            deleted = deleted.and(step);
            if step.ended() == 0 {
                break;
            }
        }
        // A row that somebody has locked was left alone: it is found again.
        let left = store.texts_found(owner, until).await?;
        let over = left.ended() == 0 && left.running == 0;
        if over || deleted.ended() > 0 {
            let finished_at = over.then(|| self.core.now());
            store.text_deletion_record(&TextDeletion { finished_at, deleted, ..deletion.clone() }).await?;
        }
        Ok(TextsFound { running: left.running.saturating_add(left.ended()), ..deleted })
    }

    /// Goes on with deletions that are not finished.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub(crate) async fn sweep(&self) -> Result<(), EngineError> {
        let open = self.core.ports.store.text_deletions_unfinished(OPEN_MAX).await?;
        for deletion in &open {
            self.delete(deletion).await?;
        }
        Ok(())
    }
}
