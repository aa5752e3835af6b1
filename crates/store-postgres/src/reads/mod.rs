//! Reads, and leases.

mod bootstraps;
mod credits;
mod measurements;
mod payouts;
mod servers;
mod sessions;
mod transfers;

use crate::failure::Failure;
use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;
use tithe_free_tier::{
    FreeTierRepository, Grant, GrantId, Identity, PoolCounters, Reservation, ReservationId,
};
use tithe_jobs::{Job, JobChange, JobClaim, JobId, JobRepository, JobSummary, Lease};
use tithe_ledger::{Account, AccountId, Hold, HoldId, LedgerRepository};
use tithe_lightning::{ExpiryWindow, Invoice, InvoiceRepository, PaymentHash};
use tithe_store_sql::retention::page_begin;
use tithe_store_sql::rows::{
    AccountRow, GrantRow, HoldRow, IdentityRow, InvoiceRow, JOB_TOPIC, JobRow, JobSummaryRow, OutboxRow,
    POOL_COUNTERS, PoolCountersRow, Reader, ReservationRow, limit_column, readable,
};
use tithe_store_sql::schema::{
    accounts, free_tier_grants, free_tier_pool, free_tier_reservations, holds, invoices, jobs,
    nostr_identities, outbox,
};
use tithe_store_sql::waiting_jobs::{HELD, ON_HOLD, RUNNABLE};
use tithe_trust::NostrPubkey;

// States are written out in the statements, not bound: a plan that is made once for any state uses no index on some
// rows.

#[async_trait]
impl JobRepository for PostgresStore {
    type Error = StoreError;

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.statement("job", |connection| {
            Box::pin(async move {
                let found = jobs::table.find(id.to_string());
                let row = found.select(JobRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Job::try_from).transpose()?)
            })
        })
        .await
    }

    async fn job_changes(&self, id: JobId, revision: u32) -> Result<Vec<JobChange>, StoreError> {
        self.statement("job_changes", |connection| {
            Box::pin(async move {
                let rows = outbox::table
                    .filter(outbox::topic.eq(JOB_TOPIC))
                    .filter(outbox::subject.eq(id.to_string()))
                    .filter(outbox::revision.gt(i64::from(revision)))
                    .order(outbox::revision)
                    .select(OutboxRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn jobs_claim(&self, claim: &JobClaim) -> Result<Vec<Job>, StoreError> {
        let claim = *claim;
        let now = claim.now.unix_micros();
        self.transaction("jobs_claim", |connection| {
            Box::pin(async move {
                let mut claimed: Vec<Job> = Vec::new();
                for which in [HELD, RUNNABLE] {
                    let lease_is_free = jobs::lease_until.is_null().or(jobs::lease_until.le(now));
                    // A job that another server is claiming is passed over, not waited for.
                    let rows = jobs::table
                        .filter(sql::<Bool>(which))
                        .filter(lease_is_free.assume_not_null())
                        .order(jobs::updated_at)
                        .limit(limit_column(claim.limit.saturating_sub(claimed.len())))
                        .for_update()
                        .skip_locked()
                        .select(JobRow::as_select())
                        .load(connection)
                        .await?;
                    claimed.extend(readable::<_, Job>(rows));
                }
                for job in &mut claimed {
                    job.lease = job.lease.claimed(claim.owner, claim.until);
                    set_lease(connection, job.id, &job.lease).await?;
                }
                Ok(claimed)
            })
        })
        .await
    }

    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.change_lease("job_lease_renew", id, *lease, until, |held, until| Lease {
            until: Some(until),
            ..held
        })
        .await
    }

    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest_until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.change_lease("job_lease_hand_back", id, *lease, rest_until, Lease::handed_back).await
    }

    async fn jobs_of_identity(
        &self,
        identity: NostrPubkey,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobSummary>, StoreError> {
        self.statement("jobs_of_identity", |connection| {
            Box::pin(async move {
                // No id comes after this text.
                let before = before.map_or_else(|| "~".to_owned(), |job| job.to_string());
                let rows = jobs::table
                    .filter(jobs::nostr_pubkey.eq(identity.to_string()))
                    .filter(jobs::id.lt(before))
                    .order(jobs::id.desc())
                    .limit(limit_column(limit))
                    .select(JobSummaryRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.statement("jobs_never_invoiced", |connection| {
            Box::pin(async move {
                let ids: Vec<String> = jobs::table
                    .filter(sql::<Bool>("state = 'awaiting_eval_payment'"))
                    .filter(jobs::eval_invoice.is_null())
                    .filter(jobs::created_at.lt(before.unix_micros()))
                    .limit(limit_column(limit))
                    .select(jobs::id)
                    .load(connection)
                    .await?;
                let read = |id: String| Reader::new("job", &id).column("id", id.parse()).map(JobId);
                Ok(ids.into_iter().map(read).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn jobs_on_hold(&self) -> Result<u64, StoreError> {
        self.statement("jobs_on_hold", |connection| {
            Box::pin(async move {
                let found: i64 =
                    jobs::table.filter(sql::<Bool>(ON_HOLD)).count().get_result(connection).await?;
                Ok(u64::try_from(found).unwrap_or_default())
            })
        })
        .await
    }
}

impl PostgresStore {
    /// Changes a lease if the job still is held as `held`.
    async fn change_lease(
        &self,
        name: &'static str,
        id: JobId,
        held: Lease,
        until: Timestamp,
        change: fn(Lease, Timestamp) -> Lease,
    ) -> Result<bool, StoreError> {
        self.transaction(name, |connection| {
            Box::pin(async move {
                let found = jobs::table.find(id.to_string()).for_update();
                let row = found.select(JobRow::as_select()).first(connection).await.optional()?;
                let Some(job) = row.map(Job::try_from).transpose()? else { return Ok(false) };
                if !job.lease.is_held_as(&held) {
                    return Ok(false);
                }
                set_lease(connection, id, &change(job.lease, until)).await?;
                Ok(true)
            })
        })
        .await
    }
}

async fn set_lease(connection: &mut AsyncPgConnection, id: JobId, lease: &Lease) -> Result<(), Failure> {
    diesel::update(jobs::table.find(id.to_string()))
        .set((
            jobs::lease_owner.eq(lease.owner.map(|owner| owner.to_string())),
            jobs::lease_until.eq(lease.until.map(Timestamp::unix_micros)),
            jobs::attempts.eq(i64::from(lease.attempts)),
            jobs::claims.eq(i64::from(lease.claims)),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

#[async_trait]
impl InvoiceRepository for PostgresStore {
    type Error = StoreError;

    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, StoreError> {
        self.statement("invoice", |connection| {
            Box::pin(async move {
                let found = invoices::table.find(payment_hash.to_string());
                let row = found.select(InvoiceRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Invoice::try_from).transpose()?)
            })
        })
        .await
    }

    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let after = after.map(|hash| hash.to_string()).unwrap_or_default();
        self.statement("invoices_pending", |connection| {
            let after = after.clone();
            Box::pin(async move {
                let rows = invoices::table
                    .filter(sql::<Bool>("state = 'pending'"))
                    .filter(invoices::payment_hash.gt(after))
                    .order(invoices::payment_hash)
                    .limit(limit_column(limit))
                    .select(InvoiceRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn invoices_expired(
        &self,
        window: ExpiryWindow,
        after: Option<(Timestamp, PaymentHash)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let (after, hash) = page_begin(window, after);
        self.statement("invoices_expired", |connection| {
            let hash = hash.clone();
            Box::pin(async move {
                let same_time = invoices::expires_at.eq(after).and(invoices::payment_hash.gt(hash));
                let rows = invoices::table
                    .filter(sql::<Bool>("state = 'expired'"))
                    .filter(invoices::expires_at.ge(after))
                    .filter(invoices::expires_at.le(window.until.unix_micros()))
                    .filter(invoices::expires_at.gt(after).or(same_time))
                    .order((invoices::expires_at, invoices::payment_hash))
                    .limit(limit_column(limit))
                    .select(InvoiceRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn invoices_open_count(&self, now: Timestamp) -> Result<u64, StoreError> {
        let count: i64 = self
            .statement("invoices_open_count", |connection| {
                Box::pin(async move {
                    let open =
                        sql::<Bool>("state = 'pending'").and(invoices::expires_at.gt(now.unix_micros()));
                    Ok(invoices::table.filter(open).count().get_result(connection).await?)
                })
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

#[async_trait]
impl LedgerRepository for PostgresStore {
    type Error = StoreError;

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.statement("account", |connection| {
            Box::pin(async move {
                let found = accounts::table.find(id.to_string());
                let row = found.select(AccountRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Account::try_from).transpose()?)
            })
        })
        .await
    }

    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        self.statement("hold", |connection| {
            Box::pin(async move {
                let found = holds::table.find(id.to_string());
                let row = found.select(HoldRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Hold::try_from).transpose()?)
            })
        })
        .await
    }

    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Hold>, StoreError> {
        self.statement("holds_overdue", |connection| {
            Box::pin(async move {
                let rows = holds::table
                    .filter(sql::<Bool>("state = 'held'"))
                    .filter(holds::lease_until.le(now.unix_micros()))
                    .order(holds::lease_until)
                    .limit(limit_column(limit))
                    .select(HoldRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }
}

#[async_trait]
impl FreeTierRepository for PostgresStore {
    type Error = StoreError;

    async fn identity(&self, pubkey: NostrPubkey) -> Result<Option<Identity>, StoreError> {
        self.statement("standing", |connection| {
            Box::pin(async move {
                let found = nostr_identities::table.find(pubkey.to_string());
                let row = found.select(IdentityRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Identity::try_from).transpose()?)
            })
        })
        .await
    }

    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        self.statement("reservation", |connection| {
            Box::pin(async move {
                let found = free_tier_reservations::table.find(id.to_string());
                let row = found.select(ReservationRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Reservation::try_from).transpose()?)
            })
        })
        .await
    }

    async fn reservations_overdue(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        self.statement("reservations_overdue", |connection| {
            Box::pin(async move {
                let rows = free_tier_reservations::table
                    .filter(sql::<Bool>("state = 'held' AND lease_until IS NOT NULL"))
                    .filter(free_tier_reservations::lease_until.le(now.unix_micros()))
                    .order(free_tier_reservations::lease_until)
                    .limit(limit_column(limit))
                    .select(ReservationRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn pool_counters(&self) -> Result<PoolCounters, StoreError> {
        self.statement("pool_counters", |connection| {
            Box::pin(async move {
                let found = free_tier_pool::table.find(POOL_COUNTERS);
                let row = found.select(PoolCountersRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(PoolCounters::try_from).transpose()?.unwrap_or_default())
            })
        })
        .await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.statement("grant", |connection| {
            Box::pin(async move {
                let found = free_tier_grants::table.find(id.to_string());
                let row = found.select(GrantRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Grant::try_from).transpose()?)
            })
        })
        .await
    }
}
