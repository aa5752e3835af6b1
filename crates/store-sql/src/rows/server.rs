//! The servers that run on the database.

use super::Reader;
use crate::schema::servers;
use diesel::prelude::*;
use tithe_engine::records::ServerRecord;
use tithe_engine::store::StoreError;

#[derive(Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = servers)]
pub struct ServerRow {
    pub id: String,
    pub name: String,
    pub version: String,
    pub settings: String,
    pub started_at: i64,
    pub seen_at: i64,
}

impl From<&ServerRecord> for ServerRow {
    fn from(server: &ServerRecord) -> Self {
        Self {
            id: server.id.to_string(),
            name: server.name.clone(),
            version: server.version.clone(),
            settings: server.settings.clone(),
            started_at: server.started_at.unix_micros(),
            seen_at: server.seen_at.unix_micros(),
        }
    }
}

impl TryFrom<ServerRow> for ServerRecord {
    type Error = StoreError;

    fn try_from(row: ServerRow) -> Result<Self, StoreError> {
        let read = Reader::new("server", &row.id);
        Ok(Self {
            id: read.column("id", row.id.parse())?,
            name: row.name,
            version: row.version,
            settings: row.settings,
            started_at: read.time("started_at", row.started_at)?,
            seen_at: read.time("seen_at", row.seen_at)?,
        })
    }
}
