//! Two-phase holds: an amount is reserved before work starts; the hold is settled, released or expired exactly once.

use crate::{Account, AccountId, LedgerError};
use std::fmt;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use uuid::Uuid;

/// The id of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub Uuid);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// The amount is reserved. Live work renews the lease; once the lease has ended, a sweeper may expire the hold.
    Held {
        /// When the lease ends.
        lease_until: Timestamp,
    },
    /// The work was done and charged.
    Settled {
        /// The amount charged.
        charged: Msats,
    },
    /// The work was not done; nothing was charged.
    Released,
    /// The lease ended and the amount was returned to the account.
    Expired {
        /// The amount charged if the work turned out to be done after all; at most once.
        charged_late: Option<Msats>,
    },
}

impl HoldState {
    /// The name used by the stores.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Settled { .. } => "settled",
            Self::Released => "released",
            Self::Expired { .. } => "expired",
        }
    }
}

/// An amount reserved on a guarded account.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The result of settling a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldSettled {
    /// The account after the charge.
    pub account: Account,
    /// The settled hold.
    pub hold: Hold,
    /// The amount that the account paid.
    pub charged: Msats,
    /// The amount that the account could not pay, to be booked as uncollected.
    pub uncollected: Msats,
}

impl Hold {
    /// Reserves `amount` on `account`.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] if less is available, [`LedgerError::ZeroAmount`] for a zero amount.
    pub fn place(
        account: &Account,
        id: HoldId,
        amount: Msats,
        now: Timestamp,
        lease: Duration,
    ) -> Result<(Account, Self), LedgerError> {
        if amount.is_zero() {
            return Err(LedgerError::ZeroAmount);
        }
        let state = HoldState::Held { lease_until: now + lease };
        let hold = Self { id, account: account.id(), amount, state, created_at: now, updated_at: now };
        Ok((account.hold(amount)?, hold))
    }

    /// Extends the lease to `lease` after `now`.
    ///
    /// # Errors
    /// [`LedgerError::HoldEnded`] if the hold has ended.
    pub fn renew(&self, now: Timestamp, lease: Duration) -> Result<Self, LedgerError> {
        self.live_lease()?;
        Ok(self.moved(HoldState::Held { lease_until: now + lease }, now))
    }

    /// Charges the cost of the work and returns the rest.
    ///
    /// The account pays from this hold and from its available balance, never from another hold. If the hold has
    /// expired, the account still pays from its available balance. The remainder is `uncollected`.
    ///
    /// # Errors
    /// [`LedgerError::HoldEnded`] if the hold was already settled or released.
    pub fn settle(&self, account: &Account, cost: Msats, now: Timestamp) -> Result<HoldSettled, LedgerError> {
        self.check_account(account)?;
        let (account, late) = match self.state {
            HoldState::Held { .. } => (account.unhold(self.amount)?, false),
            HoldState::Expired { charged_late: None } => (account.clone(), true),
            _ => return Err(self.ended()),
        };
        let charged = cost.min(account.available());
        let uncollected = cost.checked_sub(charged)?;
        let state = if late {
            HoldState::Expired { charged_late: Some(charged) }
        } else {
            HoldState::Settled { charged }
        };
        Ok(HoldSettled {
            account: account.debit(charged)?,
            hold: self.moved(state, now),
            charged,
            uncollected,
        })
    }

    /// Returns the whole amount: the work was not done.
    ///
    /// # Errors
    /// [`LedgerError::HoldEnded`] if the hold has ended.
    pub fn release(&self, account: &Account, now: Timestamp) -> Result<(Account, Self), LedgerError> {
        self.check_account(account)?;
        self.live_lease()?;
        Ok((account.unhold(self.amount)?, self.moved(HoldState::Released, now)))
    }

    /// Returns the whole amount because the lease has ended.
    ///
    /// # Errors
    /// [`LedgerError::HoldLive`] while the lease runs, [`LedgerError::HoldEnded`] if the hold has ended.
    pub fn expire(&self, account: &Account, now: Timestamp) -> Result<(Account, Self), LedgerError> {
        self.check_account(account)?;
        if now < self.live_lease()? {
            return Err(LedgerError::HoldLive(self.id));
        }
        let state = HoldState::Expired { charged_late: None };
        Ok((account.unhold(self.amount)?, self.moved(state, now)))
    }

    fn moved(&self, state: HoldState, now: Timestamp) -> Self {
        Self { state, updated_at: now, ..self.clone() }
    }

    fn live_lease(&self) -> Result<Timestamp, LedgerError> {
        match self.state {
            HoldState::Held { lease_until } => Ok(lease_until),
            _ => Err(self.ended()),
        }
    }

    const fn ended(&self) -> LedgerError {
        LedgerError::HoldEnded { hold: self.id, state: self.state.name() }
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

    fn held() -> (Account, Hold) {
        let account = Account::open(AccountId::Session(Uuid::nil())).credit(msats(100)).unwrap();
        Hold::place(&account, HoldId(Uuid::nil()), msats(60), NOW, LEASE).unwrap()
    }

    #[test]
    fn a_hold_ends_once() {
        let (account, hold) = held();
        let settled = hold.settle(&account, msats(10), NOW).unwrap();
        let (released, _) = hold.release(&account, NOW).unwrap();
        assert_eq!((settled.account.balance(), settled.account.held()), (msats(90), Msats::ZERO));
        assert_eq!((released.balance(), released.held()), (msats(100), Msats::ZERO));
        for ended in [settled.hold.clone(), hold.release(&account, NOW).unwrap().1] {
            let account = &settled.account;
            assert!(matches!(ended.settle(account, msats(1), NOW), Err(LedgerError::HoldEnded { .. })));
            assert!(matches!(ended.release(account, NOW), Err(LedgerError::HoldEnded { .. })));
            assert!(matches!(ended.expire(account, NOW + LEASE), Err(LedgerError::HoldEnded { .. })));
            assert!(matches!(ended.renew(NOW, LEASE), Err(LedgerError::HoldEnded { .. })));
        }
    }

    #[test]
    fn a_lease_protects_the_hold_until_it_runs_out() {
        let (account, hold) = held();
        let renewed = hold.renew(NOW + LEASE, LEASE).unwrap();
        assert_eq!(renewed.expire(&account, NOW + LEASE), Err(LedgerError::HoldLive(hold.id)));
        let (account, expired) = renewed.expire(&account, NOW + LEASE + LEASE).unwrap();
        assert_eq!(account.available(), msats(100));
        assert_eq!(expired.state, HoldState::Expired { charged_late: None });
    }

    #[test]
    fn a_hold_that_expired_charges_only_what_is_left() {
        let (account, hold) = held();
        let (account, expired) = hold.expire(&account, NOW + LEASE).unwrap();
        let account = account.debit(msats(80)).unwrap();
        let late = expired.settle(&account, msats(50), NOW + LEASE).unwrap();
        assert_eq!((late.charged, late.uncollected), (msats(20), msats(30)));
        assert_eq!(late.account.balance(), Msats::ZERO);
        assert!(late.hold.settle(&late.account, msats(50), NOW).is_err());
    }

    #[test]
    fn an_overrun_never_spends_another_hold() {
        let (account, hold) = held();
        let (account, _other) = Hold::place(&account, HoldId(Uuid::max()), msats(30), NOW, LEASE).unwrap();
        let settled = hold.settle(&account, msats(90), NOW).unwrap();
        assert_eq!((settled.charged, settled.uncollected), (msats(70), msats(20)));
        assert_eq!((settled.account.balance(), settled.account.held()), (msats(30), msats(30)));
    }

    #[test]
    fn more_than_is_available_cannot_be_held() {
        let (account, _hold) = held();
        let id = HoldId(Uuid::max());
        assert!(matches!(
            Hold::place(&account, id, msats(41), NOW, LEASE),
            Err(LedgerError::Insufficient { .. })
        ));
        assert_eq!(Hold::place(&account, id, Msats::ZERO, NOW, LEASE), Err(LedgerError::ZeroAmount));
    }

    #[test]
    fn a_hold_is_not_settled_on_another_account() {
        let (_account, hold) = held();
        let other = Account::open(AccountId::Pool);
        assert!(matches!(hold.settle(&other, msats(1), NOW), Err(LedgerError::OtherAccount { .. })));
    }
}
