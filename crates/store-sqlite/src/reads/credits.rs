//! Reads of installs, their credits, and revoked licences.

use crate::SqliteStore;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use tithe_clock::Timestamp;
use tithe_engine::store::{LicenceStore, StoreError};
use tithe_ledger::credits::{Credit, CreditId, CreditRepository, Install, InstallId};
use tithe_licences::{LicenceId, Revocation};
use tithe_store_sql::rows::{CreditRow, InstallRow, RevocationRow, limit_column, readable};
use tithe_store_sql::schema::{credits, install_credits, revoked_licences};

#[async_trait]
impl CreditRepository for SqliteStore {
    type Error = StoreError;

    async fn install(&self, id: InstallId) -> Result<Option<Install>, StoreError> {
        self.read(move |connection| {
            let found = install_credits::table.find(id.to_string());
            let row = found.select(InstallRow::as_select()).first(connection).optional()?;
            Ok(row.map(Install::try_from).transpose()?)
        })
        .await
    }

    async fn installs(&self, after: Option<InstallId>, limit: usize) -> Result<Vec<Install>, StoreError> {
        self.read(move |connection| {
            let after = after.map_or_else(String::new, |id| id.to_string());
            let page = install_credits::table
                .filter(install_credits::install_id.gt(after))
                .order(install_credits::install_id)
                .limit(limit_column(limit));
            let rows: Vec<InstallRow> = page.select(InstallRow::as_select()).load(connection)?;
            Ok(rows.into_iter().map(Install::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn credit(&self, id: CreditId) -> Result<Option<Credit>, StoreError> {
        self.read(move |connection| {
            let found = credits::table.find(id.to_string());
            let row = found.select(CreditRow::as_select()).first(connection).optional()?;
            Ok(row.map(Credit::try_from).transpose()?)
        })
        .await
    }

    async fn credits_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Credit>, StoreError> {
        self.read(move |connection| {
            let rows = credits::table
                .filter(sql::<Bool>("state = 'held'"))
                .filter(credits::lease_until.le(now.unix_micros()))
                .order(credits::lease_until)
                .limit(limit_column(limit))
                .select(CreditRow::as_select())
                .load(connection)?;
            Ok(readable(rows))
        })
        .await
    }
}

#[async_trait]
impl LicenceStore for SqliteStore {
    async fn licence_revocation(&self, licence: LicenceId) -> Result<Option<Revocation>, StoreError> {
        self.read(move |connection| {
            let found = revoked_licences::table.find(licence.to_string());
            let row = found.select(RevocationRow::as_select()).first(connection).optional()?;
            Ok(row.map(Revocation::try_from).transpose()?)
        })
        .await
    }

    async fn licences_revoked(&self) -> Result<Vec<Revocation>, StoreError> {
        self.read(move |connection| {
            let rows: Vec<RevocationRow> = revoked_licences::table
                .order((revoked_licences::revoked_at.desc(), revoked_licences::licence_id))
                .select(RevocationRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(Revocation::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }
}
