//! Deleting what is no longer needed.
//!
//! Each step first looks, on a reader, whether there is something to delete: an idle server does not disturb the writer.

use crate::SqliteStore;
use crate::fault::Fault;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use tithe_clock::Timestamp;
use tithe_engine::store::{IdentitiesPurged, RetentionStore, StoreError};
use tithe_ledger::credits::ORIGIN_WINDOW;
use tithe_store_sql::retention::{
    CREDITS_GIVEN_BACK, EXPIRED_TEXTS, NO_BOOTSTRAP_PAYMENT, NO_BOOTSTRAPS, NO_JOBS, NO_SESSIONS,
    NOTHING_PAID, UNPAID_BOOTSTRAPS, UNPAID_JOBS, UNPAID_SESSIONS, UNPROVEN,
};
use tithe_store_sql::rows::{JOB_TOPIC, Reader, limit_column};
use tithe_store_sql::schema::{
    auth_challenges, bootstrap_jobs, credits, idempotency_keys, install_origins, invoices, jobs,
    kept_requests, nostr_identities, outbox, session_requests, sessions,
};
use tithe_store_sql::texts::{ENDED_JOBS, ENDED_REQUESTS, Sql, old_texts};
use tithe_trust::NostrPubkey;

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn idempotency_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let expired = idempotency_keys::table.filter(idempotency_keys::expires_at.le(now.unix_micros()));
            let keys = expired.select((idempotency_keys::scope, idempotency_keys::key));
            Ok(keys.limit(limit_column(limit)).load::<(String, String)>(connection)?)
        };
        self.purge(find, |connection, keys| {
            for key in keys {
                diesel::delete(idempotency_keys::table.find(key)).execute(connection)?;
            }
            Ok(())
        })
        .await
    }

    async fn auth_nonces_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let expired = auth_challenges::table.filter(auth_challenges::expires_at.le(now.unix_micros()));
            Ok(expired.select(auth_challenges::id).limit(limit_column(limit)).load::<String>(connection)?)
        };
        self.purge(find, |connection, ids| {
            diesel::delete(auth_challenges::table.filter(auth_challenges::id.eq_any(ids)))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn install_origins_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let began = (now - ORIGIN_WINDOW).unix_micros();
            let over = install_origins::table.filter(install_origins::since.le(began));
            Ok(over.select(install_origins::name).limit(limit_column(limit)).load::<String>(connection)?)
        };
        self.purge(find, |connection, names| {
            diesel::delete(install_origins::table.filter(install_origins::name.eq_any(names)))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn credits_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let given_back = credits::table
                .filter(sql::<Bool>(CREDITS_GIVEN_BACK))
                .filter(credits::updated_at.lt(before.unix_micros()));
            let given_back = given_back.order(credits::updated_at).limit(limit_column(limit));
            Ok(given_back.select(credits::id).load::<String>(connection)?)
        };
        self.purge(find, |connection, ids| {
            diesel::delete(credits::table.filter(credits::id.eq_any(ids))).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn expired_texts_purge(&self, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let texts = jobs::table.filter(sql::<Bool>(EXPIRED_TEXTS));
            Ok(texts.select(jobs::id).limit(limit_column(limit)).load::<String>(connection)?)
        };
        self.purge(find, |connection, ids| {
            let texts = jobs::table.filter(jobs::id.eq_any(ids));
            let deleted = (jobs::request.eq(""), jobs::text_deleted_at.eq(jobs::updated_at.nullable()));
            diesel::update(texts).set(deleted).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn old_texts_purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let (old, limit) = (before.unix_micros(), limit_column(limit));
            let jobs = jobs::table.filter(sql::<Bool>(ENDED_JOBS));
            let jobs = jobs.filter(jobs::created_at.lt(old)).filter(jobs::updated_at.lt(old));
            let jobs = jobs.order(jobs::created_at).limit(limit).select(jobs::id);
            let requests = session_requests::table.filter(sql::<Bool>(ENDED_REQUESTS));
            let requests = requests.filter(session_requests::created_at.lt(old));
            let requests = requests.filter(session_requests::updated_at.lt(old));
            let requests = requests.order(session_requests::created_at).limit(limit);
            let mut found: Vec<String> = jobs.load(connection)?;
            found.extend(requests.select(session_requests::id).load::<String>(connection)?);
            Ok(found)
        };
        self.purge(find, move |connection, _found| {
            for statement in old_texts(Sql::Sqlite) {
                diesel::sql_query(statement)
                    .bind::<BigInt, _>(before.unix_micros())
                    .bind::<BigInt, _>(now.unix_micros())
                    .bind::<BigInt, _>(limit_column(limit))
                    .execute(connection)?;
            }
            Ok(())
        })
        .await
    }

    async fn kept_requests_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let is_unpaid = kept_requests::state.eq("offered");
            let is_unpaid = is_unpaid.and(kept_requests::expires_at.le(now.unix_micros()));
            let over = kept_requests::table.filter(kept_requests::state.eq("ended").or(is_unpaid));
            let ids = over.select(kept_requests::session_id).limit(limit_column(limit));
            Ok(ids.load::<String>(connection)?)
        };
        self.purge(find, |connection, ids| {
            diesel::delete(kept_requests::table.filter(kept_requests::session_id.eq_any(ids)))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn unpaid_jobs_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let unpaid = jobs::table
                .filter(sql::<Bool>(UNPAID_JOBS))
                .filter(sql::<Bool>(NOTHING_PAID))
                .filter(jobs::updated_at.lt(before.unix_micros()));
            let unpaid = unpaid.order(jobs::updated_at).limit(limit_column(limit));
            Ok(unpaid.select((jobs::id, jobs::eval_invoice)).load::<(String, Option<String>)>(connection)?)
        };
        self.purge(find, |connection, unpaid| {
            let (ids, hashes): (Vec<_>, Vec<_>) = unpaid.into_iter().unzip();
            let hashes: Vec<String> = hashes.into_iter().flatten().collect();
            diesel::delete(invoices::table.filter(invoices::payment_hash.eq_any(hashes)))
                .execute(connection)?;
            let steps = outbox::table.filter(outbox::topic.eq(JOB_TOPIC));
            diesel::delete(steps.filter(outbox::subject.eq_any(&ids))).execute(connection)?;
            diesel::delete(jobs::table.filter(jobs::id.eq_any(&ids))).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn unpaid_sessions_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let unpaid = sessions::table
                .filter(sql::<Bool>(UNPAID_SESSIONS))
                .filter(sessions::updated_at.lt(before.unix_micros()));
            let unpaid = unpaid.order(sessions::updated_at).limit(limit_column(limit));
            let columns = (sessions::id, sessions::deposit_invoice);
            Ok(unpaid.select(columns).load::<(String, Option<String>)>(connection)?)
        };
        self.purge(find, |connection, unpaid| {
            let (ids, hashes): (Vec<_>, Vec<_>) = unpaid.into_iter().unzip();
            let hashes: Vec<String> = hashes.into_iter().flatten().collect();
            diesel::delete(invoices::table.filter(invoices::payment_hash.eq_any(hashes)))
                .execute(connection)?;
            diesel::delete(sessions::table.filter(sessions::id.eq_any(&ids))).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn unpaid_bootstraps_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            let unpaid = bootstrap_jobs::table
                .filter(sql::<Bool>(UNPAID_BOOTSTRAPS))
                .filter(sql::<Bool>(NO_BOOTSTRAP_PAYMENT))
                .filter(bootstrap_jobs::updated_at.lt(before.unix_micros()));
            let unpaid = unpaid.order(bootstrap_jobs::updated_at).limit(limit_column(limit));
            let columns = (bootstrap_jobs::id, bootstrap_jobs::invoice);
            Ok(unpaid.select(columns).load::<(String, Option<String>)>(connection)?)
        };
        self.purge(find, |connection, unpaid| {
            let (ids, hashes): (Vec<_>, Vec<_>) = unpaid.into_iter().unzip();
            let hashes: Vec<String> = hashes.into_iter().flatten().collect();
            diesel::delete(invoices::table.filter(invoices::payment_hash.eq_any(hashes)))
                .execute(connection)?;
            diesel::delete(bootstrap_jobs::table.filter(bootstrap_jobs::id.eq_any(&ids)))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn job_changes_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let find = move |connection: &mut SqliteConnection| {
            // The oldest come first, so that no more than these are looked at.
            let oldest = outbox::table.select((outbox::seq, outbox::created_at)).order(outbox::seq);
            let oldest: Vec<(i64, i64)> = oldest.limit(limit_column(limit)).load(connection)?;
            let old = oldest.into_iter().filter(|(_, created_at)| *created_at < before.unix_micros());
            Ok(old.map(|(seq, _)| seq).collect::<Vec<i64>>())
        };
        self.purge(find, |connection, steps| {
            diesel::delete(outbox::table.filter(outbox::seq.eq_any(steps))).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn identities_purge(
        &self,
        after: Option<NostrPubkey>,
        before: Timestamp,
        limit: usize,
    ) -> Result<IdentitiesPurged, StoreError> {
        let after = after.map(|pubkey| pubkey.to_string()).unwrap_or_default();
        let page: Vec<String> = self
            .read(move |connection| {
                let page = nostr_identities::table.filter(nostr_identities::pubkey.gt(after));
                let page = page.order(nostr_identities::pubkey).limit(limit_column(limit));
                Ok(page.select(nostr_identities::pubkey).load(connection)?)
            })
            .await?;
        let next = page
            .last()
            .filter(|_| page.len() >= limit)
            .map(|last| Reader::new("identity", last).pubkey("pubkey", last));
        let next = next.transpose()?;
        let find = move |connection: &mut SqliteConnection| {
            let unproven = nostr_identities::table
                .filter(nostr_identities::pubkey.eq_any(&page))
                .filter(nostr_identities::last_seen.lt(before.unix_micros()))
                .filter(sql::<Bool>(UNPROVEN))
                .filter(sql::<Bool>(NO_JOBS))
                .filter(sql::<Bool>(NO_SESSIONS))
                .filter(sql::<Bool>(NO_BOOTSTRAPS));
            Ok(unproven.select(nostr_identities::pubkey).load::<String>(connection)?)
        };
        let deleted = self.purge(find, |connection, unproven| {
            let unproven = nostr_identities::table.filter(nostr_identities::pubkey.eq_any(unproven));
            diesel::delete(unproven).execute(connection)?;
            Ok(())
        });
        Ok(IdentitiesPurged { deleted: deleted.await?, next })
    }
}

impl SqliteStore {
    /// Finds rows and deletes them, in one writing transaction; without one if there are none. Returns how many were found.
    async fn purge<T: Send + 'static>(
        &self,
        find: impl Fn(&mut SqliteConnection) -> Result<Vec<T>, Fault> + Clone + Send + 'static,
        delete: impl FnOnce(&mut SqliteConnection, Vec<T>) -> Result<(), Fault> + Send + 'static,
    ) -> Result<usize, StoreError> {
        let look = find.clone();
        if self.read(move |connection| Ok(look(connection)?.is_empty())).await? {
            return Ok(0);
        }
        self.write(move |connection| {
            let found = find(connection)?;
            let count = found.len();
            delete(connection, found)?;
            Ok(count)
        })
        .await
    }
}
