//! Refunding what is left in an account.

use crate::{Account, AccountId, LedgerError, Transfer, TransferKey, TransferKind};
use tithe_clock::Timestamp;
use tithe_money::{Msats, Sats};
use uuid::Uuid;

/// What a refund changes: the caller writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    /// The account, without what was available.
    pub account: Account,
    /// The amount that is owed to the customer now.
    pub refund: Sats,
    /// The transfers, to be added: `rounding` and `refund_accrued`, each only if it moves something.
    pub transfers: Vec<Transfer>,
}

/// Empties the account of something that has ended: whole sats are owed to the customer (`refunds_due`); the rest, which no
/// payment can carry, is booked to `rounding`. Amounts that are held stay; while any is held, so does the fraction of a sat, which
/// what is left of the hold may complete.
///
/// `owner` is the id of what has ended, and `occasion` distinguishes several refunds of one owner: a refund is made once for
/// each pair. The refund is still to be paid out.
///
/// # Errors
/// [`LedgerError::Money`] if an amount is out of range.
pub fn refund(
    account: &Account,
    owner: Uuid,
    occasion: &str,
    now: Timestamp,
) -> Result<Refunded, LedgerError> {
    let left = account.available();
    let refund = left.to_sats_rounding_down();
    let fraction = left.checked_sub(refund.to_msats())?;
    let rest = if account.held().is_zero() { fraction } else { Msats::ZERO };
    let transfer = |name: &str, credit, amount, kind| Transfer {
        key: TransferKey::new(format!("{name}:{owner}:{occasion}")),
        debit: account.id(),
        credit,
        amount,
        kind,
        reference: owner,
        created_at: now,
    };
    let parts: [(&str, AccountId, Msats, TransferKind); 2] = [
        ("rounding", AccountId::Rounding, rest, TransferKind::Rounding),
        ("refund", AccountId::RefundsDue, refund.to_msats(), TransferKind::RefundAccrued),
    ];
    let moved = parts.into_iter().filter(|(_, _, amount, _)| !amount.is_zero());
    let transfers = moved.map(|(name, credit, amount, kind)| transfer(name, credit, amount, kind)).collect();
    Ok(Refunded { account: account.debit(refund.to_msats().checked_add(rest)?)?, refund, transfers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_sats_are_owed_and_the_rest_is_rounding() {
        let id = AccountId::Job(Uuid::nil());
        for (balance, held, refund, transfers, left) in [
            (0, 0, 0, 0, 0),
            (999, 0, 0, 1, 0),
            (1_000, 0, 1, 1, 0),
            (2_345, 0, 2, 2, 0),
            (9_000, 5_500, 3, 1, 6_000),
            (5_900, 5_500, 0, 0, 5_900),
        ] {
            let msats = |n| Msats::new(n).unwrap();
            let account = Account::restore(id, msats(balance), msats(held)).unwrap();
            let done = super::refund(&account, Uuid::nil(), "end", Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!((done.refund.get(), done.transfers.len()), (refund, transfers), "{balance}");
            let moved: u64 = done.transfers.iter().map(|transfer| transfer.amount.get()).sum();
            assert_eq!((done.account.balance().get(), moved), (left, balance - left));
        }
    }
}
