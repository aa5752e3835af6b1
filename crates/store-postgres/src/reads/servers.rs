//! The servers that run on the database.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tithe_clock::Timestamp;
use tithe_engine::records::ServerRecord;
use tithe_engine::store::{ServerStore, StoreError};
use tithe_store_sql::rows::{ServerRow, readable};
use tithe_store_sql::schema::servers;
use uuid::Uuid;

/// A lost record does no harm, so its commit need not wait for the disk, or for a standby.
const AT_ONCE: &str = "SET LOCAL synchronous_commit = off";

#[async_trait]
impl ServerStore for PostgresStore {
    async fn server_write(&self, server: &ServerRecord) -> Result<(), StoreError> {
        let row = ServerRow::from(server);
        self.transaction("server_write", |connection| {
            let row = row.clone();
            Box::pin(async move {
                connection.batch_execute(AT_ONCE).await?;
                let write = diesel::insert_into(servers::table).values(&row);
                write.on_conflict(servers::id).do_update().set(&row).execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    async fn server_delete(&self, id: Uuid) -> Result<(), StoreError> {
        self.transaction("server_delete", |connection| {
            Box::pin(async move {
                connection.batch_execute(AT_ONCE).await?;
                diesel::delete(servers::table.find(id.to_string())).execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    async fn servers(&self) -> Result<Vec<ServerRecord>, StoreError> {
        self.statement("servers", |connection| {
            Box::pin(async move {
                let rows: Vec<ServerRow> = servers::table
                    .order((servers::started_at, servers::id))
                    .select(ServerRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn servers_purge(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.statement("servers_purge", |connection| {
            Box::pin(async move {
                let old = servers::table.filter(servers::seen_at.lt(before.unix_micros()));
                Ok(diesel::delete(old).execute(connection).await?)
            })
        })
        .await
    }
}
