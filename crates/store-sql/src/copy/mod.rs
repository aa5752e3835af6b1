//! Copying a whole database into an empty one, whatever stores the two are.
//!
//! What is copied follows from the databases themselves: every table that both have, with every column, except the tables of
//! [`NOT_COPIED`]. So a table that somebody adds later is copied without being named here, and a table or column that only one side
//! has is an error, not an omission.
//!
//! The source is read from one snapshot. The target is written in one transaction, read again, and compared with the source before
//! that transaction is committed: a copy that was interrupted leaves an empty target.

mod run;
mod table;
mod tables;

pub use run::{Copied, CopiedTable, CopyError, copy};
pub use table::{Column, ColumnKind, Row, Table, rows_json};
pub use tables::Tables;

/// The tables that describe a database or its servers, and no business: each database has its own.
pub const NOT_COPIED: [&str; 4] = ["__diesel_schema_migrations", "committers", "server_health", "servers"];
