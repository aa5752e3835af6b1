//! The servers that run on the database.

use crate::SqliteStore;
use async_trait::async_trait;
use diesel::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::records::ServerRecord;
use tithe_engine::store::{ServerStore, StoreError};
use tithe_store_sql::rows::{ServerRow, readable};
use tithe_store_sql::schema::servers;
use uuid::Uuid;

#[async_trait]
impl ServerStore for SqliteStore {
    async fn server_write(&self, server: &ServerRecord) -> Result<(), StoreError> {
        let row = ServerRow::from(server);
        self.write(move |connection| {
            let write = diesel::insert_into(servers::table).values(&row);
            write.on_conflict(servers::id).do_update().set(&row).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn server_delete(&self, id: Uuid) -> Result<(), StoreError> {
        self.write(move |connection| {
            diesel::delete(servers::table.find(id.to_string())).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn servers(&self) -> Result<Vec<ServerRecord>, StoreError> {
        self.read(|connection| {
            let rows: Vec<ServerRow> = servers::table
                .order((servers::started_at, servers::id))
                .select(ServerRow::as_select())
                .load(connection)?;
            Ok(readable(rows))
        })
        .await
    }

    async fn servers_purge(&self, before: Timestamp) -> Result<usize, StoreError> {
        let old = move || servers::table.filter(servers::seen_at.lt(before.unix_micros()));
        // Looking takes no lock: an idle server does not disturb the writer.
        let some = self
            .read(move |connection| {
                Ok(old().select(servers::id).first::<String>(connection).optional()?.is_some())
            })
            .await?;
        if !some {
            return Ok(0);
        }
        self.write(move |connection| Ok(diesel::delete(old()).execute(connection)?)).await
    }
}
