//! Charges finished work.

use super::settle::FinishedWork;
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_free_tier::work_key;
use tithe_pricing::CostShares;

/// Charges finished work, once. Work that is paid from a hold or from a reservation is charged by ending that; all other work
/// is recognised by its id.
#[derive(Debug, Clone)]
pub struct WorkCharge(pub FinishedWork);

/// What [`WorkCharge`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// The work was charged.
    Now(CostShares),
    /// The work was charged before; nothing has changed.
    Before,
}

impl Command for WorkCharge {
    type Reply = Charged;
    const NAME: &'static str = "work_charge";

    fn declare(&self, keys: &mut RowKeys) {
        let work = &self.0;
        keys.declare_settlement(work.payer, work.absorb, work.identity);
        if work.is_known_by_key() {
            keys.transfers.insert(work_key(work.id));
        }
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Charged, Refusal> {
        let work = &self.0;
        if work.is_known_by_key() && books.rows.transfers.exists(&work_key(work.id))? {
            return Ok(Charged::Before);
        }
        books.settle(work).map(Charged::Now)
    }
}
