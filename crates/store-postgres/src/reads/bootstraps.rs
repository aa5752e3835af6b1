//! Reads of bootstraps.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use tithe_bootstrap::{Bootstrap, BootstrapId, BootstrapRepository};
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;
use tithe_store_sql::retention::OPEN_BOOTSTRAPS;
use tithe_store_sql::rows::{BootstrapRow, Reader, limit_column};
use tithe_store_sql::schema::bootstrap_jobs;

#[async_trait]
impl BootstrapRepository for PostgresStore {
    type Error = StoreError;

    async fn bootstrap(&self, id: BootstrapId) -> Result<Option<Bootstrap>, StoreError> {
        self.statement("bootstrap", |connection| {
            Box::pin(async move {
                let found = bootstrap_jobs::table.find(id.to_string());
                let row = found.select(BootstrapRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Bootstrap::try_from).transpose()?)
            })
        })
        .await
    }

    async fn bootstraps_due(&self, now: Timestamp, limit: usize) -> Result<Vec<BootstrapId>, StoreError> {
        self.statement("bootstraps_due", |connection| {
            Box::pin(async move {
                let due = bootstrap_jobs::table
                    .filter(sql::<Bool>(OPEN_BOOTSTRAPS))
                    .filter(bootstrap_jobs::claimable_at.le(now.unix_micros()))
                    .order(bootstrap_jobs::claimable_at)
                    .limit(limit_column(limit));
                let ids: Vec<String> = due.select(bootstrap_jobs::id).load(connection).await?;
                Ok(ids.iter().map(|id| bootstrap_id(id)).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn bootstraps_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BootstrapId>, StoreError> {
        self.statement("bootstraps_never_invoiced", |connection| {
            Box::pin(async move {
                let old = bootstrap_jobs::table
                    .filter(sql::<Bool>("state = 'awaiting_payment' AND invoice IS NULL"))
                    .filter(bootstrap_jobs::created_at.lt(before.unix_micros()))
                    .limit(limit_column(limit));
                let ids: Vec<String> = old.select(bootstrap_jobs::id).load(connection).await?;
                Ok(ids.iter().map(|id| bootstrap_id(id)).collect::<Result<_, _>>()?)
            })
        })
        .await
    }
}

fn bootstrap_id(id: &str) -> Result<BootstrapId, StoreError> {
    Reader::new("bootstrap", id).column("id", id.parse()).map(BootstrapId)
}
