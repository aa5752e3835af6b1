//! Deleting what is no longer needed.
//!
//! Rows are locked before they are deleted. One that somebody else has locked is left for the next time, and one that was changed
//! before it was locked is looked at again as it is now.

use crate::failure::Failure;
use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashSet;
use tithe_clock::Timestamp;
use tithe_engine::store::{IdentitiesPurged, RetentionStore, StoreError};
use tithe_ledger::credits::ORIGIN_WINDOW;
use tithe_store_sql::retention::{
    CREDITS_GIVEN_BACK, EXPIRED_TEXTS, NO_BOOTSTRAP_PAYMENT, NO_BOOTSTRAPS, NO_JOBS, NO_SESSIONS,
    NOTHING_PAID, UNPAID_BOOTSTRAPS, UNPAID_JOBS, UNPAID_SESSIONS, UNPROVEN,
};
use tithe_store_sql::rows::{JOB_TOPIC, Reader, limit_column};
use tithe_store_sql::schema::{
    accounts, bootstrap_jobs, credits, invoices, jobs, nostr_identities, outbox, sessions,
};
use tithe_store_sql::texts::{Sql, old_texts};
use tithe_trust::NostrPubkey;

/// An expired key may be in use again before it is locked.
const KEYS: &str = "\
    DELETE FROM idempotency_keys WHERE expires_at <= $1 AND ctid = ANY (ARRAY (\
    SELECT ctid FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
const NONCES: &str = "\
    DELETE FROM auth_challenges WHERE expires_at <= $1 AND ctid = ANY (ARRAY (\
    SELECT ctid FROM auth_challenges WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
/// An origin may begin another window before it is locked.
const ORIGINS: &str = "\
    DELETE FROM install_origins WHERE since <= $1 AND ctid = ANY (ARRAY (\
    SELECT ctid FROM install_origins WHERE since <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
/// A payment may be held for it before it is locked.
const KEPT: &str = "\
    DELETE FROM kept_requests WHERE (state = 'ended' OR (state = 'offered' AND expires_at <= $1)) AND ctid = ANY (ARRAY (\
    SELECT ctid FROM kept_requests WHERE state = 'ended' OR (state = 'offered' AND expires_at <= $1) LIMIT $2 FOR UPDATE SKIP LOCKED))";
/// The oldest come first, so that no more than these are looked at.
const STEPS: &str = "\
    DELETE FROM outbox WHERE seq = ANY (ARRAY (\
    SELECT seq FROM (SELECT seq, created_at FROM outbox ORDER BY seq LIMIT $2) AS oldest WHERE created_at < $1))";

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn idempotency_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.purge("idempotency_purge", KEYS, now, limit).await
    }

    async fn auth_nonces_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.purge("auth_nonces_purge", NONCES, now, limit).await
    }

    async fn install_origins_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.purge("install_origins_purge", ORIGINS, now - ORIGIN_WINDOW, limit).await
    }

    async fn credits_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.transaction("credits_purge", |connection| {
            Box::pin(async move {
                // Work that ends late meanwhile locks its credit first: it finds it as it was, or gone.
                let given_back = credits::table
                    .filter(sql::<Bool>(CREDITS_GIVEN_BACK))
                    .filter(credits::updated_at.lt(before.unix_micros()));
                let given_back = given_back.order(credits::updated_at).limit(limit_column(limit));
                let ids: Vec<String> =
                    given_back.for_update().skip_locked().select(credits::id).load(connection).await?;
                let gone = credits::table.filter(credits::id.eq_any(ids));
                Ok(diesel::delete(gone).execute(connection).await?)
            })
        })
        .await
    }

    async fn expired_texts_purge(&self, limit: usize) -> Result<usize, StoreError> {
        self.transaction("expired_texts_purge", |connection| {
            Box::pin(async move {
                let texts = jobs::table.filter(sql::<Bool>(EXPIRED_TEXTS)).limit(limit_column(limit));
                let ids: Vec<String> =
                    texts.for_update().skip_locked().select(jobs::id).load(connection).await?;
                let texts = jobs::table.filter(jobs::id.eq_any(ids));
                let deleted = (jobs::request.eq(""), jobs::text_deleted_at.eq(jobs::updated_at.nullable()));
                Ok(diesel::update(texts).set(deleted).execute(connection).await?)
            })
        })
        .await
    }

    async fn old_texts_purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut deleted = 0;
        for statement in old_texts(Sql::Postgres) {
            deleted += self
                .statement("old_texts_purge", |connection| {
                    let statement = statement.clone();
                    Box::pin(async move {
                        let statement = diesel::sql_query(statement)
                            .bind::<BigInt, _>(before.unix_micros())
                            .bind::<BigInt, _>(now.unix_micros())
                            .bind::<BigInt, _>(limit_column(limit));
                        Ok(statement.execute(connection).await?)
                    })
                })
                .await?;
        }
        Ok(deleted)
    }

    async fn kept_requests_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.purge("kept_requests_purge", KEPT, now, limit).await
    }

    async fn unpaid_jobs_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.transaction("unpaid_jobs_purge", |connection| {
            Box::pin(async move { delete_unpaid_jobs(connection, before, limit).await })
        })
        .await
    }

    async fn unpaid_sessions_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.transaction("unpaid_sessions_purge", |connection| {
            Box::pin(async move {
                // A payment that arrives meanwhile locks its session first: it finds it paid for, or gone.
                let unpaid = sessions::table
                    .filter(sql::<Bool>(UNPAID_SESSIONS))
                    .filter(sessions::updated_at.lt(before.unix_micros()));
                let unpaid = unpaid.order(sessions::updated_at).limit(limit_column(limit));
                let columns = (sessions::id, sessions::deposit_invoice);
                let unpaid: Vec<(String, Option<String>)> =
                    unpaid.for_update().skip_locked().select(columns).load(connection).await?;
                let (ids, hashes): (Vec<_>, Vec<_>) = unpaid.into_iter().unzip();
                let hashes: Vec<String> = hashes.into_iter().flatten().collect();
                let invoices = invoices::table.filter(invoices::payment_hash.eq_any(hashes));
                diesel::delete(invoices).execute(connection).await?;
                let gone = sessions::table.filter(sessions::id.eq_any(&ids));
                Ok(diesel::delete(gone).execute(connection).await?)
            })
        })
        .await
    }

    async fn unpaid_bootstraps_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.transaction("unpaid_bootstraps_purge", |connection| {
            Box::pin(async move { delete_unpaid_bootstraps(connection, before, limit).await })
        })
        .await
    }

    async fn job_changes_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.purge("job_changes_purge", STEPS, before, limit).await
    }

    async fn identities_purge(
        &self,
        after: Option<NostrPubkey>,
        before: Timestamp,
        limit: usize,
    ) -> Result<IdentitiesPurged, StoreError> {
        let after = after.map(|pubkey| pubkey.to_string()).unwrap_or_default();
        let (deleted, next) = self
            .transaction("identities_purge", |connection| {
                let after = after.clone();
                Box::pin(async move {
                    let page = nostr_identities::table.filter(nostr_identities::pubkey.gt(after));
                    let page = page.order(nostr_identities::pubkey).limit(limit_column(limit));
                    let page: Vec<String> = page.select(nostr_identities::pubkey).load(connection).await?;
                    let next = page.last().filter(|_| page.len() >= limit).cloned();
                    // Whoever makes a job of an identity locks it first.
                    let unproven = nostr_identities::table
                        .filter(nostr_identities::pubkey.eq_any(&page))
                        .filter(nostr_identities::last_seen.lt(before.unix_micros()))
                        .filter(sql::<Bool>(UNPROVEN));
                    let unproven: Vec<String> = unproven
                        .for_update()
                        .skip_locked()
                        .select(nostr_identities::pubkey)
                        .load(connection)
                        .await?;
                    let unproven = nostr_identities::table
                        .filter(nostr_identities::pubkey.eq_any(unproven))
                        .filter(sql::<Bool>(NO_JOBS))
                        .filter(sql::<Bool>(NO_SESSIONS))
                        .filter(sql::<Bool>(NO_BOOTSTRAPS));
                    Ok((diesel::delete(unproven).execute(connection).await?, next))
                })
            })
            .await?;
        let next = next.map(|last| Reader::new("identity", &last).pubkey("pubkey", &last)).transpose()?;
        Ok(IdentitiesPurged { deleted, next })
    }
}

/// Deletes unpaid jobs with what belongs to them. A payment that arrives meanwhile locks its job first: either it finds the job
/// gone, or the job's account exists by the time it is looked for.
async fn delete_unpaid_jobs(
    connection: &mut AsyncPgConnection,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let unpaid = jobs::table
        .filter(sql::<Bool>(UNPAID_JOBS))
        .filter(sql::<Bool>(NOTHING_PAID))
        .filter(jobs::updated_at.lt(before.unix_micros()));
    let unpaid = unpaid.order(jobs::updated_at).limit(limit_column(limit)).for_update().skip_locked();
    let unpaid: Vec<(String, Option<String>)> =
        unpaid.select((jobs::id, jobs::eval_invoice)).load(connection).await?;
    let names = unpaid.iter().map(|(id, _)| format!("job:{id}"));
    let paid = accounts::table.filter(accounts::id.eq_any(names.collect::<Vec<_>>()));
    let paid: HashSet<String> = paid.select(accounts::id).load(connection).await?.into_iter().collect();
    let unpaid = unpaid.into_iter().filter(|(id, _)| !paid.contains(&format!("job:{id}")));
    let (ids, hashes): (Vec<_>, Vec<_>) = unpaid.unzip();
    let hashes: Vec<String> = hashes.into_iter().flatten().collect();
    diesel::delete(invoices::table.filter(invoices::payment_hash.eq_any(hashes))).execute(connection).await?;
    let steps = outbox::table.filter(outbox::topic.eq(JOB_TOPIC));
    diesel::delete(steps.filter(outbox::subject.eq_any(&ids))).execute(connection).await?;
    Ok(diesel::delete(jobs::table.filter(jobs::id.eq_any(&ids))).execute(connection).await?)
}

/// Deletes unpaid bootstraps with their invoices, as [`delete_unpaid_jobs`] does with jobs.
async fn delete_unpaid_bootstraps(
    connection: &mut AsyncPgConnection,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let unpaid = bootstrap_jobs::table
        .filter(sql::<Bool>(UNPAID_BOOTSTRAPS))
        .filter(sql::<Bool>(NO_BOOTSTRAP_PAYMENT))
        .filter(bootstrap_jobs::updated_at.lt(before.unix_micros()));
    let unpaid =
        unpaid.order(bootstrap_jobs::updated_at).limit(limit_column(limit)).for_update().skip_locked();
    let unpaid: Vec<(String, Option<String>)> =
        unpaid.select((bootstrap_jobs::id, bootstrap_jobs::invoice)).load(connection).await?;
    let names = unpaid.iter().map(|(id, _)| format!("bootstrap:{id}"));
    let paid = accounts::table.filter(accounts::id.eq_any(names.collect::<Vec<_>>()));
    let paid: HashSet<String> = paid.select(accounts::id).load(connection).await?.into_iter().collect();
    let unpaid = unpaid.into_iter().filter(|(id, _)| !paid.contains(&format!("bootstrap:{id}")));
    let (ids, hashes): (Vec<_>, Vec<_>) = unpaid.unzip();
    let hashes: Vec<String> = hashes.into_iter().flatten().collect();
    diesel::delete(invoices::table.filter(invoices::payment_hash.eq_any(hashes))).execute(connection).await?;
    let gone = bootstrap_jobs::table.filter(bootstrap_jobs::id.eq_any(&ids));
    Ok(diesel::delete(gone).execute(connection).await?)
}

impl PostgresStore {
    /// Runs a statement that deletes at most `limit` rows that are older than `time`; returns how many it has deleted.
    async fn purge(
        &self,
        name: &'static str,
        statement: &'static str,
        time: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let (time, limit) = (time.unix_micros(), limit_column(limit));
        self.statement(name, |connection| {
            Box::pin(async move {
                let statement = diesel::sql_query(statement).bind::<BigInt, _>(time).bind::<BigInt, _>(limit);
                Ok(statement.execute(connection).await?)
            })
        })
        .await
    }
}
