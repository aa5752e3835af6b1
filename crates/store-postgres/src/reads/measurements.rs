//! Reads of what is measured.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use tithe_clock::Timestamp;
use tithe_engine::store::{MeasurementStore, Measurements, StoreError, TransferSum};
use tithe_store_sql::measurements::{IN_PROGRESS, InProgressRow, MOVED, MovedRow, measurements, moved};
use tithe_store_sql::rows::count_column;

#[async_trait]
impl MeasurementStore for PostgresStore {
    async fn measurements(&self, now: Timestamp) -> Result<Measurements, StoreError> {
        self.statement("measurements", |connection| {
            Box::pin(async move {
                let query = diesel::sql_query(IN_PROGRESS.as_str()).bind::<BigInt, _>(now.unix_micros());
                let rows: Vec<InProgressRow> = query.load(connection).await?;
                Ok(measurements(rows)?)
            })
        })
        .await
    }

    async fn transfer_sums(&self, after: u64, until: u64) -> Result<Vec<TransferSum>, StoreError> {
        self.statement("transfer_sums", |connection| {
            Box::pin(async move {
                let query = diesel::sql_query(MOVED.as_str())
                    .bind::<BigInt, _>(count_column(after))
                    .bind::<BigInt, _>(count_column(until));
                let rows: Vec<MovedRow> = query.load(connection).await?;
                Ok(moved(rows)?)
            })
        })
        .await
    }
}
