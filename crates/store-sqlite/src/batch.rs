//! Batches: lock, load, decide, write, commit.

use crate::SqliteStore;
use crate::connection::Fault;
use async_trait::async_trait;
use diesel::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::commands::{Batch, LockKeys};
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRecord};
use tithe_engine::proof::UsedProof;
use tithe_engine::store::{AuditRows, BatchStore, Changes, Committed, Decided, Loaded, StoreError};
use tithe_free_tier::PoolTally;
use tithe_store_sql::rows::{
    AccountRow, GrantRow, HoldRow, IdempotencyRow, IdentityRow, InvoiceRow, JobRow, NewOutboxRow,
    NewTransferRow, POOL_TALLY, ProofRow, ReservationRow, TallyRow, proof_column,
};
use tithe_store_sql::schema::{
    accounts, auth_challenges, free_tier_grants, free_tier_pool, free_tier_reservations, holds,
    idempotency_keys, invoices, jobs, nostr_identities, outbox, transfers,
};

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

    async fn proofs_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let now = now.unix_micros();
        let purged = self
            .write(move |connection| {
                let old = auth_challenges::table.filter(auth_challenges::expires_at.le(now));
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
    for pubkey in &keys.identities {
        let found = nostr_identities::table.find(pubkey.to_string());
        let row = found.select(IdentityRow::as_select()).first(connection).optional()?;
        loaded.identities.extend(row.map(TryInto::try_into).transpose()?);
    }
    for id in &keys.proofs {
        let found = auth_challenges::table.find(proof_column(id));
        let row = found.select(ProofRow::as_select()).first(connection).optional()?;
        loaded.proofs.extend(row.map(UsedProof::try_from).transpose()?);
    }
    for id in &keys.reservations {
        let found = free_tier_reservations::table.find(id.to_string());
        let row = found.select(ReservationRow::as_select()).first(connection).optional()?;
        loaded.reservations.extend(row.map(TryInto::try_into).transpose()?);
    }
    if keys.tally {
        let found = free_tier_pool::table.find(POOL_TALLY);
        let row = found.select(TallyRow::as_select()).first(connection).optional()?;
        loaded.tally = row.map(PoolTally::try_from).transpose()?;
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
    // Jobs refer to them.
    for standing in &changes.identities {
        let row = IdentityRow::from(standing);
        diesel::insert_into(nostr_identities::table)
            .values(&row)
            .on_conflict(nostr_identities::pubkey)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for reservation in &changes.reservations {
        let row = ReservationRow::from(reservation);
        diesel::insert_into(free_tier_reservations::table)
            .values(&row)
            .on_conflict(free_tier_reservations::id)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    if let Some(tally) = &changes.tally {
        let row = TallyRow::from(tally);
        diesel::insert_into(free_tier_pool::table)
            .values(&row)
            .on_conflict(free_tier_pool::id)
            .do_update()
            .set(&row)
            .execute(connection)?;
    }
    for proof in &changes.proofs {
        diesel::insert_into(auth_challenges::table).values(&ProofRow::from(proof)).execute(connection)?;
    }
    for grant in &changes.grants {
        diesel::insert_into(free_tier_grants::table).values(&GrantRow::from(grant)).execute(connection)?;
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
