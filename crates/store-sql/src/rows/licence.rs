//! Licences that were revoked.

use super::Reader;
use crate::schema::revoked_licences;
use diesel::prelude::*;
use tithe_engine::store::StoreError;
use tithe_licences::Revocation;

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = revoked_licences)]
#[diesel(primary_key(licence_id))]
pub struct RevocationRow {
    pub licence_id: String,
    pub reason: String,
    pub revoked_at: i64,
}

impl From<&Revocation> for RevocationRow {
    fn from(revocation: &Revocation) -> Self {
        Self {
            licence_id: revocation.licence.to_string(),
            reason: revocation.reason.clone(),
            revoked_at: revocation.revoked_at.unix_micros(),
        }
    }
}

impl TryFrom<RevocationRow> for Revocation {
    type Error = StoreError;

    fn try_from(row: RevocationRow) -> Result<Self, StoreError> {
        let read = Reader::new("licence revocation", &row.licence_id);
        Ok(Self {
            licence: read.column("licence_id", row.licence_id.parse())?,
            revoked_at: read.time("revoked_at", row.revoked_at)?,
            reason: row.reason,
        })
    }
}
