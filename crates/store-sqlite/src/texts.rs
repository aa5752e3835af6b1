//! Deleting customers' texts.
//!
//! `secure_delete` is on: SQLite overwrites what is deleted with zeros. The journal still has pages as they were; emptying it removes
//! them.

use crate::SqliteStore;
use crate::fault::Fault;
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use tithe_clock::Timestamp;
use tithe_engine::records::{TextDeletion, TextOwner, TextsFound};
use tithe_engine::store::{StoreError, TextStore};
use tithe_store_sql::rows::limit_column;
use tithe_store_sql::texts::{
    self, CountRow, OwnerStatements, Sql, TextDeletionRow, owner_key, owner_statements,
};

/// The result of emptying the journal.
#[derive(QueryableByName)]
struct Checkpoint {
    /// Not 0 if somebody still reads from it.
    #[diesel(sql_type = Integer)]
    busy: i32,
}

#[async_trait]
impl TextStore for SqliteStore {
    async fn texts_found(&self, owner: &TextOwner, until: Timestamp) -> Result<TextsFound, StoreError> {
        let (statements, key) = (owner_statements(Sql::Sqlite, owner), owner_key(owner));
        self.read(move |connection| {
            let mut count = |statements: &Option<OwnerStatements>| {
                let Some(statements) = statements else { return Ok((0, 0)) };
                let counted = diesel::sql_query(&statements.count).bind::<Text, _>(&key);
                let counted: CountRow =
                    counted.bind::<BigInt, _>(until.unix_micros()).get_result(connection)?;
                Ok::<_, Fault>(counted.counts())
            };
            let [jobs, requests, responses, kept] = &statements;
            Ok(texts::found([count(jobs)?, count(requests)?, count(responses)?, count(kept)?]))
        })
        .await
    }

    async fn texts_delete(
        &self,
        owner: &TextOwner,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<TextsFound, StoreError> {
        let (statements, key) = (owner_statements(Sql::Sqlite, owner), owner_key(owner));
        self.write(move |connection| {
            let mut delete = |statements: &Option<OwnerStatements>| {
                let Some(statements) = statements else { return Ok(0) };
                let deleted = diesel::sql_query(&statements.delete)
                    .bind::<Text, _>(&key)
                    .bind::<BigInt, _>(until.unix_micros())
                    .bind::<BigInt, _>(now.unix_micros())
                    .bind::<BigInt, _>(limit_column(limit))
                    .execute(connection)?;
                Ok::<_, Fault>(u64::try_from(deleted).unwrap_or(u64::MAX))
            };
            let [jobs, requests, responses, kept] = &statements;
            let deleted = [delete(jobs)?, delete(requests)?, delete(responses)?, delete(kept)?];
            Ok(texts::found(deleted.map(|count| (count, 0))))
        })
        .await
    }

    async fn deleted_texts_overwrite(&self) -> Result<bool, StoreError> {
        self.outside_a_transaction(|connection| {
            let emptied: Checkpoint =
                diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(connection)?;
            Ok(emptied.busy == 0)
        })
        .await
    }

    async fn text_deletion_record(&self, deletion: &TextDeletion) -> Result<(), StoreError> {
        let deletion = deletion.clone();
        self.write(move |connection| {
            let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            diesel::sql_query(texts::record(Sql::Sqlite))
                .bind::<Text, _>(deletion.owner.to_string())
                .bind::<BigInt, _>(deletion.requested_at.unix_micros())
                .bind::<Nullable<BigInt>, _>(deletion.finished_at.map(Timestamp::unix_micros))
                .bind::<BigInt, _>(number(deletion.deleted.jobs))
                .bind::<BigInt, _>(number(deletion.deleted.session_requests))
                .bind::<BigInt, _>(number(deletion.deleted.responses))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn text_deletion(&self, owner: &TextOwner) -> Result<Option<TextDeletion>, StoreError> {
        let owner = owner.to_string();
        self.read(move |connection| {
            let row = diesel::sql_query(texts::recorded(Sql::Sqlite)).bind::<Text, _>(owner);
            let row: Option<TextDeletionRow> = row.get_result(connection).optional()?;
            Ok(row.map(TextDeletion::try_from).transpose()?)
        })
        .await
    }

    async fn text_deletions_unfinished(&self, limit: usize) -> Result<Vec<TextDeletion>, StoreError> {
        self.read(move |connection| {
            let rows =
                diesel::sql_query(texts::unfinished(Sql::Sqlite)).bind::<BigInt, _>(limit_column(limit));
            let rows: Vec<TextDeletionRow> = rows.load(connection)?;
            Ok(rows.into_iter().map(TextDeletion::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }
}
