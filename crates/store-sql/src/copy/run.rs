//! The sequence of a copy.

use super::table::{Row, Table, in_order};
use super::tables::Tables;
use futures_util::future::join;
use sha2::{Digest, Sha256};
use tithe_engine::store::StoreError;
use tokio::sync::mpsc;

/// How many rows wait to be written at most.
const ROWS_AHEAD: usize = 64;

/// How many rows, and how many bytes, one statement writes at most; a single row may be longer.
const ROWS_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// The reason why a database was not copied. The target is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source cannot be read.
    #[error("cannot read {at}")]
    Source {
        /// Where the source is.
        at: String,
        /// The cause.
        #[source]
        cause: StoreError,
    },
    /// The target cannot be written.
    #[error("cannot write {at}")]
    Target {
        /// Where the target is.
        at: String,
        /// The cause.
        #[source]
        cause: StoreError,
    },
    /// The target holds something already.
    #[error("the target is not empty: expected no rows in {at}, got some in {table}")]
    NotEmpty {
        /// Where the target is.
        at: String,
        /// The first table with rows.
        table: String,
    },
    /// The two databases do not have the same tables or columns.
    #[error("the tables differ: {0}; use the version of tithe that both databases were migrated with")]
    Shape(String),
    /// Somebody has written to the source meanwhile.
    #[error("{at} has changed while it was copied: stop the servers that use it, then copy again")]
    Changed {
        /// Where the source is.
        at: String,
    },
    /// The target does not hold what was written to it.
    #[error("the copy differs from its source in {table}: expected {expected}, got {got}")]
    Differs {
        /// The table.
        table: String,
        /// Rows and digest of the source.
        expected: String,
        /// Rows and digest of the target.
        got: String,
    },
}

/// One table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: String,
    /// The number of rows.
    pub rows: u64,
    /// SHA-256 over all rows in the order of their keys, in hex: the same on both sides.
    pub sha256: String,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// The tables, in the order in which they were copied.
    pub tables: Vec<CopiedTable>,
}

impl Copied {
    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

/// Copies all tables, compares both sides, and commits.
///
/// # Errors
/// [`CopyError`]; nothing is committed then.
pub async fn copy(from: &mut dyn Tables, to: &mut dyn Tables) -> Result<Copied, CopyError> {
    let (source, target) = (from.at().to_owned(), to.at().to_owned());
    let reading = |cause| CopyError::Source { at: source.clone(), cause };
    let writing = |cause| CopyError::Target { at: target.clone(), cause };
    let theirs = in_order(from.tables().await.map_err(reading)?);
    let ours = in_order(to.tables().await.map_err(writing)?);
    let pairs = pairs(&theirs, &ours)?;
    for (_, into) in &pairs {
        if !is_empty(to, into).await.map_err(writing)? {
            return Err(CopyError::NotEmpty { at: target.clone(), table: into.name.clone() });
        }
    }
    let mut done = Copied::default();
    for (table, into) in &pairs {
        let (sender, receiver) = mpsc::channel(ROWS_AHEAD);
        let (read, written) = join(from.rows(table, sender), write(to, into, receiver)).await;
        let seen = written.map_err(writing)?;
        read.map_err(reading)?;
        if let Some(last) = from.last_number(table).await.map_err(reading)? {
            to.continue_after(into, last).await.map_err(writing)?;
        }
        done.tables.push(seen.of(&table.name));
    }
    for ((_, into), expected) in pairs.iter().zip(&done.tables) {
        let got = look(to, into).await.map_err(writing)?.of(&into.name);
        if got != *expected {
            let told = |table: &CopiedTable| format!("{} rows ({})", table.rows, table.sha256);
            let table = into.name.clone();
            return Err(CopyError::Differs { table, expected: told(expected), got: told(&got) });
        }
    }
    if from.end_and_compare().await.map_err(reading)? {
        return Err(CopyError::Changed { at: source });
    }
    to.commit().await.map_err(writing)?;
    Ok(done)
}

/// Writes the rows that are received. What was not received when it fails is not waited for.
async fn write(
    to: &mut dyn Tables,
    into: &Table,
    mut receiver: mpsc::Receiver<Row>,
) -> Result<Seen, StoreError> {
    let (mut seen, mut page) = (Seen::default(), Page::default());
    while let Some(row) = receiver.recv().await {
        seen.add(&row);
        page.add(row);
        if page.is_full() {
            to.insert(into, &std::mem::take(&mut page).rows).await?;
        }
    }
    if !page.rows.is_empty() {
        to.insert(into, &page.rows).await?;
    }
    Ok(seen)
}

/// Each table of the source with that of the target; they must have the same tables, columns and keys.
fn pairs<'a>(theirs: &'a [Table], ours: &'a [Table]) -> Result<Vec<(&'a Table, &'a Table)>, CopyError> {
    let missing = |side: &str, table: &Table| {
        CopyError::Shape(format!(
            "expected the table {} on both sides, got it in the {side} only",
            table.name
        ))
    };
    let mut pairs = Vec::new();
    for table in theirs {
        let into = ours.iter().find(|other| other.name == table.name);
        let into = into.ok_or_else(|| missing("source", table))?;
        if into.columns != table.columns || into.key != table.key {
            return Err(CopyError::Shape(format!(
                "expected the columns {} in {}, got {}",
                table.column_list(),
                table.name,
                into.column_list()
            )));
        }
        pairs.push((table, into));
    }
    match ours.iter().find(|table| !theirs.iter().any(|other| other.name == table.name)) {
        Some(extra) => Err(missing("target", extra)),
        None => Ok(pairs),
    }
}

async fn is_empty(to: &mut dyn Tables, table: &Table) -> Result<bool, StoreError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let first = async move { receiver.recv().await.is_none() };
    let (read, is_empty) = join(to.rows(table, sender), first).await;
    read.map(|()| is_empty)
}

async fn look(at: &mut dyn Tables, table: &Table) -> Result<Seen, StoreError> {
    let (sender, mut receiver) = mpsc::channel(ROWS_AHEAD);
    let seen = async move {
        let mut seen = Seen::default();
        while let Some(row) = receiver.recv().await {
            seen.add(&row);
        }
        seen
    };
    let (read, seen) = join(at.rows(table, sender), seen).await;
    read.map(|()| seen)
}

/// Rows that are written by one statement.
#[derive(Default)]
struct Page {
    rows: Vec<Row>,
    bytes: usize,
}

impl Page {
    fn add(&mut self, row: Row) {
        self.bytes += row.json().len();
        self.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }
}

/// What was seen of a table.
#[derive(Default)]
struct Seen {
    rows: u64,
    digest: Sha256,
}

impl Seen {
    fn add(&mut self, row: &Row) {
        self.rows += 1;
        self.digest.update(row.json());
        self.digest.update([b'\n']);
    }

    fn of(self, table: &str) -> CopiedTable {
        let sha256 = hex::encode(self.digest.finalize());
        CopiedTable { name: table.to_owned(), rows: self.rows, sha256 }
    }
}
