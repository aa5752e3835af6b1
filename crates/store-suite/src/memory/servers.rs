//! The servers that run on the database.

use super::MemoryStore;
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_engine::records::ServerRecord;
use tithe_engine::store::{ServerStore, StoreError};
use uuid::Uuid;

#[async_trait]
impl ServerStore for MemoryStore {
    async fn server_write(&self, server: &ServerRecord) -> Result<(), StoreError> {
        self.tables().servers.insert(server.id, server.clone());
        Ok(())
    }

    async fn server_delete(&self, id: Uuid) -> Result<(), StoreError> {
        self.tables().servers.remove(&id);
        Ok(())
    }

    async fn servers(&self) -> Result<Vec<ServerRecord>, StoreError> {
        let mut servers: Vec<ServerRecord> = self.tables().servers.values().cloned().collect();
        servers.sort_by_key(|server| (server.started_at, server.id));
        Ok(servers)
    }

    async fn servers_purge(&self, before: Timestamp) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let count = tables.servers.len();
        tables.servers.retain(|_, server| server.seen_at >= before);
        Ok(count - tables.servers.len())
    }
}
