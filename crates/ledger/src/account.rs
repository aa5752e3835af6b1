//! Accounts.

use crate::{AccountName, LedgerError};
use std::fmt;
use std::str::FromStr;
use tithe_money::Msats;
use uuid::Uuid;

/// The id of an account. Its text is `wallet`, `job:<uuid>` and so on; a name followed by an owner's id is a guarded account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub enum AccountId {
    /// The Lightning wallet's balance. Incoming money is a debit of it, outgoing money a credit.
    Wallet,
    /// The operator's revenue.
    Revenue,
    /// Refunds owed to customers and not paid out yet.
    RefundsDue,
    /// Fees of the Lightning network and of the wallet that were paid, less what customers left for them.
    RoutingFees,
    /// Fractions of a sat that no payment can carry.
    Rounding,
    /// The operator's own money: capital paid in, and losses borne.
    Operator,
    /// An account of the service's own that is the sum of its transfers, such as `card_processor`. Not guarded.
    Custom(AccountName),
    /// Money paid for a job and not earned yet. Guarded.
    Job(Uuid),
    /// A session's balance. Guarded.
    Session(Uuid),
    /// Money paid for a node and not earned yet. Guarded.
    Bootstrap(Uuid),
    /// An account of the service's own that each owner has one of, such as `customer:<uuid>`. Guarded.
    Owned(AccountName, Uuid),
    /// The generosity pool. Guarded. Last in the order, so that the most contended row is locked last.
    Pool,
}

/// The text is not an account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown account: expected a name, or a name and a UUID separated by a colon, got {0:?}")]
pub struct UnknownAccount(String);

impl AccountId {
    /// Returns true if the account has a row with its balance, which must never be below zero or below the amount held
    /// on it.
    #[must_use]
    pub const fn is_guarded(self) -> bool {
        matches!(self, Self::Job(_) | Self::Session(_) | Self::Bootstrap(_) | Self::Owned(..) | Self::Pool)
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
            Self::Bootstrap(id) => write!(f, "bootstrap:{id}"),
            Self::Owned(name, owner) => write!(f, "{name}:{owner}"),
            Self::Custom(name) => name.fmt(f),
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
        let Some((kind, owner)) = text.split_once(':') else {
            return text.parse().map(Self::Custom).map_err(|_| unknown());
        };
        let owner = owner.parse().map_err(|_| unknown())?;
        match kind {
            "job" => Ok(Self::Job(owner)),
            "session" => Ok(Self::Session(owner)),
            "bootstrap" => Ok(Self::Bootstrap(owner)),
            name => name.parse().map(|name| Self::Owned(name, owner)).map_err(|_| unknown()),
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Account {
    id: AccountId,
    balance: Msats,
    held: Msats,
}

impl Account {
    /// Creates an empty account.
    ///
    /// # Errors
    /// [`LedgerError::NotGuarded`] if accounts of this id have no row.
    pub const fn open(id: AccountId) -> Result<Self, LedgerError> {
        Self::restore(id, Msats::ZERO, Msats::ZERO)
    }

    /// Restores an account from a store. The balances are not compared here; [`crate::Auditor`] does that.
    ///
    /// # Errors
    /// [`LedgerError::NotGuarded`] if accounts of this id have no row.
    pub const fn restore(id: AccountId, balance: Msats, held: Msats) -> Result<Self, LedgerError> {
        if id.is_guarded() { Ok(Self { id, balance, held }) } else { Err(LedgerError::NotGuarded(id)) }
    }

    /// The account's id.
    #[must_use]
    pub const fn id(&self) -> AccountId {
        self.id
    }

    /// The total balance.
    #[must_use]
    pub const fn balance(&self) -> Msats {
        self.balance
    }

    /// The amount held.
    #[must_use]
    pub const fn held(&self) -> Msats {
        self.held
    }

    /// The balance that is not held.
    #[must_use]
    pub const fn available(&self) -> Msats {
        self.balance.saturating_sub(self.held)
    }

    /// Returns the account with `amount` added.
    ///
    /// # Errors
    /// [`LedgerError::Money`] if the balance would exceed the supply of bitcoin.
    pub fn credit(&self, amount: Msats) -> Result<Self, LedgerError> {
        Ok(Self { balance: self.balance.checked_add(amount)?, ..self.clone() })
    }

    /// Returns the account with `amount` taken from its available balance.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] if less is available.
    pub fn debit(&self, amount: Msats) -> Result<Self, LedgerError> {
        self.need(amount)?;
        Ok(Self { balance: self.balance.checked_sub(amount)?, ..self.clone() })
    }

    /// Returns the account with a further `amount` of its available balance held. The caller must store a row that
    /// explains it: a hold or a reservation.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] if less is available.
    pub fn hold(&self, amount: Msats) -> Result<Self, LedgerError> {
        self.need(amount)?;
        Ok(Self { held: self.held.checked_add(amount)?, ..self.clone() })
    }

    /// Returns the account with `amount` less held.
    ///
    /// # Errors
    /// [`LedgerError::Money`] if less than that is held.
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

    const CUSTOMER: AccountName = AccountName::literal("customer");
    const CARDS: AccountName = AccountName::literal("card_processor");

    #[test]
    fn names_read_back() {
        let id = Uuid::from_u128(7);
        let singles = AccountId::SINGLE.iter().map(|(id, _)| *id);
        let others = [
            AccountId::Job(id),
            AccountId::Session(id),
            AccountId::Bootstrap(id),
            AccountId::Owned(CUSTOMER, id),
            AccountId::Custom(CARDS),
        ];
        for account in singles.chain(others) {
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        assert_eq!(AccountId::Owned(CUSTOMER, id).to_string(), format!("customer:{id}"));
        for wrong in ["", "job", "job:", "job:x", "pool:1", "Wallet", "session", "customer:x", "a b"] {
            assert!(wrong.parse::<AccountId>().is_err(), "{wrong:?}");
        }
        let wallet = format!("wallet:{id}");
        assert!(wallet.parse::<AccountId>().is_err(), "nobody's account can be named like one of Tithe's");
    }

    #[test]
    fn only_guarded_accounts_have_rows() {
        for id in [AccountId::Wallet, AccountId::Revenue, AccountId::Custom(CARDS)] {
            assert_eq!(Account::open(id), Err(LedgerError::NotGuarded(id)));
            assert_eq!(Account::restore(id, Msats::MAX, Msats::ZERO), Err(LedgerError::NotGuarded(id)));
        }
        for id in [AccountId::Pool, AccountId::Job(Uuid::nil()), AccountId::Owned(CUSTOMER, Uuid::nil())] {
            assert!(Account::open(id).is_ok());
        }
    }

    #[test]
    fn the_pool_comes_last() {
        let id = Uuid::max();
        assert!(AccountId::Pool > AccountId::Session(id) && AccountId::Pool > AccountId::Owned(CUSTOMER, id));
    }

    #[test]
    fn what_is_held_cannot_be_spent() {
        let amount = |n| Msats::new(n).unwrap();
        let account =
            Account::open(AccountId::Pool).unwrap().credit(amount(10)).unwrap().hold(amount(7)).unwrap();
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
