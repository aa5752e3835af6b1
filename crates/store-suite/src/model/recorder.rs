//! Finds out in which order several servers' batches were committed.
//!
//! A [`Recorder`] stands between a server's committer and its store. To each batch it adds one more command, the stamp: a
//! msat for the pool, under a key of its own. Every batch thus changes the pool's row, which it locks after all the rows
//! that exist and that it decides on, and keeps until it commits. So of any two batches one has all its rows only after the
//! other has committed, and the transfers of their stamps are written, and numbered, in that order. The stores stream
//! transfers in the order of these numbers. What does not exist cannot be locked: of that, see [`super::race`].
//!
//! Nothing is serialised here: batches meet in the database as they would without the recorder, but for the pool, which all
//! but a few kinds of commands of the free tier want anyway.

use crate::command::{self, Command, Outcome};
use crate::layered::StoreLayer;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tithe_clock::Timestamp;
use tithe_engine::books::{Batch, Committed, Posting};
use tithe_engine::store::{AuditRow, Store, StoreError};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Msats;
use uuid::Uuid;

/// A batch that was committed, with its stamp as the last command.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    stamp: u64,
    pub(super) commands: Vec<Command>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) now: Timestamp,
    /// When it was asked for and answered, by one count for all servers.
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// What several recorders have seen.
#[derive(Default)]
pub(super) struct Log {
    entries: Mutex<Vec<Entry>>,
    stamps: AtomicU64,
    ticks: AtomicU64,
    failures: AtomicU64,
}

impl Log {
    /// All batches, in the order in which they were committed. That order must also be one that was possible: no batch
    /// comes before one that was answered before it was asked for.
    pub(super) async fn in_order(&self, store: &dyn Store) -> Vec<Entry> {
        assert_eq!(self.failures.load(Ordering::SeqCst), 0, "every batch can be written");
        let mut entries: HashMap<u64, Entry> =
            self.entries.lock().unwrap().iter().map(|entry| (entry.stamp, entry.clone())).collect();
        let mut rows = store.audit_rows().await.unwrap();
        let (mut ordered, mut last_began) = (Vec::new(), 0);
        while let Some(row) = rows.next().await {
            let AuditRow::Transfer(transfer) = row.unwrap() else { continue };
            let Some(stamp) = transfer.key.as_str().strip_prefix("stamp:") else { continue };
            let entry = entries.remove(&stamp.parse().unwrap()).expect("what is written was told");
            assert!(
                entry.ended > last_began,
                "a batch was overtaken by one that was asked for after it had ended"
            );
            last_began = last_began.max(entry.began);
            ordered.push(entry);
        }
        assert!(entries.is_empty(), "what was told is written: {entries:?}");
        ordered
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }
}

/// One server's store, with what its batches were.
pub(super) struct Recorder {
    pub(super) store: Arc<dyn Store>,
    pub(super) log: Arc<Log>,
}

impl StoreLayer for Recorder {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }

    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let stamp = self.log.stamps.fetch_add(1, Ordering::SeqCst);
        let mut commands = command::commands(batch);
        commands.push(Command::Post(Posting {
            key: TransferKey::new(format!("stamp:{stamp}")),
            debit: AccountId::Operator,
            credit: AccountId::Pool,
            amount: Msats::new(1).unwrap(),
            kind: TransferKind::Adjustment,
            reference: Uuid::nil(),
        }));
        let now = batch.now();
        let stamped = command::batch_under(batch.rules().clone(), commands.clone(), now);
        let began = self.log.tick();
        let committed = self.store.batch_commit(&stamped).await;
        let ended = self.log.tick();
        let Ok(mut committed) = committed else {
            self.log.failures.fetch_add(1, Ordering::SeqCst);
            return committed;
        };
        let outcomes = command::outcomes(committed.outcomes.clone());
        self.log.entries.lock().unwrap().push(Entry { stamp, commands, outcomes, now, began, ended });
        committed.outcomes.pop();
        Ok(committed)
    }
}
