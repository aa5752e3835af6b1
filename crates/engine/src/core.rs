//! What all services share.

use crate::books::Command;
use crate::committer::{CommitError, Committer};
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::inference::Target;
use crate::ports::Ports;
use crate::settings::Settings;
use crate::store::PeerEvent;
use crate::telemetry;
use metrics::counter;
use tithe_clock::Timestamp;
use tracing::{debug, info, warn};
use uuid::Uuid;

/// What all services share: the ports, the settings, and the committer.
pub(crate) struct Core {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) committer: Committer,
}

impl Core {
    /// The most rows of a kind that one sweep ends.
    pub(crate) const SWEEP_LIMIT: usize = 500;

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Where the work on a model is done, in order.
    pub(crate) fn targets(&self, model: &str) -> Vec<Target> {
        self.ports.routes.targets(model, &self.ports.inference)
    }

    /// A new id (UUID version 7): the time, then 74 random bits. Ids sort by age and cannot be guessed.
    pub(crate) fn new_id(&self) -> Uuid {
        let millis = u64::try_from(self.now().unix_micros() / 1_000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.ports.entropy.bytes()).into_uuid()
    }

    /// Says to the other servers that there is work which this one has handed back.
    pub(crate) async fn publish_handed_back(&self) {
        if let Err(failure) = self.ports.store.publish(&PeerEvent::HandedBack).await {
            warn!(
                error = chain(&failure),
                "other servers do not know of the work that was handed back until they look"
            );
        }
    }

    /// Commits a command that ends one expired row. A refusal means that another server ended it first, or that its lease was
    /// renewed meanwhile. A row that cannot be written must not keep the others from being swept.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub(crate) async fn sweep<C: Command>(&self, command: C) -> Result<(), EngineError> {
        match self.committer.commit(command).await {
            Ok(_) => {
                counter!(telemetry::SWEPT, "command" => C::NAME).increment(1);
                info!(command = C::NAME, "expired item swept");
            }
            Err(CommitError::Refused(refusal)) => debug!(command = C::NAME, %refusal, "nothing to sweep"),
            Err(CommitError::Busy) => return Err(EngineError::Busy),
            Err(failure) => {
                warn!(command = C::NAME, error = chain(&failure), "expired item could not be swept");
            }
        }
        Ok(())
    }
}
