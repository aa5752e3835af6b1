//! Charging an account for finished work.

use crate::{Account, AccountId, LedgerError, Transfer, TransferKey, TransferKind};
use tithe_clock::Timestamp;
use tithe_money::{BasisPoints, Msats};
use uuid::Uuid;

/// The keys of the transfers of one settlement. The first transfer, whatever its kind, has the base key, so a look-up of that
/// key says whether the settlement was made; the keys of the others begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferKeys {
    base: TransferKey,
    used: bool,
}

impl TransferKeys {
    /// Keys that begin with `base`.
    #[must_use]
    pub const fn new(base: TransferKey) -> Self {
        Self { base, used: false }
    }

    /// The key of the next transfer. A settlement has at most one transfer of each kind after the first.
    pub fn next(&mut self, kind: TransferKind) -> TransferKey {
        if std::mem::replace(&mut self.used, true) {
            return TransferKey::new(format!("{}:{kind}", self.base));
        }
        self.base.clone()
    }

    /// The keys that transfers of these kinds can have in the settlement with this base key.
    #[must_use]
    pub fn possible(base: &TransferKey, kinds: &[TransferKind]) -> Vec<TransferKey> {
        let later = kinds.iter().map(|kind| TransferKey::new(format!("{base}:{kind}")));
        std::iter::once(base.clone()).chain(later).collect()
    }

    /// Returns true if a transfer has been made.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.used
    }
}

/// A part of each charge that goes to another account: the pool's tithe.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// The part, rounded down to the msat.
    pub part: BasisPoints,
    /// The account that receives it.
    pub to: &'a Account,
}

/// What finished work costs.
#[derive(Debug)]
pub struct Charge<'a> {
    /// The cost of the work that the payer is asked for.
    pub cost: Msats,
    /// The most that the payer owes, such as the quoted price. Cost above it is `uncollected`: the operator's loss.
    pub limit: Msats,
    /// The part that another account receives.
    pub share: Option<Share<'a>>,
    /// The id of the piece of work.
    pub reference: Uuid,
    /// The keys of the settlement's transfers.
    pub keys: &'a mut TransferKeys,
}

impl<'a> Charge<'a> {
    /// A charge of `cost`, all of which is revenue.
    #[must_use]
    pub const fn of(cost: Msats, reference: Uuid, keys: &'a mut TransferKeys) -> Self {
        Self { cost, limit: Msats::MAX, share: None, reference, keys }
    }
}

/// What a charge changes: the caller writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// The account after the charge.
    pub account: Account,
    /// The amount that the account paid.
    pub charged: Msats,
    /// The part of the cost that nobody paid.
    pub uncollected: Msats,
    /// The account that received the share, if something was shared.
    pub shared: Option<Account>,
    /// The transfers, to be added: `charge`, `tithe` and `uncollected`, each only if it moves something. The accounts above
    /// include them.
    pub transfers: Vec<Transfer>,
}

/// Charges `account` for finished work from what it has available, at most the limit. What it cannot pay, and what exceeds the
/// limit, is booked as uncollected.
///
/// The caller must make sure that the work is charged once, for example by looking up the base key of the charge's keys in
/// the same transaction. A [`crate::Hold`] does that by itself.
///
/// # Errors
/// [`LedgerError::Money`] if an amount is out of range.
pub fn charge(account: &Account, charge: Charge<'_>, now: Timestamp) -> Result<Charged, LedgerError> {
    let Charge { cost, limit, share, reference, keys } = charge;
    let charged = cost.min(limit).min(account.available());
    let uncollected = cost.checked_sub(charged)?;
    let shared = share.map_or(Msats::ZERO, |share| charged.share_rounding_down(share.part));
    let parts = [
        (TransferKind::Charge, AccountId::Revenue, charged.checked_sub(shared)?),
        (TransferKind::Tithe, share.map_or(AccountId::Revenue, |share| share.to.id()), shared),
    ];
    let mut transfers = Vec::new();
    for (kind, credit, amount) in parts.into_iter().filter(|(_, _, amount)| !amount.is_zero()) {
        let key = keys.next(kind);
        let debit = account.id();
        transfers.push(Transfer { key, debit, credit, amount, kind, reference, created_at: now }.checked()?);
    }
    transfers.extend(self::uncollected(uncollected, reference, keys, now));
    let receiver = share.filter(|_| !shared.is_zero());
    Ok(Charged {
        account: account.debit(charged)?,
        charged,
        uncollected,
        shared: receiver.map(|receiver| receiver.to.credit(shared)).transpose()?,
        transfers,
    })
}

/// Charges like [`charge`], but only if the account can pay all that is owed.
///
/// # Errors
/// [`LedgerError::Insufficient`] if it cannot.
pub fn charge_in_full(account: &Account, charge: Charge<'_>, now: Timestamp) -> Result<Charged, LedgerError> {
    let (available, needed) = (account.available(), charge.cost.min(charge.limit));
    if needed > available {
        return Err(LedgerError::Insufficient { account: account.id(), available, needed });
    }
    self::charge(account, charge, now)
}

/// The transfer that books work which nobody pays for as the operator's loss: `operator → revenue`. `None` for nothing.
#[must_use]
pub fn uncollected(
    amount: Msats,
    reference: Uuid,
    keys: &mut TransferKeys,
    now: Timestamp,
) -> Option<Transfer> {
    borne_by_operator(TransferKind::Uncollected, amount, reference, keys, now)
}

/// The transfer that books work which an install's plan includes: `operator → revenue`. `None` for nothing.
#[must_use]
pub fn included_in_plan(
    amount: Msats,
    reference: Uuid,
    keys: &mut TransferKeys,
    now: Timestamp,
) -> Option<Transfer> {
    borne_by_operator(TransferKind::InstallCredit, amount, reference, keys, now)
}

fn borne_by_operator(
    kind: TransferKind,
    amount: Msats,
    reference: Uuid,
    keys: &mut TransferKeys,
    now: Timestamp,
) -> Option<Transfer> {
    (!amount.is_zero()).then(|| Transfer {
        key: keys.next(kind),
        debit: AccountId::Operator,
        credit: AccountId::Revenue,
        amount,
        kind,
        reference,
        created_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn account(id: AccountId, balance: u64, held: u64) -> Account {
        Account::restore(id, msats(balance), msats(held)).unwrap()
    }

    proptest! {
        /// Every msat of the cost is charged or uncollected, every msat charged is revenue or shared, and the transfers say
        /// exactly what the accounts say.
        #[test]
        fn every_msat_is_booked_once(balance in 0_u64..1_000, held in 0_u64..1_000, cost in 0_u64..2_000, limit in 0_u64..2_000, part in 0_u32..=10_000) {
            let payer = account(AccountId::Session(Uuid::nil()), balance, held.min(balance));
            let pool = account(AccountId::Pool, 5, 0);
            let mut keys = TransferKeys::new(TransferKey::new("k"));
            let share = Some(Share { part: BasisPoints::new(part).unwrap(), to: &pool });
            let what = Charge { cost: msats(cost), limit: msats(limit), share, reference: Uuid::nil(), keys: &mut keys };
            let charged = charge(&payer, what, NOW).unwrap();
            prop_assert_eq!(charged.charged.get() + charged.uncollected.get(), cost);
            prop_assert!(charged.charged.get() <= limit);
            prop_assert!(charged.charged <= payer.available());
            let of = |kind| charged.transfers.iter().filter(|transfer| transfer.kind == kind).map(|transfer| transfer.amount.get()).sum::<u64>();
            prop_assert_eq!(of(TransferKind::Charge) + of(TransferKind::Tithe), charged.charged.get());
            prop_assert_eq!(of(TransferKind::Uncollected), charged.uncollected.get());
            prop_assert_eq!(charged.account.balance().get() + charged.charged.get(), balance);
            let pool_after = charged.shared.as_ref().map_or(5, |pool| pool.balance().get());
            prop_assert_eq!(pool_after, 5 + of(TransferKind::Tithe));
            let mut names: Vec<_> = charged.transfers.iter().map(|transfer| transfer.key.clone()).collect();
            names.dedup();
            prop_assert_eq!(names.len(), charged.transfers.len());
            prop_assert_eq!(keys.is_used(), !charged.transfers.is_empty());
        }
    }

    #[test]
    fn a_charge_in_full_is_refused_when_the_account_cannot_pay() {
        let payer = account(AccountId::Session(Uuid::nil()), 10, 3);
        let mut keys = TransferKeys::new(TransferKey::new("k"));
        let refused = charge_in_full(&payer, Charge::of(msats(8), Uuid::nil(), &mut keys), NOW);
        assert!(matches!(refused, Err(LedgerError::Insufficient { .. })));
        assert!(!keys.is_used());
        let what = Charge { limit: msats(7), ..Charge::of(msats(8), Uuid::nil(), &mut keys) };
        let charged = charge_in_full(&payer, what, NOW).unwrap();
        assert_eq!((charged.charged, charged.uncollected), (msats(7), msats(1)));
    }
}
