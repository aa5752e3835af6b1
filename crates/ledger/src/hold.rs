//! Two-phase holds: an amount is reserved before work starts; the hold is settled, released or expired exactly once.

use crate::{
    Account, AccountId, Charge, Charged, LedgerError, Lifecycle, LifecycleError, Transfer, TransferKey,
    TransferKeys, charge,
};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::{Entropy, Timestamp};
use tithe_money::Msats;
use uuid::Uuid;

/// The id of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HoldId(pub Uuid);

impl HoldId {
    /// A new id.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }

    /// The key of the first transfer that settles the hold. The keys of the settlement's other transfers begin with it.
    #[must_use]
    pub fn charge_key(self) -> TransferKey {
        TransferKey::new(format!("hold:{self}:charge"))
    }
}

impl FromStr for HoldId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a hold: it is set aside until a time, and what it takes is the amount that was charged.
pub type HoldState = Lifecycle<Timestamp, Msats>;

/// An amount reserved on a guarded account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hold {
    /// The hold's id.
    pub id: HoldId,
    /// The account that the amount is reserved on.
    pub account: AccountId,
    /// The reserved amount.
    pub amount: Msats,
    /// The hold's state.
    pub state: HoldState,
    /// When the hold was placed.
    pub created_at: Timestamp,
    /// When the hold last changed.
    pub updated_at: Timestamp,
}

/// What the end of a hold changes: the caller writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldEnded {
    /// The hold, ended.
    pub hold: Hold,
    /// The account, without the amount held and after the charge.
    pub account: Account,
    /// The amount that the account paid.
    pub charged: Msats,
    /// The part of the cost that nobody paid.
    pub uncollected: Msats,
    /// The account that received the charge's share, if something was shared.
    pub shared: Option<Account>,
    /// The transfers, to be added. The accounts above include them.
    pub transfers: Vec<Transfer>,
}

impl From<HoldEnded> for Charged {
    fn from(ended: HoldEnded) -> Self {
        let HoldEnded { account, charged, uncollected, shared, transfers, .. } = ended;
        Self { account, charged, uncollected, shared, transfers }
    }
}

impl Hold {
    /// Reserves `amount` on `account` for as long as `lease`, unless it is renewed. The caller stores the hold and the account
    /// in one transaction.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] if less is available, [`LedgerError::ZeroAmount`] for a zero amount.
    pub fn place(
        account: &Account,
        id: HoldId,
        amount: Msats,
        now: Timestamp,
        lease: Duration,
    ) -> Result<(Self, Account), LedgerError> {
        if amount.is_zero() {
            return Err(LedgerError::ZeroAmount);
        }
        let state = HoldState::Held { lease: now + lease };
        let hold = Self { id, account: account.id(), amount, state, created_at: now, updated_at: now };
        Ok((hold, account.hold(amount)?))
    }

    /// The keys of the transfers that settle this hold. If the pool pays a part, its grant takes the first key.
    #[must_use]
    pub fn keys(&self) -> TransferKeys {
        TransferKeys::new(self.id.charge_key())
    }

    /// Extends the lease to `lease` after `now`. The caller stores the hold.
    ///
    /// # Errors
    /// [`LedgerError::HoldEnded`] if the hold has ended.
    pub fn renew(&self, now: Timestamp, lease: Duration) -> Result<Self, LedgerError> {
        let renewed = self.state.renewed(now + lease).map_err(|failure| self.refused(failure))?;
        Ok(self.moved(renewed, now))
    }

    /// Reserves `more` of the account for the same work, which goes on. The caller stores the hold and the account in one
    /// transaction.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] if less is available, [`LedgerError::HoldEnded`] if the hold has ended,
    /// [`LedgerError::OtherAccount`].
    pub fn extend(
        &self,
        account: &Account,
        more: Msats,
        now: Timestamp,
    ) -> Result<(Self, Account), LedgerError> {
        self.check_account(account)?;
        self.state.lease().map_err(|failure| self.refused(failure))?;
        let extended = Self { amount: self.amount.checked_add(more)?, ..self.moved(self.state, now) };
        Ok((extended, account.hold(more)?))
    }

    /// Ends the hold with the work done: charges its cost and returns the rest.
    ///
    /// The account pays from this hold and from its available balance, never from another hold. If the hold has
    /// expired, the account still pays from its available balance, once. The remainder is `uncollected`.
    ///
    /// The charge's keys must be [`Hold::keys`]: the auditor finds the hold's transfers by them. The caller stores all of the
    /// result in one transaction; nothing else is left to do.
    ///
    /// # Errors
    /// [`LedgerError::HoldEnded`] if the hold was already settled or released.
    pub fn settle(
        &self,
        account: &Account,
        charge: Charge<'_>,
        now: Timestamp,
    ) -> Result<HoldEnded, LedgerError> {
        self.check_account(account)?;
        let is_late = self.state.is_late().map_err(|failure| self.refused(failure))?;
        let account = if is_late { account.clone() } else { account.unhold(self.amount)? };
        let paid = charge::charge(&account, charge, now)?;
        let charged = paid.charged;
        let state = self.state.settled(charged).map_err(|failure| self.refused(failure))?;
        Ok(HoldEnded {
            hold: self.moved(state, now),
            account: paid.account,
            charged,
            uncollected: paid.uncollected,
            shared: paid.shared,
            transfers: paid.transfers,
        })
    }

    /// Ends the hold with the work not done: returns the whole amount. The caller stores the hold and the account in one
    /// transaction.
    ///
    /// # Errors
    /// [`LedgerError::HoldEnded`] if the hold has ended.
    pub fn release(&self, account: &Account, now: Timestamp) -> Result<HoldEnded, LedgerError> {
        let released = self.state.released().map_err(|failure| self.refused(failure))?;
        self.give_back(account, released, now)
    }

    /// Ends the hold because its lease has ended: returns the whole amount. The caller stores the hold and the account in one
    /// transaction.
    ///
    /// # Errors
    /// [`LedgerError::HoldLive`] while the lease runs, [`LedgerError::HoldEnded`] if the hold has ended.
    pub fn expire(&self, account: &Account, now: Timestamp) -> Result<HoldEnded, LedgerError> {
        let expired = self.state.expired(now).map_err(|failure| self.refused(failure))?;
        self.give_back(account, expired, now)
    }

    fn give_back(
        &self,
        account: &Account,
        state: HoldState,
        now: Timestamp,
    ) -> Result<HoldEnded, LedgerError> {
        self.check_account(account)?;
        Ok(HoldEnded {
            hold: self.moved(state, now),
            account: account.unhold(self.amount)?,
            charged: Msats::ZERO,
            uncollected: Msats::ZERO,
            shared: None,
            transfers: Vec::new(),
        })
    }

    fn moved(&self, state: HoldState, now: Timestamp) -> Self {
        Self { state, updated_at: now, ..self.clone() }
    }

    const fn refused(&self, failure: LifecycleError) -> LedgerError {
        match failure {
            LifecycleError::Ended(state) => LedgerError::HoldEnded { hold: self.id, state },
            LifecycleError::Live => LedgerError::HoldLive(self.id),
        }
    }

    fn check_account(&self, account: &Account) -> Result<(), LedgerError> {
        if account.id() == self.account {
            return Ok(());
        }
        Err(LedgerError::OtherAccount { hold: self.id, account: account.id() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: Duration = Duration::from_mins(1);

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn held() -> (Hold, Account) {
        let account = Account::open(AccountId::Session(Uuid::nil())).unwrap().credit(msats(100)).unwrap();
        Hold::place(&account, HoldId(Uuid::nil()), msats(60), NOW, LEASE).unwrap()
    }

    fn settle(hold: &Hold, account: &Account, cost: u64) -> Result<HoldEnded, LedgerError> {
        hold.settle(account, Charge::of(msats(cost), Uuid::nil(), &mut hold.keys()), NOW)
    }

    #[test]
    fn a_hold_ends_once() {
        let (hold, account) = held();
        let settled = settle(&hold, &account, 10).unwrap();
        let released = hold.release(&account, NOW).unwrap();
        assert_eq!((settled.account.balance(), settled.account.held()), (msats(90), Msats::ZERO));
        assert_eq!((released.account.balance(), released.account.held()), (msats(100), Msats::ZERO));
        assert_eq!(settled.transfers[0].key, hold.id.charge_key());
        assert!(released.transfers.is_empty());
        for ended in [settled.hold, released.hold] {
            let account = &settled.account;
            assert!(matches!(settle(&ended, account, 1), Err(LedgerError::HoldEnded { .. })));
            assert!(matches!(ended.release(account, NOW), Err(LedgerError::HoldEnded { .. })));
            assert!(matches!(ended.expire(account, NOW + LEASE), Err(LedgerError::HoldEnded { .. })));
            assert!(matches!(ended.renew(NOW, LEASE), Err(LedgerError::HoldEnded { .. })));
        }
    }

    #[test]
    fn a_lease_protects_the_hold_until_it_runs_out() {
        let (hold, account) = held();
        let renewed = hold.renew(NOW + LEASE, LEASE).unwrap();
        assert_eq!(renewed.expire(&account, NOW + LEASE), Err(LedgerError::HoldLive(hold.id)));
        let expired = renewed.expire(&account, NOW + LEASE + LEASE).unwrap();
        assert_eq!(expired.account.available(), msats(100));
        assert_eq!(expired.hold.state, HoldState::Expired { late: None });
    }

    #[test]
    fn a_hold_grows_while_the_balance_lasts_and_ends_as_one() {
        let (hold, account) = held();
        let (hold, account) = hold.extend(&account, msats(30), NOW + LEASE).unwrap();
        assert_eq!((hold.amount, account.held(), account.available()), (msats(90), msats(90), msats(10)));
        assert_eq!(hold.updated_at, NOW + LEASE);
        assert!(matches!(hold.extend(&account, msats(11), NOW), Err(LedgerError::Insufficient { .. })));
        let (same, _) = hold.extend(&account, Msats::ZERO, NOW + LEASE).unwrap();
        assert_eq!(same, hold);
        let settled = settle(&hold, &account, 80).unwrap();
        assert_eq!((settled.account.balance(), settled.account.held()), (msats(20), Msats::ZERO));
        let released = hold.release(&account, NOW).unwrap();
        assert_eq!(released.account.available(), msats(100));
        for ended in [settled.hold, released.hold, hold.expire(&account, NOW + LEASE).unwrap().hold] {
            assert!(matches!(ended.extend(&account, msats(1), NOW), Err(LedgerError::HoldEnded { .. })));
        }
        let other = Account::open(AccountId::Pool).unwrap();
        assert!(matches!(hold.extend(&other, msats(1), NOW), Err(LedgerError::OtherAccount { .. })));
    }

    #[test]
    fn a_hold_that_expired_charges_only_what_is_left() {
        let (hold, account) = held();
        let expired = hold.expire(&account, NOW + LEASE).unwrap();
        let account = expired.account.debit(msats(80)).unwrap();
        let late = settle(&expired.hold, &account, 50).unwrap();
        assert_eq!((late.charged, late.uncollected), (msats(20), msats(30)));
        assert_eq!(late.account.balance(), Msats::ZERO);
        assert!(settle(&late.hold, &late.account, 50).is_err());
    }

    #[test]
    fn an_overrun_never_spends_another_hold() {
        let (hold, account) = held();
        let (_other, account) = Hold::place(&account, HoldId(Uuid::max()), msats(30), NOW, LEASE).unwrap();
        let settled = settle(&hold, &account, 90).unwrap();
        assert_eq!((settled.charged, settled.uncollected), (msats(70), msats(20)));
        assert_eq!((settled.account.balance(), settled.account.held()), (msats(30), msats(30)));
    }

    #[test]
    fn more_than_is_available_cannot_be_held() {
        let (_hold, account) = held();
        let id = HoldId(Uuid::max());
        assert!(matches!(
            Hold::place(&account, id, msats(41), NOW, LEASE),
            Err(LedgerError::Insufficient { .. })
        ));
        assert_eq!(Hold::place(&account, id, Msats::ZERO, NOW, LEASE), Err(LedgerError::ZeroAmount));
    }

    #[test]
    fn a_hold_is_not_ended_on_another_account() {
        let (hold, _account) = held();
        let other = Account::open(AccountId::Pool).unwrap();
        assert!(matches!(settle(&hold, &other, 1), Err(LedgerError::OtherAccount { .. })));
        assert!(matches!(hold.release(&other, NOW), Err(LedgerError::OtherAccount { .. })));
        assert!(matches!(hold.expire(&other, NOW + LEASE), Err(LedgerError::OtherAccount { .. })));
    }

    #[test]
    fn random_ids_differ() {
        let entropy = tithe_clock::SeededEntropy::new(1);
        let (one, two) = (HoldId::random(&entropy), HoldId::random(&entropy));
        assert_ne!(one, two);
        assert_eq!(one.0.get_version_num(), 4);
        assert_eq!(one.to_string().parse(), Ok(one));
    }
}
