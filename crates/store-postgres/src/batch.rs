//! The engine's port: batches, and the reads around them.

use crate::notify;
use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tithe_engine::books::{Batch, Committed};
use tithe_engine::records::{IdempotencyId, IdempotencyRecord};
use tithe_engine::store::{AuditRows, BatchStore, PeerEvent, StoreError};
use tithe_store_sql::rows::{AccountRow, IdempotencyRow, JobRow};
use tithe_store_sql::schema::{accounts, idempotency_keys, jobs};
use tracing::{Instrument, debug_span};

/// Writes this server's row, without a batch.
const TOUCH: &str = "\
    INSERT INTO committers (id, batch) VALUES ($1, 0) ON CONFLICT (id) DO UPDATE SET seen_at = now()";

#[async_trait]
impl BatchStore for PostgresStore {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let (store, batch) = (self.clone(), batch.clone());
        let commands = batch.commands().len();
        let span = debug_span!("transaction", transaction = "batch_commit", commands);
        // Runs in its own task, so that a caller that stops waiting does not interrupt it.
        let committing = async move { store.commit(&batch).await };
        let committed = tokio::spawn(committing.instrument(span)).await;
        committed.map_err(|panicked| StoreError::OutcomeUnknown(Box::new(panicked)))?
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.statement("idempotency", |connection| {
            let IdempotencyId { scope, key } = id.clone();
            Box::pin(async move {
                let found = idempotency_keys::table.find((scope, key));
                let row = found.select(IdempotencyRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(IdempotencyRecord::try_from).transpose()?)
            })
        })
        .await
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        Ok(self.stream_audit_rows())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.statement("ready", |connection| {
            Box::pin(async move {
                jobs::table.select(JobRow::as_select()).limit(1).load(connection).await?;
                accounts::table.select(AccountRow::as_select()).limit(1).load(connection).await?;
                Ok(())
            })
        })
        .await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        // A commit may wait for a standby without end. Whoever asks may give up; the check goes on, on one connection, and until it
        // has ended nobody begins another.
        let Ok(turn) = Arc::clone(&self.write_check).try_lock_owned() else {
            return Err(StoreError::Unavailable("an earlier write still waits for its commit".into()));
        };
        let store = self.clone();
        let checked = tokio::spawn(async move {
            let _turn = turn;
            let attempt = || async {
                let mut connection = store.pooled().await?;
                let touch = diesel::sql_query(TOUCH).bind::<Text, _>(store.server.as_str());
                Ok(touch.execute(&mut *connection).await.map(drop)?)
            };
            store.transactions.run("writable", attempt).await
        });
        checked.await.map_err(|panicked| StoreError::Unavailable(Box::new(panicked)))?
    }

    fn peer_events(&self) -> BoxStream<'static, PeerEvent> {
        self.listen()
    }

    async fn publish(&self, event: &PeerEvent) -> Result<(), StoreError> {
        let Some((channel, message)) = notify::encode(&self.server, event) else { return Ok(()) };
        self.statement("publish", |connection| {
            let message = message.clone();
            Box::pin(async move {
                // A lost notification does no harm, so the commit need not wait for the disk.
                let notify = (set_config("synchronous_commit", "off", true), pg_notify(channel, message));
                Ok(diesel::select(notify).execute(connection).await.map(drop)?)
            })
        })
        .await
    }
}

diesel::define_sql_function!(fn set_config(name: Text, value: Text, only_this_transaction: Bool) -> Text);
diesel::define_sql_function!(fn pg_notify(channel: Text, message: Text) -> Text);

impl PostgresStore {
    async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut writer = self.writer.lock().await;
        // Nobody waits for the result of a batch whose task was aborted.
        writer.forget_in_doubt();
        let mut tries = self.transactions.begin("batch_commit");
        loop {
            match writer.attempt(batch).await {
                Ok(committed) => return Ok(tries.done(committed)),
                Err(failure) => {
                    if let Err(last) = tries.again(failure).await {
                        let in_doubt = writer.forget_in_doubt();
                        return Err(if in_doubt { StoreError::OutcomeUnknown(last.into()) } else { last });
                    }
                }
            }
        }
    }
}
