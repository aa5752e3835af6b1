//! What a batch writes, as one statement.
//!
//! A statement costs PostgreSQL tens of microseconds whatever it does, so all that a batch writes is one: a part for each table
//! whose rows it changes, and for each of which it makes rows. Which parts there are makes the batch's shape.

use crate::steps::{self, Origin};
use crate::table::{Column, Table, insert_sql, split, update_sql};
use crate::writer::Present;
use std::collections::HashSet;
use tithe_engine::store::{Changes, StoreError};
use tithe_free_tier::Grant;
use tithe_jobs::JobChange;
use tithe_ledger::Transfer;
use tithe_store_sql::rows::{
    AccountRow, GrantRow, HoldRow, IdempotencyRow, IdentityRow, InvoiceRow, JobRow, NewOutboxRow,
    NewTransferRow, ProofRow, ReservationRow, TallyRow,
};
use tokio_postgres::types::ToSql;

/// The columns that transfers are made of.
const TRANSFERS_MAKE: (&str, &[&str]) = (
    "transfers (key, debit, credit, amount_msats, kind, reference, created_at)",
    &["text", "text", "text", "bigint", "text", "text", "bigint"],
);

const GRANTS_MAKE: (&str, &[&str]) = (
    "free_tier_grants (id, pubkey, request_hash, absorbed_msats, pool_balance_after_msats, created_at)",
    &["text", "text", "text", "bigint", "bigint", "bigint"],
);

const STEPS_MAKE: (&str, &[&str]) =
    ("outbox (topic, subject, revision, state, created_at)", &["text", "text", "bigint", "text", "bigint"]);

/// Makes rows of these columns, with parameters from number `first` on.
fn make_sql((into, kinds): (&str, &[&str]), first: usize) -> String {
    let arrays: Vec<String> =
        kinds.iter().enumerate().map(|(n, kind)| format!("${}::{kind}[]", first + n)).collect();
    format!("INSERT INTO {into} SELECT * FROM unnest({})", arrays.join(", "))
}

/// Writes this batch's number. The row may have been forgotten meanwhile, if this server has been idle for long.
fn mark_sql(first: usize) -> String {
    format!(
        "INSERT INTO committers (id, batch) VALUES (${first}::text, ${}::bigint) \
         ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, seen_at = now()",
        first + 1
    )
}

/// Tells the other servers of steps.
fn tell_sql(first: usize) -> String {
    format!("SELECT pg_notify('tithe_steps', told) FROM unnest(${first}::text[]) AS given (told)")
}

/// A part of what a batch writes: rows that are made, or rows that are changed, of one table.
struct Part {
    /// Its place among all parts that there are.
    place: u32,
    /// Its statement, with parameters from this number on.
    sql: fn(usize) -> String,
    columns: Vec<Column>,
}

/// What a batch writes, in the order of the parts' places.
#[derive(Default)]
pub(crate) struct Parts {
    parts: Vec<Part>,
    /// What is told to other servers.
    told: Option<Column>,
}

impl Parts {
    fn add(&mut self, place: u32, sql: fn(usize) -> String, columns: Vec<Column>) {
        self.parts.push(Part { place, sql, columns });
    }

    /// Adds what changes the rows of a table that were there, at `place`, and what makes the others, at the place after it.
    fn add_rows<T: Table>(&mut self, place: u32, rows: Vec<T>, present: &HashSet<T::Key>) {
        let (changed, made) = split(rows, present);
        if !changed.is_empty() {
            self.add(place, update_sql::<T>, T::changing_columns(changed));
        }
        if !made.is_empty() {
            self.add(place + 1, insert_sql::<T>, T::all_columns(made));
        }
    }

    /// Batches of the same shape are written by the same statement.
    pub(crate) fn shape(&self) -> u64 {
        let told = u64::from(self.told.is_some());
        self.parts.iter().fold(told, |shape, part| shape | 2_u64 << part.place)
    }

    /// One statement for all parts. They see what was there before any of them; rows refer to each other by keys that are
    /// checked at its end.
    pub(crate) fn sql(&self) -> String {
        let mut first = 1;
        let mut parts = Vec::new();
        for part in &self.parts {
            parts.push(format!("part{} AS ({})", part.place, (part.sql)(first)));
            first += part.columns.len();
        }
        let last = if self.told.is_some() { tell_sql(first) } else { "SELECT 1".to_owned() };
        format!("WITH {} {last}", parts.join(", "))
    }

    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let columns = self.parts.iter().flat_map(|part| &part.columns).chain(&self.told);
        columns.map(|column| -> &(dyn ToSql + Sync) { column.as_ref() }).collect()
    }
}

/// What the second flight writes: rows that were there are changed, the others made. Nothing is overwritten that was not
/// looked at: a row that somebody made meanwhile stops the batch, which is then tried again.
pub(crate) fn parts(
    changes: &Changes,
    present: &Present,
    origin: &Origin,
    number: i64,
) -> Result<Parts, StoreError> {
    let mut parts = Parts::default();
    parts.add_rows(0, changes.accounts.iter().map(AccountRow::from).collect(), &present.accounts);
    parts.add_rows(2, changes.identities.iter().map(IdentityRow::from).collect(), &present.identities);
    let reservations = changes.reservations.iter().map(ReservationRow::from).collect();
    parts.add_rows(4, reservations, &present.reservations);
    parts.add_rows(6, changes.tally.iter().map(TallyRow::from).collect(), &present.tally);
    parts.add_rows(8, changes.proofs.iter().map(ProofRow::from).collect(), &present.proofs);
    parts.add_rows(10, changes.holds.iter().map(HoldRow::from).collect(), &present.holds);
    let jobs = changes.jobs.iter().map(JobRow::try_from).collect::<Result<_, _>>()?;
    parts.add_rows(12, jobs, &present.jobs);
    parts.add_rows(14, changes.invoices.iter().map(InvoiceRow::from).collect(), &present.invoices);
    let idempotency = changes.idempotency.iter().map(IdempotencyRow::from).collect();
    parts.add_rows(16, idempotency, &present.idempotency);
    if !changes.grants.is_empty() {
        parts.add(18, |first| make_sql(GRANTS_MAKE, first), grant_columns(&changes.grants));
    }
    if !changes.transfers.is_empty() {
        parts.add(19, |first| make_sql(TRANSFERS_MAKE, first), transfer_columns(&changes.transfers));
    }
    if !changes.job_changes.is_empty() {
        parts.add(20, |first| make_sql(STEPS_MAKE, first), step_columns(&changes.job_changes));
        parts.told = Some(Box::new(steps::told(origin, &changes.job_changes)));
    }
    parts.add(21, mark_sql, vec![Box::new(origin.as_str().to_owned()), Box::new(number)]);
    Ok(parts)
}

fn grant_columns(grants: &[Grant]) -> Vec<Column> {
    let rows: Vec<GrantRow> = grants.iter().map(GrantRow::from).collect();
    let absorbed: Vec<i64> = rows.iter().map(|row| row.absorbed_msats).collect();
    let left: Vec<i64> = rows.iter().map(|row| row.pool_balance_after_msats).collect();
    let created: Vec<i64> = rows.iter().map(|row| row.created_at).collect();
    let (mut ids, mut pubkeys, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.id);
        pubkeys.push(row.pubkey);
        hashes.push(row.request_hash);
    }
    vec![
        Box::new(ids),
        Box::new(pubkeys),
        Box::new(hashes),
        Box::new(absorbed),
        Box::new(left),
        Box::new(created),
    ]
}

fn transfer_columns(transfers: &[Transfer]) -> Vec<Column> {
    let rows: Vec<NewTransferRow<'_>> = transfers.iter().map(NewTransferRow::from).collect();
    let keys: Vec<String> = rows.iter().map(|row| row.key.to_owned()).collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount_msats).collect();
    let kinds: Vec<&'static str> = rows.iter().map(|row| row.kind).collect();
    let created: Vec<i64> = rows.iter().map(|row| row.created_at).collect();
    let (mut debits, mut credits, mut references) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        debits.push(row.debit);
        credits.push(row.credit);
        references.push(row.reference);
    }
    vec![
        Box::new(keys),
        Box::new(debits),
        Box::new(credits),
        Box::new(amounts),
        Box::new(kinds),
        Box::new(references),
        Box::new(created),
    ]
}

fn step_columns(steps: &[JobChange]) -> Vec<Column> {
    let rows: Vec<NewOutboxRow> = steps.iter().map(NewOutboxRow::from).collect();
    vec![
        Box::new(rows.iter().map(|row| row.topic).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.subject.clone()).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.revision).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.state).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.created_at).collect::<Vec<_>>()),
    ]
}
