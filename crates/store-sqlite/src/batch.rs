//! Batches: lock, load, decide, write, commit.

use crate::SqliteStore;
use crate::fault::Fault;
use crate::tables::{find, insert, update};
use async_trait::async_trait;
use diesel::prelude::*;
use tithe_engine::books::rows::IdempotencyKeys;
use tithe_engine::books::{Batch, Changes, Committed, Decided, LoadedRows, RowKeys};
use tithe_engine::for_each_row_kind;
use tithe_engine::records::{IdempotencyId, IdempotencyRecord};
use tithe_engine::store::{AuditRows, BatchStore, StoreError};
use tithe_store_sql::rows::{AccountRow, GrantRow, JobRow, NewOutboxRow, NewTransferRow};
use tithe_store_sql::schema::{accounts, free_tier_grants, jobs, outbox, transfers};

/// Writes the row that exists to be written.
const TOUCH: &str = "\
    INSERT INTO server_health (id, checked_at) VALUES (1, unixepoch() * 1000000) \
    ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at";

#[async_trait]
impl BatchStore for SqliteStore {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let batch = batch.clone();
        self.write_as("batch_commit", move |connection| {
            let loaded = load(connection, batch.keys())?;
            let Decided { outcomes, changes } = batch.decide(loaded);
            write(connection, &changes)?;
            Ok(Committed { outcomes, job_changes: changes.job_changes })
        })
        .await
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        let id = id.clone();
        self.read(move |connection| find::<IdempotencyKeys>(connection, &id)).await
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        Ok(self.stream_audit_rows())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(|connection| {
            jobs::table.select(JobRow::as_select()).limit(1).load(connection)?;
            accounts::table.select(AccountRow::as_select()).limit(1).load(connection)?;
            Ok(())
        })
        .await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.write(|connection| {
            diesel::sql_query(TOUCH).execute(connection)?;
            Ok(())
        })
        .await
    }
}

macro_rules! load_and_write {
    ($($field:ident: $kind:path,)*) => {
        /// Loads the rows of a batch. `BEGIN IMMEDIATE` has locked the whole database.
        fn load(connection: &mut SqliteConnection, keys: &RowKeys) -> Result<LoadedRows, Fault> {
            let mut loaded = LoadedRows::default();
            $(
                for key in &keys.$field {
                    loaded.$field.extend(find::<$kind>(connection, key)?);
                }
            )*
            for key in &keys.transfers {
                let found = transfers::table.filter(transfers::key.eq(key.as_str()));
                let row: Option<i64> = found.select(transfers::seq).first(connection).optional()?;
                loaded.transfers.extend(row.map(|_| key.clone()));
            }
            Ok(loaded)
        }

        /// Writes the changes of a batch. Rows that others refer to come before those.
        fn write(connection: &mut SqliteConnection, changes: &Changes) -> Result<(), Fault> {
            $(
                for row in &changes.$field.made {
                    insert::<$kind>(connection, row)?;
                }
                for row in &changes.$field.changed {
                    update::<$kind>(connection, row)?;
                }
            )*
            for grant in &changes.grants {
                let row = GrantRow::from(grant);
                diesel::insert_into(free_tier_grants::table).values(&row).execute(connection)?;
            }
            for transfer in &changes.transfers {
                let row = NewTransferRow::from(transfer);
                diesel::insert_into(transfers::table).values(&row).execute(connection)?;
            }
            for change in &changes.job_changes {
                let row = NewOutboxRow::from(change);
                diesel::insert_into(outbox::table).values(&row).execute(connection)?;
            }
            Ok(())
        }
    };
}

for_each_row_kind!(load_and_write);
