//! Commands on holds.

use super::Books;
use crate::commands::{Answer, Outcome, Refusal};
use std::time::Duration;
use tithe_ledger::{Account, AccountId, Auditor, Hold, HoldId, TransferKey, TransferKind};
use tithe_money::Msats;
use uuid::Uuid;

impl Books {
    pub(super) fn hold_place(
        &mut self,
        id: HoldId,
        account: AccountId,
        amount: Msats,
        lease: Duration,
    ) -> Outcome {
        if self.holds.get(&id).is_some() {
            return Err(Refusal::Exists(format!("hold {id}")));
        }
        let (account, hold) = Hold::place(&self.account(account), id, amount, self.now, lease)?;
        self.put_hold(account, hold.clone());
        Ok(Answer::Hold(hold))
    }

    pub(super) fn hold_renew(&mut self, id: HoldId, lease: Duration) -> Outcome {
        let hold = self.hold(id)?.renew(self.now, lease)?;
        self.holds.put(id, hold.clone());
        Ok(Answer::Hold(hold))
    }

    pub(super) fn hold_settle(&mut self, id: HoldId, account: AccountId, cost: Msats) -> Outcome {
        let settled = self.hold(id)?.settle(&self.account(account), cost, self.now)?;
        let reference = match account {
            AccountId::Job(owner) | AccountId::Session(owner) => owner,
            _ => Uuid::nil(),
        };
        let charge_key = Auditor::hold_charge_key(&settled.hold);
        self.put_hold(settled.account, settled.hold);
        if !settled.charged.is_zero() {
            let (charged, kind) = (settled.charged, TransferKind::Charge);
            self.write_transfer(charge_key, account, AccountId::Revenue, charged, kind, reference)?;
        }
        if !settled.uncollected.is_zero() {
            let key = TransferKey::new(format!("hold:{id}:uncollected"));
            let (lost, kind) = (settled.uncollected, TransferKind::Uncollected);
            self.write_transfer(key, AccountId::Operator, AccountId::Revenue, lost, kind, reference)?;
        }
        Ok(Answer::HoldSettled { charged: settled.charged, uncollected: settled.uncollected })
    }

    pub(super) fn hold_release(&mut self, id: HoldId, account: AccountId) -> Outcome {
        let (account, hold) = self.hold(id)?.release(&self.account(account), self.now)?;
        self.put_hold(account, hold.clone());
        Ok(Answer::Hold(hold))
    }

    pub(super) fn hold_expire(&mut self, id: HoldId, account: AccountId) -> Outcome {
        let (account, hold) = self.hold(id)?.expire(&self.account(account), self.now)?;
        self.put_hold(account, hold.clone());
        Ok(Answer::Hold(hold))
    }

    fn hold(&self, id: HoldId) -> Result<&Hold, Refusal> {
        self.holds.get(&id).ok_or(Refusal::NoSuchHold(id))
    }

    fn put_hold(&mut self, account: Account, hold: Hold) {
        self.accounts.put(account.id(), account);
        self.holds.put(hold.id, hold);
    }
}
