//! Posting a transfer.

use crate::{Account, AccountId, LedgerError, Transfer};

/// What a posting changes: the caller writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The transfer, to be added.
    pub transfer: Transfer,
    /// The guarded accounts that it moves money between, with their new balances.
    pub accounts: Vec<Account>,
}

impl Posted {
    /// The row of this account, if the transfer has changed it.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id() == id)
    }
}

/// Posts a transfer, once for each key.
///
/// `existing` is the stored transfer with the same key, if there is one, and `accounts` are the rows of the guarded accounts
/// that the transfer touches; an account that has never been used is [`Account::open`]. Returns `None` if the transfer was
/// posted before: there is nothing to do.
///
/// The caller must read `existing` and `accounts` and write the result in one database transaction that nothing else can
/// change in between. Nothing else is left to do.
///
/// # Errors
/// [`LedgerError::Insufficient`] if the debited account has too little available, [`LedgerError::MissingAccount`] if a row is
/// missing, [`LedgerError::KeyReused`] if the existing transfer is a different one, [`LedgerError::ZeroAmount`] if nothing
/// moves.
pub fn post(
    transfer: Transfer,
    existing: Option<&Transfer>,
    accounts: &[Account],
) -> Result<Option<Posted>, LedgerError> {
    let transfer = transfer.checked()?;
    if let Some(existing) = existing {
        let same = Transfer { created_at: existing.created_at, ..transfer };
        return if same == *existing { Ok(None) } else { Err(LedgerError::KeyReused(same.key)) };
    }
    let row = |id: AccountId| {
        let found = accounts.iter().find(|account| account.id() == id);
        found.ok_or(LedgerError::MissingAccount(id))
    };
    let mut changed = Vec::new();
    if transfer.debit.is_guarded() {
        changed.push(row(transfer.debit)?.debit(transfer.amount)?);
    }
    if transfer.credit.is_guarded() {
        changed.push(row(transfer.credit)?.credit(transfer.amount)?);
    }
    Ok(Some(Posted { transfer, accounts: changed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TransferKey, TransferKind};
    use tithe_clock::Timestamp;
    use tithe_money::Msats;
    use uuid::Uuid;

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    const A: AccountId = AccountId::Session(Uuid::nil());
    const B: AccountId = AccountId::Job(Uuid::nil());

    fn transfer(debit: AccountId, credit: AccountId, amount: u64) -> Transfer {
        Transfer {
            key: TransferKey::new("k"),
            debit,
            credit,
            amount: msats(amount),
            kind: TransferKind::Adjustment,
            reference: Uuid::nil(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn both_guarded_accounts_change_by_the_amount() {
        let accounts = [Account::restore(A, msats(9), Msats::ZERO).unwrap(), Account::open(B).unwrap()];
        let posted = post(transfer(A, B, 4), None, &accounts).unwrap().unwrap();
        assert_eq!(posted.account(A).unwrap().balance(), msats(5));
        assert_eq!(posted.account(B).unwrap().balance(), msats(4));
        assert!(post(transfer(AccountId::Operator, AccountId::Revenue, 4), None, &[]).unwrap().is_some());
    }

    #[test]
    fn a_key_is_posted_once_and_never_for_something_else() {
        let accounts = [Account::restore(A, msats(9), Msats::ZERO).unwrap()];
        let first = transfer(A, AccountId::Revenue, 4);
        let later = Transfer {
            created_at: Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(1),
            ..first.clone()
        };
        assert_eq!(post(later, Some(&first), &accounts), Ok(None));
        let other = transfer(A, AccountId::Revenue, 5);
        assert_eq!(post(other, Some(&first), &accounts), Err(LedgerError::KeyReused(first.key)));
    }

    #[test]
    fn a_forgotten_row_is_an_error_and_not_an_empty_account() {
        let missing = post(transfer(AccountId::Wallet, A, 4), None, &[Account::open(B).unwrap()]);
        assert_eq!(missing, Err(LedgerError::MissingAccount(A)));
        let poor = post(transfer(A, B, 4), None, &[Account::open(A).unwrap(), Account::open(B).unwrap()]);
        assert!(matches!(poor, Err(LedgerError::Insufficient { .. })));
        assert_eq!(post(transfer(A, A, 4), None, &[]), Err(LedgerError::ZeroAmount));
        assert_eq!(post(transfer(A, B, 0), None, &[]), Err(LedgerError::ZeroAmount));
    }
}
