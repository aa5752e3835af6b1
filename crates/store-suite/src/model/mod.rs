//! Random commands against a naive reference: one after the other, and from several streams at once.
//!
//! The reference (`world`) says what each command must reply and what must be stored afterwards: every score and budget window,
//! the pool, every hold, reservation, grant, job and bill, the ledger. [`drive`] sends batches and compares after each. [`race`]
//! lets streams of commands meet on two servers, finds out in which order the batches were committed (`recorder`), and gives the
//! reference the same commands in that order: every reply and everything that is left must be the same.

mod ask_op;
mod asks;
mod calendar;
mod compare;
mod compare_credits;
mod holds;
mod installs;
mod numbers;
mod op;
mod race;
mod recorder;
mod rows;
mod rules;
mod run;
mod usage;
mod work;
mod world;

pub use race::race;
pub use run::{Course, Tally, drive};
