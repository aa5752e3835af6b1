//! Clearing away what has lapsed.

use crate::commands::Command;
use crate::{Engine, EngineError};
use tracing::{info, warn};

/// How many rows of a kind one sweep takes.
const SWEEP_LIMIT: usize = 500;

impl Engine {
    /// Gives up jobs that never got an invoice, frees holds and reservations whose lease ran out, forgets old
    /// idempotency keys and used proofs. Several
    /// servers may do it at once: each row is decided once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer; what is left is swept the next time.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let now = self.now();
        let store = &self.ports.store;
        for job in store.jobs_never_invoiced(now - self.settings.abandon_after, SWEEP_LIMIT).await? {
            self.swept(Command::JobAbandon { job }).await?;
        }
        for hold in store.holds_overdue(now, SWEEP_LIMIT).await? {
            self.swept(Command::HoldExpire { hold: hold.id, account: hold.account }).await?;
        }
        for lapsed in store.reservations_overdue(now, SWEEP_LIMIT).await? {
            self.swept(Command::GrantLapse { reservation: lapsed.id, identity: lapsed.pubkey }).await?;
        }
        let keys = store.idempotency_purge(now).await?;
        let proofs = store.proofs_purge(now).await?;
        if keys + proofs > 0 {
            info!(keys, proofs, "old rows were forgotten");
        }
        Ok(())
    }

    /// A refusal means that somebody else was faster, or that it is no longer over.
    async fn swept(&self, command: Command) -> Result<(), EngineError> {
        use crate::committer::CommitError;
        let name = command.name();
        match self.committer.commit(command).await {
            Ok(_) => info!(command = name, "something lapsed was cleared away"),
            Err(CommitError::Refused(refusal)) => {
                warn!(command = name, %refusal, "nothing to clear away after all");
            }
            Err(CommitError::Busy) => return Err(EngineError::Busy),
            // One row that cannot be written must not keep the others from being swept.
            Err(failure) => warn!(command = name, %failure, "something lapsed cannot be cleared away"),
        }
        Ok(())
    }
}
