//! Deleting customers' texts.
//!
//! A row that changes leaves its earlier version on the disk until a vacuum, and in the log of changes until that is recycled: what was
//! deleted is gone from every read and every dump at once, and from the files later.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use tithe_clock::Timestamp;
use tithe_engine::records::{TextDeletion, TextOwner, TextsFound};
use tithe_engine::store::{StoreError, TextStore};
use tithe_store_sql::rows::limit_column;
use tithe_store_sql::texts::{
    self, CountRow, OwnerStatements, Sql, TextDeletionRow, owner_key, owner_statements,
};

#[async_trait]
impl TextStore for PostgresStore {
    async fn texts_found(&self, owner: &TextOwner, until: Timestamp) -> Result<TextsFound, StoreError> {
        let key = owner_key(owner);
        let mut counts = [(0, 0); 4];
        for (statements, counts) in owner_statements(Sql::Postgres, owner).iter().zip(&mut counts) {
            *counts = self.texts_count(statements.as_ref(), &key, until).await?;
        }
        Ok(texts::found(counts))
    }

    async fn texts_delete(
        &self,
        owner: &TextOwner,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<TextsFound, StoreError> {
        let key = owner_key(owner);
        let statements = owner_statements(Sql::Postgres, owner);
        let mut deleted = [0; 4];
        for (statements, deleted) in statements.iter().zip(&mut deleted) {
            let Some(statements) = statements else { continue };
            *deleted = self
                .statement("texts_delete", |connection| {
                    let (statement, key) = (statements.delete.clone(), key.clone());
                    Box::pin(async move {
                        let statement = diesel::sql_query(statement)
                            .bind::<Text, _>(key)
                            .bind::<BigInt, _>(until.unix_micros())
                            .bind::<BigInt, _>(now.unix_micros())
                            .bind::<BigInt, _>(limit_column(limit));
                        Ok(u64::try_from(statement.execute(connection).await?).unwrap_or(u64::MAX))
                    })
                })
                .await?;
        }
        Ok(texts::found(deleted.map(|count| (count, 0))))
    }

    async fn deleted_texts_overwrite(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn text_deletion_record(&self, deletion: &TextDeletion) -> Result<(), StoreError> {
        self.statement("text_deletion_record", |connection| {
            let deletion = deletion.clone();
            Box::pin(async move {
                let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                diesel::sql_query(texts::record(Sql::Postgres))
                    .bind::<Text, _>(deletion.owner.to_string())
                    .bind::<BigInt, _>(deletion.requested_at.unix_micros())
                    .bind::<Nullable<BigInt>, _>(deletion.finished_at.map(Timestamp::unix_micros))
                    .bind::<BigInt, _>(number(deletion.deleted.jobs))
                    .bind::<BigInt, _>(number(deletion.deleted.session_requests))
                    .bind::<BigInt, _>(number(deletion.deleted.responses))
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn text_deletion(&self, owner: &TextOwner) -> Result<Option<TextDeletion>, StoreError> {
        self.statement("text_deletion", |connection| {
            let owner = owner.to_string();
            Box::pin(async move {
                let row = diesel::sql_query(texts::recorded(Sql::Postgres)).bind::<Text, _>(owner);
                let row: Option<TextDeletionRow> = row.get_result(connection).await.optional()?;
                Ok(row.map(TextDeletion::try_from).transpose()?)
            })
        })
        .await
    }

    async fn text_deletions_unfinished(&self, limit: usize) -> Result<Vec<TextDeletion>, StoreError> {
        self.statement("text_deletions_unfinished", |connection| {
            Box::pin(async move {
                let rows = diesel::sql_query(texts::unfinished(Sql::Postgres));
                let rows: Vec<TextDeletionRow> =
                    rows.bind::<BigInt, _>(limit_column(limit)).load(connection).await?;
                Ok(rows.into_iter().map(TextDeletion::try_from).collect::<Result<_, _>>()?)
            })
        })
        .await
    }
}

impl PostgresStore {
    /// How many texts there are of what has ended, and how many things run.
    async fn texts_count(
        &self,
        statements: Option<&OwnerStatements>,
        key: &str,
        until: Timestamp,
    ) -> Result<(u64, u64), StoreError> {
        let Some(statements) = statements else { return Ok((0, 0)) };
        self.statement("texts_found", |connection| {
            let (statement, key) = (statements.count.clone(), key.to_owned());
            Box::pin(async move {
                let counted = diesel::sql_query(statement).bind::<Text, _>(key);
                let counted: CountRow =
                    counted.bind::<BigInt, _>(until.unix_micros()).get_result(connection).await?;
                Ok(counted.counts())
            })
        })
        .await
    }
}
