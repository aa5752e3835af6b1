//! Accounts.

use crate::LedgerError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tithe_money::Msats;
use uuid::Uuid;

/// Names an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AccountId {
    /// What the Lightning wallet holds. Money comes in as a debit of it and goes out as a credit.
    Wallet,
    /// What was earned.
    Revenue,
    /// What is owed to customers and not yet paid out.
    RefundsDue,
    /// What routing has cost.
    RoutingFees,
    /// Parts of sats that no payment can carry.
    Rounding,
    /// The operator's own money: what they put in, and losses that they bear.
    Operator,
    /// Money paid for a job and not yet earned. Guarded.
    Job(Uuid),
    /// A session's balance. Guarded.
    Session(Uuid),
    /// The generosity pool. Guarded. Last in the order, so that what all share is locked last.
    Pool,
}

/// The text names no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no account")]
pub struct UnknownAccount(String);

impl AccountId {
    /// Whether the account keeps a row with its balance, which must never go below zero nor below what is held on it.
    #[must_use]
    pub const fn is_guarded(self) -> bool {
        matches!(self, Self::Job(_) | Self::Session(_) | Self::Pool)
    }

    const SINGLE: [(Self, &'static str); 7] = [
        (Self::Wallet, "wallet"),
        (Self::Revenue, "revenue"),
        (Self::RefundsDue, "refunds_due"),
        (Self::RoutingFees, "routing_fees"),
        (Self::Rounding, "rounding"),
        (Self::Operator, "operator"),
        (Self::Pool, "pool"),
    ];
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "job:{id}"),
            Self::Session(id) => write!(f, "session:{id}"),
            single => {
                let name = Self::SINGLE.iter().find(|(id, _)| id == single).map_or("", |(_, name)| name);
                f.write_str(name)
            }
        }
    }
}

impl FromStr for AccountId {
    type Err = UnknownAccount;

    fn from_str(text: &str) -> Result<Self, UnknownAccount> {
        if let Some((id, _)) = Self::SINGLE.iter().find(|(_, name)| *name == text) {
            return Ok(*id);
        }
        let unknown = || UnknownAccount(text.to_owned());
        let (kind, id) = text.split_once(':').ok_or_else(unknown)?;
        let id = id.parse().map_err(|_| unknown())?;
        match kind {
            "job" => Ok(Self::Job(id)),
            "session" => Ok(Self::Session(id)),
            _ => Err(unknown()),
        }
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for AccountId {
    type Error = UnknownAccount;
    fn try_from(text: String) -> Result<Self, UnknownAccount> {
        text.parse()
    }
}

/// A guarded account: `0 ≤ held ≤ balance`, always (invariant I2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    id: AccountId,
    balance: Msats,
    held: Msats,
}

impl Account {
    /// A new account with nothing in it.
    #[must_use]
    pub const fn open(id: AccountId) -> Self {
        Self { id, balance: Msats::ZERO, held: Msats::ZERO }
    }

    /// The account that a store has kept. What it holds is taken as it is; [`crate::Auditor`] checks it.
    #[must_use]
    pub const fn restore(id: AccountId, balance: Msats, held: Msats) -> Self {
        Self { id, balance, held }
    }

    /// Which account.
    #[must_use]
    pub const fn id(&self) -> AccountId {
        self.id
    }

    /// All that is in it.
    #[must_use]
    pub const fn balance(&self) -> Msats {
        self.balance
    }

    /// The part that is set aside.
    #[must_use]
    pub const fn held(&self) -> Msats {
        self.held
    }

    /// The part that is not set aside.
    #[must_use]
    pub const fn available(&self) -> Msats {
        self.balance.saturating_sub(self.held)
    }

    /// The account with `amount` more in it.
    ///
    /// # Errors
    /// [`LedgerError::Money`] beyond all the money there is.
    pub fn credit(&self, amount: Msats) -> Result<Self, LedgerError> {
        Ok(Self { balance: self.balance.checked_add(amount)?, ..self.clone() })
    }

    /// The account with `amount` less in it, taken from what is available.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] when less is available.
    pub fn debit(&self, amount: Msats) -> Result<Self, LedgerError> {
        self.need(amount)?;
        Ok(Self { balance: self.balance.checked_sub(amount)?, ..self.clone() })
    }

    /// The account with `amount` more of it set aside, of what is available. Whoever does it keeps a row that says what for: a
    /// hold, or a reservation.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] when less is available.
    pub fn hold(&self, amount: Msats) -> Result<Self, LedgerError> {
        self.need(amount)?;
        Ok(Self { held: self.held.checked_add(amount)?, ..self.clone() })
    }

    /// The account with `amount` less set aside.
    ///
    /// # Errors
    /// [`LedgerError::Money`] when less was.
    pub fn unhold(&self, amount: Msats) -> Result<Self, LedgerError> {
        Ok(Self { held: self.held.checked_sub(amount)?, ..self.clone() })
    }

    fn need(&self, needed: Msats) -> Result<(), LedgerError> {
        let available = self.available();
        if needed > available {
            return Err(LedgerError::Insufficient { account: self.id, available, needed });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let id = Uuid::from_u128(7);
        let singles = AccountId::SINGLE.iter().map(|(id, _)| *id);
        for account in singles.chain([AccountId::Job(id), AccountId::Session(id)]) {
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        for wrong in ["", "job", "job:", "job:x", "pool:1", "Wallet"] {
            assert!(wrong.parse::<AccountId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_pool_comes_last() {
        let id = Uuid::max();
        assert!(AccountId::Pool > AccountId::Session(id) && AccountId::Pool > AccountId::Job(id));
    }

    #[test]
    fn what_is_held_cannot_be_spent() {
        let amount = |n| Msats::new(n).unwrap();
        let account = Account::open(AccountId::Pool).credit(amount(10)).unwrap().hold(amount(7)).unwrap();
        assert_eq!(account.debit(amount(3)).unwrap().balance(), amount(7));
        assert_eq!(
            account.debit(amount(4)),
            Err(LedgerError::Insufficient {
                account: AccountId::Pool,
                available: amount(3),
                needed: amount(4)
            })
        );
    }
}
