//! The `Books`: rows in, decisions and changed rows out. Pure and synchronous.
//!
//! A [`Command`] is one atomic change. Concurrent commands are decided together as a [`Batch`]: a store locks and loads the
//! rows that the batch declares ([`RowKeys`]), [`Batch::decide`] decides each command in turn on those rows, and the store
//! writes the [`Changes`]. Every store runs the same decisions.
//!
//! What can be read and written is listed once, in [`rows`]; the commands themselves live with the services that use
//! them.

mod batch;
mod command;
mod kind;
mod ledger;
mod post;
mod refusal;
pub mod rows;
mod state;
mod table;

pub use batch::{Batch, Committed, Decided, Outcome};
pub use command::{AnyCommand, AnyReply, Command, Reply};
pub use ledger::Posting;
pub use post::{Post, Posted};
pub use refusal::{Refusal, UndeclaredRow};
pub use rows::{Changes, LoadedRows, RowKeys, RowKind, Written};
pub use state::Books;
pub use table::Table;
pub use tithe_free_tier::Rules;
