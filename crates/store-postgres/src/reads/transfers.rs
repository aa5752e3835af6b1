//! Reads of transfers, for receipts and statements.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use tithe_engine::store::{NumberedTransfer, StoreError, TimeRange, TransferStore, TransferSum};
use tithe_ledger::{Transfer, TransferKey};
use tithe_store_sql::measurements::{MOVED_IN, MovedRow, moved};
use tithe_store_sql::rows::{TransferRow, count_column, limit_column};
use tithe_store_sql::schema::transfers;

#[async_trait]
impl TransferStore for PostgresStore {
    async fn transfers_with_keys(&self, keys: &[TransferKey]) -> Result<Vec<Transfer>, StoreError> {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.statement("transfers_with_keys", |connection| {
            let keys = keys.clone();
            Box::pin(async move {
                let found = transfers::table.filter(transfers::key.eq_any(keys));
                let rows: Vec<TransferRow> = found.select(TransferRow::as_select()).load(connection).await?;
                Ok(rows.into_iter().map(Transfer::try_from).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn transfers_made_in(
        &self,
        range: TimeRange,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedTransfer>, StoreError> {
        self.statement("transfers_made_in", |connection| {
            Box::pin(async move {
                let rows: Vec<TransferRow> = transfers::table
                    .filter(transfers::seq.gt(count_column(after)))
                    .filter(transfers::created_at.ge(range.from.unix_micros()))
                    .filter(transfers::created_at.lt(range.until.unix_micros()))
                    .order(transfers::seq)
                    .limit(limit_column(limit))
                    .select(TransferRow::as_select())
                    .load(connection)
                    .await?;
                Ok(rows.into_iter().map(TransferRow::numbered).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn transfer_sums_of(&self, range: TimeRange) -> Result<Vec<TransferSum>, StoreError> {
        self.statement("transfer_sums_of", |connection| {
            Box::pin(async move {
                let query = diesel::sql_query(MOVED_IN.as_str())
                    .bind::<BigInt, _>(range.from.unix_micros())
                    .bind::<BigInt, _>(range.until.unix_micros());
                let rows: Vec<MovedRow> = query.load(connection).await?;
                Ok(moved(rows)?)
            })
        })
        .await
    }
}
