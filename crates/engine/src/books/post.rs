//! A movement of money by itself.

use super::command::Command;
use super::ledger::Posting;
use super::refusal::Refusal;
use super::rows::RowKeys;
use super::state::Books;

/// Moves money between two accounts, once for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post(pub Posting);

/// What [`Post`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// The money has moved.
    Now,
    /// A transfer with this key was made before; nothing has changed.
    Before,
}

impl Command for Post {
    type Reply = Posted;
    const NAME: &'static str = "post";

    fn declare(&self, keys: &mut RowKeys) {
        keys.transfers.insert(self.0.key.clone());
        keys.declare_account(self.0.debit);
        keys.declare_account(self.0.credit);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Posted, Refusal> {
        if books.rows.transfers.exists(&self.0.key)? {
            return Ok(Posted::Before);
        }
        books.post(self.0.clone())?;
        Ok(Posted::Now)
    }
}
