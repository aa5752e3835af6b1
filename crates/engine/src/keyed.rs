//! Keyed requests that have no command of their own: begin, do, finish.

use crate::commands::{Answer, Command};
use crate::idempotency::{IdempotencyRequest, StoredAnswer};
use crate::{Answered, Engine, EngineError};
use tracing::warn;

impl Engine {
    /// Does `work` once for its key and keeps the answer; a repetition gets the same. When `work` fails, the key is free
    /// to be tried again. Without a key it just does the work.
    ///
    /// # Errors
    /// What `work` fails with; [`EngineError::IdempotencyKeyReused`], [`EngineError::RequestInProgress`].
    pub async fn once(
        &self,
        idempotency: Option<IdempotencyRequest>,
        work: impl Future<Output = Result<StoredAnswer, EngineError>>,
    ) -> Result<Answered, EngineError> {
        let Some(request) = idempotency else {
            return Ok(Answered { answer: work.await?, replayed: false });
        };
        let id = request.id.clone();
        if let Answer::Replayed(answer) = self.committer.commit(Command::IdempotencyBegin(request)).await? {
            return Ok(Answered { answer, replayed: true });
        }
        match work.await {
            Ok(answer) => {
                let finish = Command::IdempotencyFinish { id, answer: answer.clone() };
                if let Err(failure) = self.committer.commit(finish).await {
                    // It was done: the caller must learn that. A repetition will not find the answer.
                    warn!(%failure, "an answer could not be kept for its key");
                }
                Ok(Answered { answer, replayed: false })
            }
            Err(failure) => {
                if let Err(later) = self.committer.commit(Command::IdempotencyRelease { id }).await {
                    warn!(%later, "a key will be free when its lease runs out");
                }
                Err(failure)
            }
        }
    }
}
