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
        match self.rows.accounts.get(&id)? {
            Some(account) => Ok(account.clone()),
            None => Ok(Account::open(id)?),
        }
    }

    /// Books a movement: a transfer, and the balances of its guarded accounts.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when the debited account has too little available, or nothing moves.
    pub fn post(&mut self, posting: Posting) -> Result<(), Refusal> {
        let Posting { key, debit, credit, amount, kind, reference } = posting;
        let transfer = Transfer { key, debit, credit, amount, kind, reference, created_at: self.now() };
        let guarded = [debit, credit].into_iter().filter(|id| id.is_guarded());
        let accounts = guarded.map(|id| self.account(id)).collect::<Result<Vec<_>, Refusal>>()?;
        if let Some(posted) = tithe_ledger::post(transfer, None, &accounts)? {
            for account in posted.accounts {
                self.rows.accounts.put(account)?;
            }
            self.rows.transfers.push(posted.transfer);
        }
        Ok(())
    }

    /// Adds transfers whose accounts are written by the caller.
    pub(crate) fn transfers_write(&mut self, transfers: Vec<Transfer>) {
        for transfer in transfers {
            self.rows.transfers.push(transfer);
        }
    }
}
