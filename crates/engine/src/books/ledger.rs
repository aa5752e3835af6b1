//! Moving money between accounts.

use super::refusal::Refusal;
use super::rows::RowKeys;
use super::state::Books;
use tithe_ledger::{Account, AccountId, Transfer, TransferKey, TransferKind};
use tithe_money::Msats;
use uuid::Uuid;

/// A movement of money that is to be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The key that makes the transfer unique.
    pub key: TransferKey,
    /// The account that the money leaves.
    pub debit: AccountId,
    /// The account that the money enters.
    pub credit: AccountId,
    /// The amount.
    pub amount: Msats,
    /// Why the money moves.
    pub kind: TransferKind,
    /// The id of what the movement is about, such as a job.
    pub reference: Uuid,
}

impl RowKeys {
    /// Declares an account, if it is a guarded one: the others have no row.
    pub fn declare_account(&mut self, id: AccountId) {
        if id.is_guarded() {
            self.accounts.insert(id);
        }
    }
}

impl Books<'_> {
    /// A guarded account. One that has never been used is empty.
    ///
    /// # Errors
    /// [`Refusal::Undeclared`].
    pub fn account(&self, id: AccountId) -> Result<Account, Refusal> {
        Ok(self.rows.accounts.get(&id)?.cloned().unwrap_or_else(|| Account::open(id)))
    }

    /// Books a movement: a transfer, and the balances of its guarded accounts.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when the debited account has too little available, or nothing moves.
    pub fn post(&mut self, posting: Posting) -> Result<(), Refusal> {
        if posting.debit.is_guarded() {
            let account = self.account(posting.debit)?.debit(posting.amount)?;
            self.rows.accounts.put(account)?;
        }
        self.post_debited(posting)
    }

    /// Books a movement whose debited account has been debited already: by the end of a hold on it.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when nothing moves.
    pub fn post_debited(&mut self, posting: Posting) -> Result<(), Refusal> {
        let Posting { key, debit, credit, amount, kind, reference } = posting;
        if credit.is_guarded() {
            let account = self.account(credit)?.credit(amount)?;
            self.rows.accounts.put(account)?;
        }
        let transfer = Transfer { key, debit, credit, amount, kind, reference, created_at: self.now() };
        self.rows.transfers.push(transfer.checked()?);
        Ok(())
    }
}
