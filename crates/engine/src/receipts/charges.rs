//! What one settlement has booked, as its transfers say it.

use tithe_clock::Timestamp;
use tithe_ledger::{Transfer, TransferKey, TransferKeys, TransferKind};
use tithe_money::{MoneyError, Msats};

/// The kinds of transfers that a settlement of work consists of.
const SETTLED: [TransferKind; 5] = [
    TransferKind::Charge,
    TransferKind::Tithe,
    TransferKind::Grant,
    TransferKind::InstallCredit,
    TransferKind::Uncollected,
];

/// What a charge has booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChargeAmounts {
    /// What the customer paid, with the tithe.
    pub charged: Msats,
    /// The part of it that went into the pool.
    pub tithe: Msats,
    /// What the pool paid.
    pub absorbed: Msats,
    /// What an install's plan includes.
    pub included: Msats,
    /// What nobody paid.
    pub uncollected: Msats,
}

impl ChargeAmounts {
    /// The price of the work: what was charged, absorbed, included and not collected.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn cost(&self) -> Result<Msats, MoneyError> {
        let parts = [self.absorbed, self.included, self.uncollected];
        parts.into_iter().try_fold(self.charged, Msats::checked_add)
    }

    /// The sum of both.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn plus(&self, other: &Self) -> Result<Self, MoneyError> {
        Ok(Self {
            charged: self.charged.checked_add(other.charged)?,
            tithe: self.tithe.checked_add(other.tithe)?,
            absorbed: self.absorbed.checked_add(other.absorbed)?,
            included: self.included.checked_add(other.included)?,
            uncollected: self.uncollected.checked_add(other.uncollected)?,
        })
    }

    /// The same with a transfer of a settlement. Transfers of other kinds change nothing.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn with(mut self, transfer: &Transfer) -> Result<Self, MoneyError> {
        let amounts: &mut [&mut Msats] = match transfer.kind {
            TransferKind::Charge => &mut [&mut self.charged],
            TransferKind::Tithe => &mut [&mut self.charged, &mut self.tithe],
            TransferKind::Grant => &mut [&mut self.absorbed],
            TransferKind::InstallCredit => &mut [&mut self.included],
            TransferKind::Uncollected => &mut [&mut self.uncollected],
            _ => &mut [],
        };
        for amount in amounts {
            **amount = amount.checked_add(transfer.amount)?;
        }
        Ok(self)
    }
}

/// The keys that the transfers of a settlement with this base key can have.
pub(super) fn keys_of(base: &TransferKey) -> Vec<TransferKey> {
    TransferKeys::possible(base, &SETTLED)
}

/// What the transfers of one settlement have booked, and when; `None` if there are none.
pub(super) fn booked(
    transfers: &[Transfer],
    base: &TransferKey,
) -> Result<Option<(ChargeAmounts, Timestamp)>, MoneyError> {
    let keys = keys_of(base);
    let ours = transfers.iter().filter(|transfer| keys.contains(&transfer.key));
    let mut booked: Option<(ChargeAmounts, Timestamp)> = None;
    for transfer in ours {
        let before = booked.map_or_else(ChargeAmounts::default, |(amounts, _)| amounts);
        booked = Some((before.with(transfer)?, transfer.created_at));
    }
    Ok(booked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_ledger::AccountId;
    use uuid::Uuid;

    fn transfer(key: &str, kind: TransferKind, amount: u64) -> Transfer {
        Transfer {
            key: TransferKey::new(key),
            debit: AccountId::Operator,
            credit: AccountId::Revenue,
            amount: Msats::new(amount).unwrap(),
            kind,
            reference: Uuid::nil(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn every_msat_of_a_settlement_is_in_one_amount_and_the_tithe_is_part_of_the_charge() {
        let transfers = [
            transfer("work:1", TransferKind::Grant, 1),
            transfer("work:1:charge", TransferKind::Charge, 20),
            transfer("work:1:tithe", TransferKind::Tithe, 300),
            transfer("work:1:uncollected", TransferKind::Uncollected, 4_000),
            transfer("work:2", TransferKind::Charge, 50_000),
            transfer("work:1:refund", TransferKind::RefundAccrued, 600_000),
        ];
        let (amounts, _) = booked(&transfers, &TransferKey::new("work:1")).unwrap().unwrap();
        let expected = [320, 300, 1, 0, 4_000];
        let found = [amounts.charged, amounts.tithe, amounts.absorbed, amounts.included, amounts.uncollected];
        assert_eq!(found.map(Msats::get), expected);
        assert_eq!(amounts.cost().unwrap().get(), 4_321);
        assert_eq!(booked(&transfers, &TransferKey::new("work:3")).unwrap(), None);
    }
}
