//! The records of the servers that run, and what is said of their differences.

use super::shared::{Difference, SharedSettings};
use crate::core::Core;
use crate::error::EngineError;
use crate::records::ServerRecord;
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tokio::sync::Mutex;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

/// How often a server writes its record and looks at those of the others.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// How long a server counts as running after it has written its record.
const RUNS_FOR: Duration = Duration::from_mins(1);

/// How long the record of a server is kept that has died.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// The reason why a server must not serve beside the others on its database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The database failed.
    #[error("cannot compare this server with the others on its database")]
    Store(#[from] StoreError),
    /// Another server runs that this one cannot work with.
    #[error(
        "cannot serve beside {server}, which runs on the same database: {}; expected the same on both: correct it, or stop that \
         server first (one that was killed counts as running for a minute)",
        list(.differences)
    )]
    Incompatible {
        /// The name of the other server.
        server: String,
        /// What keeps the servers from working together.
        differences: Vec<Difference>,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Another server on the database, and how it differs from this one.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its record.
    pub record: ServerRecord,
    /// How it differs.
    pub differences: Vec<Difference>,
    /// Whether it must not run beside this one.
    pub is_incompatible: bool,
}

/// The servers on the database.
pub struct Servers {
    core: Arc<Core>,
    joined: Mutex<Option<Joined>>,
}

/// This server, once it serves.
struct Joined {
    record: ServerRecord,
    shared: SharedSettings,
    known: BTreeMap<Uuid, Known>,
}

/// What is known of another server.
struct Known {
    name: String,
    seen_at: Timestamp,
    differences: Vec<Difference>,
}

impl Servers {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, joined: Mutex::default() }
    }

    /// The servers that run on a database, besides those in `except`, and how they differ. Writes nothing. A server of a version that
    /// says other things of itself differs in nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn peers(
        store: &dyn Store,
        shared: &SharedSettings,
        now: Timestamp,
    ) -> Result<Vec<Peer>, StoreError> {
        let running = store.servers().await?.into_iter().filter(|record| runs(record, now));
        Ok(running.map(|record| compare(record, shared)).collect())
    }

    /// Records that this server serves, and compares it with the others. `name` tells an operator which server this is.
    ///
    /// # Errors
    /// [`JoinError::Incompatible`] when another server runs that this one cannot work with, and either of them is for production.
    pub async fn join(&self, name: &str, version: &str, shared: SharedSettings) -> Result<(), JoinError> {
        let now = self.core.now();
        let settings = serde_json::to_string(&shared).map_err(|cause| StoreError::Failed(cause.into()))?;
        let record = ServerRecord {
            id: self.core.new_id(),
            name: name.to_owned(),
            version: version.to_owned(),
            settings,
            started_at: now,
            seen_at: now,
        };
        let mut joined = self.joined.lock().await;
        let store = &self.core.ports.store;
        // First the record, then the look: of two servers that start at once, at least one sees the other.
        store.server_write(&record).await?;
        let mut server = Joined { record, shared, known: BTreeMap::new() };
        let peers = self.look(&server).await?;
        if let Some(peer) = peers.iter().find(|peer| peer.is_incompatible) {
            store.server_delete(server.record.id).await?;
            let differences = peer.differences.iter().filter(|difference| difference.is_fatal()).cloned();
            let (server, differences) = (peer.record.name.clone(), differences.collect());
            return Err(JoinError::Incompatible { server, differences });
        }
        server.report(peers);
        *joined = Some(server);
        Ok(())
    }

    /// Records that this server still serves, and reports what has changed between it and the others.
    pub(crate) async fn keep(&self) -> Result<(), EngineError> {
        let mut joined = self.joined.lock().await;
        let Some(server) = joined.as_mut() else { return Ok(()) };
        server.record.seen_at = self.core.now();
        self.core.ports.store.server_write(&server.record).await?;
        let peers = self.look(server).await?;
        server.report(peers);
        let purged = self.core.ports.store.servers_purge(self.core.now() - KEPT_FOR).await?;
        if purged > 0 {
            info!(deleted = purged, "records of servers deleted that have not run for a day");
        }
        Ok(())
    }

    /// Records that this server serves no more. If that fails, it counts as running for a minute.
    pub(crate) async fn leave(&self) {
        let Some(server) = self.joined.lock().await.take() else { return };
        if let Err(cause) = self.core.ports.store.server_delete(server.record.id).await {
            debug!(error = %cause, "the record of this server could not be deleted");
        }
    }

    /// The other servers that run, and how they differ.
    async fn look(&self, server: &Joined) -> Result<Vec<Peer>, StoreError> {
        let now = self.core.now();
        let others = self.core.ports.store.servers().await?.into_iter();
        let others = others.filter(|record| record.id != server.record.id);
        // A server whose clock is behind runs, too, if it goes on writing.
        let running = others.filter(|record| {
            let before = server.known.get(&record.id);
            runs(record, now) || before.is_some_and(|known| known.seen_at != record.seen_at)
        });
        Ok(running.map(|record| compare(record, &server.shared)).collect())
    }
}

fn runs(record: &ServerRecord, now: Timestamp) -> bool {
    now.since(record.seen_at) < RUNS_FOR
}

fn compare(record: ServerRecord, here: &SharedSettings) -> Peer {
    let there = serde_json::from_str::<SharedSettings>(&record.settings);
    let there =
        there.inspect_err(|cause| debug!(server = record.name, error = %cause, "unreadable settings"));
    let (differences, production) =
        there.map_or((Vec::new(), false), |there| (here.differences(&there), here.is_production_of(&there)));
    let is_incompatible = production && differences.iter().any(Difference::is_fatal);
    Peer { record, differences, is_incompatible }
}

impl Joined {
    /// Says once what is new: each difference, and its end.
    fn report(&mut self, peers: Vec<Peer>) {
        let mut before = std::mem::take(&mut self.known);
        for Peer { record, differences, .. } in peers {
            let known = before.remove(&record.id).map(|known| known.differences).unwrap_or_default();
            for difference in differences.iter().filter(|difference| !known.contains(difference)) {
                let (server, setting) = (&record.name, &difference.setting);
                if difference.is_fatal() {
                    error!(server, setting, %difference, "this server cannot work beside another one on its database");
                } else {
                    warn!(server, setting, %difference, "another server on this database has another setting");
                }
            }
            let is_over =
                |setting: &String| !differences.iter().any(|difference| difference.setting == *setting);
            for setting in known.into_iter().map(|known| known.setting).filter(is_over) {
                info!(server = record.name, setting, "the servers agree on a setting again");
            }
            let known = Known { name: record.name, seen_at: record.seen_at, differences };
            self.known.insert(record.id, known);
        }
        for gone in before.into_values().filter(|gone| !gone.differences.is_empty()) {
            info!(server = gone.name, "a server with other settings runs no more");
        }
    }
}
