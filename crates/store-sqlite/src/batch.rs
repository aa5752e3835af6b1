//! Batches: lock, load, decide, write, commit.

use crate::SqliteStore;
use crate::connection::Fault;
use async_trait::async_trait;
use diesel::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::commands::{Batch, LockKeys};
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRecord};
use tithe_engine::store::{AuditRows, BatchStore, Changes, Committed, Decided, Loaded, StoreError};
use tithe_store_sql::rows::{
    AccountRow, HoldRow, IdempotencyRow, InvoiceRow, JobRow, NewOutboxRow, NewTransferRow,
};
use tithe_store_sql::schema::{accounts, holds, idempotency_keys, invoices, jobs, outbox, transfers};

#[async_trait]
impl BatchStore for SqliteStore {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let batch = batch.clone();
        self.write(move |connection| {
            let loaded = load(connection, batch.keys())?;
            let Decided { outcomes, changes } = batch.decide(loaded);
            write(connection, &changes)?;
            Ok(Committed { outcomes, job_changes: changes.job_changes })
        })
        .await
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let found = idempotency_keys::table.find((&id.scope, &id.key));
            let row = found.select(IdempotencyRow::as_select()).first(connection).optional()?;
            Ok(row.map(IdempotencyRecord::try_from).transpose()?)
        })
        .await
    }

    async fn idempotency_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let now = now.unix_micros();
        let purged = self
            .write(move |connection| {
                let old = idempotency_keys::table.filter(idempotency_keys::expires_at.le(now));
                Ok(diesel::delete(old).execute(connection)?)
            })
            .await?;
        Ok(u64::try_from(purged).unwrap_or(u64::MAX))
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
}

/// `BEGIN IMMEDIATE` has locked the whole database; what is left is to load. One prepared statement for each kind of row.
fn load(connection: &mut SqliteConnection, keys: &LockKeys) -> Result<Loaded, Fault> {
    let mut loaded = Loaded::default();
    for id in &keys.holds {
        let row =
            holds::table.find(id.to_string()).select(HoldRow::as_select()).first(connection).optional()?;
        loaded.holds.extend(row.map(TryInto::try_into).transpose()?);
    }
    for id in &keys.jobs {
        let row =
            jobs::table.find(id.to_string()).select(JobRow::as_select()).first(connection).optional()?;
        loaded.jobs.extend(row.map(TryInto::try_into).transpose()?);
    }
    for hash in &keys.invoices {
        let found = invoices::table.find(hash.to_string());
        let row = found.select(InvoiceRow::as_select()).first(connection).optional()?;
        loaded.invoices.extend(row.map(TryInto::try_into).transpose()?);
    }
    for id in &keys.idempotency {
        let found = idempotency_keys::table.find((&id.scope, &id.key));
        let row = found.select(IdempotencyRow::as_select()).first(connection).optional()?;
        loaded.idempotency.extend(row.map(TryInto::try_into).transpose()?);
    }
    for key in &keys.transfers {
        let found = transfers::table.filter(transfers::key.eq(key.as_str()));
        let row: Option<i64> = found.select(transfers::seq).first(connection).optional()?;
        loaded.transfers.extend(row.map(|_| key.clone()));
    }
    for id in &keys.accounts {
        let found = accounts::table.find(id.to_string());
        let row = found.select(AccountRow::as_select()).first(connection).optional()?;
        loaded.accounts.extend(row.map(TryInto::try_into).transpose()?);
    }
    Ok(loaded)
}

fn write(connection: &mut SqliteConnection, changes: &Changes) -> Result<(), Fault> {
    for account in &changes.accounts {
        let row = AccountRow::from(account);
        diesel::insert_into(accounts::table)
            .values(&row)
            .on_conflict(accounts::id)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for hold in &changes.holds {
        let row = HoldRow::from(hold);
        diesel::insert_into(holds::table)
            .values(&row)
            .on_conflict(holds::id)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for job in &changes.jobs {
        let row = JobRow::try_from(job)?;
        diesel::insert_into(jobs::table)
            .values(&row)
            .on_conflict(jobs::id)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for invoice in &changes.invoices {
        let row = InvoiceRow::from(invoice);
        diesel::insert_into(invoices::table)
            .values(&row)
            .on_conflict(invoices::payment_hash)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for record in &changes.idempotency {
        let row = IdempotencyRow::from(record);
        diesel::insert_into(idempotency_keys::table)
            .values(&row)
            .on_conflict((idempotency_keys::scope, idempotency_keys::key))
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for transfer in &changes.transfers {
        diesel::insert_into(transfers::table).values(&NewTransferRow::from(transfer)).execute(connection)?;
    }
    for change in &changes.job_changes {
        diesel::insert_into(outbox::table).values(&NewOutboxRow::from(change)).execute(connection)?;
    }
    Ok(())
}
