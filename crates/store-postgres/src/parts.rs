//! Everything that a batch writes, as one statement.
//!
//! A statement costs PostgreSQL tens of microseconds whatever it does, so a batch writes with one: a part for each
//! table whose rows it updates, and for each into which it inserts. The parts that there are make the batch's shape.

use crate::notify;
use crate::server_id::ServerId;
use crate::table::{Column, Table, insert_sql, update_sql};
use tithe_engine::books::{Changes, Written};
use tithe_engine::for_each_row_kind;
use tithe_engine::store::StoreError;
use tithe_free_tier::Grant;
use tithe_jobs::JobChange;
use tithe_ledger::Transfer;
use tithe_store_sql::Stored;
use tithe_store_sql::rows::{GrantRow, NewOutboxRow, NewTransferRow};
use tokio_postgres::types::ToSql;

/// A table, and the types of the columns that are inserted into it.
type Insert = (&'static str, &'static [&'static str]);

const TRANSFERS: Insert = (
    "transfers (key, debit, credit, amount_msats, kind, reference, created_at)",
    &["text", "text", "text", "bigint", "text", "text", "bigint"],
);

const GRANTS: Insert = (
    "free_tier_grants (id, pubkey, request_hash, absorbed_msats, pool_balance_after_msats, created_at)",
    &["text", "text", "text", "bigint", "bigint", "bigint"],
);

const STEPS: Insert =
    ("outbox (topic, subject, revision, state, created_at)", &["text", "text", "bigint", "text", "bigint"]);

/// Inserts rows of these columns, with parameters from number `first` on.
fn append_sql((into, kinds): Insert, first: usize) -> String {
    let arrays: Vec<String> =
        kinds.iter().enumerate().map(|(n, kind)| format!("${}::{kind}[]", first + n)).collect();
    format!("INSERT INTO {into} SELECT * FROM unnest({})", arrays.join(", "))
}

/// Writes the number of this batch. The row may have been deleted meanwhile, if this server was idle for long.
fn mark_sql(first: usize) -> String {
    format!(
        "INSERT INTO committers (id, batch) VALUES (${first}::text, ${}::bigint) \
         ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, seen_at = now()",
        first + 1
    )
}

/// Notifies the other servers of steps.
fn notify_sql(first: usize) -> String {
    let channel = notify::STEPS;
    format!("SELECT pg_notify('{channel}', message) FROM unnest(${first}::text[]) AS given (message)")
}

/// One part of what a batch writes.
struct Part {
    /// Its number among all parts that there may be.
    number: u32,
    /// Its statement, with parameters from this number on.
    sql: fn(usize) -> String,
    columns: Vec<Column>,
}

/// Everything that a batch writes, in the order of the parts' numbers.
#[derive(Default)]
pub(crate) struct Parts {
    present: Vec<Part>,
    /// The number of the next part.
    next: u32,
    /// Notifications for other servers.
    messages: Option<Column>,
}

impl Parts {
    /// Counts a part, and adds it if it has columns. Every batch counts the same parts.
    fn add(&mut self, sql: fn(usize) -> String, columns: Option<Vec<Column>>) {
        let number = self.next;
        self.next += 1;
        self.present.extend(columns.map(|columns| Part { number, sql, columns }));
    }

    /// Adds the updated rows and the inserted rows of a table.
    fn add_rows<K: Stored<Record: Table>>(&mut self, written: &Written<K::Row>) -> Result<(), StoreError> {
        let records = |rows: &[K::Row]| rows.iter().map(K::record).collect::<Result<Vec<_>, _>>();
        let (changed, made) = (records(&written.changed)?, records(&written.made)?);
        self.add(
            update_sql::<K::Record>,
            (!changed.is_empty()).then(|| K::Record::changing_columns(changed)),
        );
        self.add(insert_sql::<K::Record>, (!made.is_empty()).then(|| K::Record::all_columns(made)));
        Ok(())
    }

    /// Batches of the same shape are written by the same statement.
    pub(crate) fn shape(&self) -> u64 {
        let notifies = u64::from(self.messages.is_some());
        self.present.iter().fold(notifies, |shape, part| shape | 2_u64 << part.number)
    }

    /// One statement for all parts. Each sees the tables as they were before the statement; foreign keys are checked at
    /// its end.
    pub(crate) fn sql(&self) -> String {
        let mut first = 1;
        let mut parts = Vec::new();
        for part in &self.present {
            parts.push(format!("part{} AS ({})", part.number, (part.sql)(first)));
            first += part.columns.len();
        }
        let last = if self.messages.is_some() { notify_sql(first) } else { "SELECT 1".to_owned() };
        format!("WITH {} {last}", parts.join(", "))
    }

    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let columns = self.present.iter().flat_map(|part| &part.columns).chain(&self.messages);
        columns.map(|column| -> &(dyn ToSql + Sync) { column.as_ref() }).collect()
    }
}

macro_rules! row_parts {
    ($($field:ident: $kind:path,)*) => {
        /// Adds the rows of every kind.
        fn add_all_rows(parts: &mut Parts, changes: &Changes) -> Result<(), StoreError> {
            $(parts.add_rows::<$kind>(&changes.$field)?;)*
            Ok(())
        }
    };
}

for_each_row_kind!(row_parts);

/// What the second round trip writes. Nothing is overwritten that was not loaded: an inserted row that another batch
/// has made meanwhile fails the batch, which is then tried again.
pub(crate) fn parts(changes: &Changes, server: &ServerId, batch: i64) -> Result<Parts, StoreError> {
    let Changes { grants, transfers, job_changes: steps, .. } = changes;
    let mut parts = Parts::default();
    add_all_rows(&mut parts, changes)?;
    parts.add(|first| append_sql(GRANTS, first), (!grants.is_empty()).then(|| grant_columns(grants)));
    parts.add(
        |first| append_sql(TRANSFERS, first),
        (!transfers.is_empty()).then(|| transfer_columns(transfers)),
    );
    parts.add(|first| append_sql(STEPS, first), (!steps.is_empty()).then(|| step_columns(steps)));
    if !steps.is_empty() {
        parts.messages = Some(Box::new(notify::encode_steps(server, steps)));
    }
    parts.add(mark_sql, Some(vec![Box::new(server.as_str().to_owned()), Box::new(batch)]));
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
    let kinds: Vec<String> = rows.iter().map(|row| row.kind.to_owned()).collect();
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
