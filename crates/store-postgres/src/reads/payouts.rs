//! Reads of obligations and payouts, and of what is compared with the wallet.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use tithe_clock::Timestamp;
use tithe_engine::store::{LedgerTotals, ReconciliationStore, StoreError};
use tithe_ledger::{AccountId, Transfer};
use tithe_lightning::PaymentHash;
use tithe_payouts::{Obligation, ObligationRepository, Payout};
use tithe_store_sql::payouts::{DUE, IN_FLIGHT, OF_WALLET, PAYABLE, TOTALS, totals};
use tithe_store_sql::rows::{ObligationRow, PayoutRow, TransferRow, limit_column, readable};
use tithe_store_sql::schema::{obligations, payouts, transfers};

/// A total of the ledger.
#[derive(QueryableByName)]
struct TotalRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    total: String,
}

#[async_trait]
impl ObligationRepository for PostgresStore {
    type Error = StoreError;

    async fn obligation(&self, account: AccountId) -> Result<Option<Obligation>, StoreError> {
        self.statement("obligation", |connection| {
            Box::pin(async move {
                let found = obligations::table.find(account.to_string());
                let row = found.select(ObligationRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Obligation::try_from).transpose()?)
            })
        })
        .await
    }

    async fn obligations_of(&self, accounts: &[AccountId]) -> Result<Vec<Obligation>, StoreError> {
        let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
        self.statement("obligations_of", |connection| {
            let accounts = accounts.clone();
            Box::pin(async move {
                let found = obligations::table.filter(obligations::account.eq_any(&accounts));
                let rows: Vec<ObligationRow> =
                    found.select(ObligationRow::as_select()).load(connection).await?;
                Ok(rows.into_iter().map(Obligation::try_from).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn obligations_payable(&self, now: Timestamp, limit: usize) -> Result<Vec<Obligation>, StoreError> {
        self.statement("obligations_payable", |connection| {
            Box::pin(async move {
                let payable = obligations::table
                    .filter(sql::<Bool>(PAYABLE))
                    .filter(obligations::next_try_at.le(now.unix_micros()))
                    .order(obligations::next_try_at)
                    .limit(limit_column(limit));
                let rows: Vec<ObligationRow> =
                    payable.select(ObligationRow::as_select()).load(connection).await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn obligations_due(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Obligation>, StoreError> {
        self.statement("obligations_due", |connection| {
            Box::pin(async move {
                let after = after.map_or_else(String::new, |account| account.to_string());
                let due = obligations::table
                    .filter(sql::<Bool>(DUE))
                    .filter(obligations::account.gt(after))
                    .order(obligations::account)
                    .limit(limit_column(limit));
                let rows: Vec<ObligationRow> =
                    due.select(ObligationRow::as_select()).load(connection).await?;
                Ok(rows.into_iter().map(Obligation::try_from).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn payout(&self, payment_hash: PaymentHash) -> Result<Option<Payout>, StoreError> {
        self.statement("payout", |connection| {
            Box::pin(async move {
                let found = payouts::table.find(payment_hash.to_string());
                let row = found.select(PayoutRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Payout::try_from).transpose()?)
            })
        })
        .await
    }

    async fn payouts_of(&self, account: AccountId) -> Result<Vec<Payout>, StoreError> {
        self.statement("payouts_of", |connection| {
            Box::pin(async move {
                let theirs = payouts::table
                    .filter(payouts::account.eq(account.to_string()))
                    .order((payouts::created_at, payouts::payment_hash));
                let rows: Vec<PayoutRow> = theirs.select(PayoutRow::as_select()).load(connection).await?;
                Ok(rows.into_iter().map(Payout::try_from).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn payouts_in_flight(&self, now: Timestamp, limit: usize) -> Result<Vec<Payout>, StoreError> {
        self.statement("payouts_in_flight", |connection| {
            Box::pin(async move {
                let due = payouts::table
                    .filter(sql::<Bool>(IN_FLIGHT))
                    .filter(payouts::next_look_at.le(now.unix_micros()))
                    .order(payouts::next_look_at)
                    .limit(limit_column(limit));
                let rows: Vec<PayoutRow> = due.select(PayoutRow::as_select()).load(connection).await?;
                Ok(readable(rows))
            })
        })
        .await
    }
}

#[async_trait]
impl ReconciliationStore for PostgresStore {
    async fn ledger_totals(&self) -> Result<LedgerTotals, StoreError> {
        self.statement("ledger_totals", |connection| {
            Box::pin(async move {
                let rows: Vec<TotalRow> = diesel::sql_query(TOTALS).load(connection).await?;
                Ok(totals(rows.into_iter().map(|row| (row.kind, row.total)))?)
            })
        })
        .await
    }

    async fn wallet_transfers(&self, since: Timestamp) -> Result<Vec<Transfer>, StoreError> {
        self.statement("wallet_transfers", |connection| {
            Box::pin(async move {
                let rows: Vec<TransferRow> = transfers::table
                    .filter(sql::<Bool>(OF_WALLET))
                    .filter(transfers::created_at.ge(since.unix_micros()))
                    .order(transfers::seq)
                    .select(TransferRow::as_select())
                    .load(connection)
                    .await?;
                Ok(rows.into_iter().map(Transfer::try_from).collect::<Result<_, _>>()?)
            })
        })
        .await
    }
}
