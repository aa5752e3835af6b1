//! The naive reference's holds.

use super::rows::{HoldFate, RefHold, Said};
use super::world::World;
use crate::command::Command;
use tithe_ledger::AccountId;
use uuid::Uuid;

impl World {
    pub(super) fn act_on_hold(&mut self, command: &Command, now: i128) -> Result<Said, &'static str> {
        match command {
            Command::HoldPlace { hold, account, amount, lease } => {
                let until = now + i128::try_from(lease.as_micros()).unwrap();
                self.hold_place(hold.0, *account, amount.get().into(), until, now)
            }
            Command::HoldSettle { hold, cost, .. } => self.hold_settle(hold.0, cost.get().into(), now),
            Command::HoldRelease { hold, .. } => self.hold_end(hold.0, HoldFate::Released, now),
            Command::HoldExpire { hold, .. } => self.hold_end(hold.0, HoldFate::Expired, now),
            Command::HoldRenew { hold, lease, .. } => {
                let until = now + i128::try_from(lease.as_micros()).unwrap();
                self.hold_renew(hold.0, until, now)
            }
            other => panic!("the reference knows no hold in {}", other.name()),
        }
    }

    fn hold_place(
        &mut self,
        id: Uuid,
        account: AccountId,
        amount: i128,
        until: i128,
        now: i128,
    ) -> Result<Said, &'static str> {
        if self.holds.contains_key(&id) {
            return Err("exists");
        }
        if amount == 0 || self.free(account) < amount {
            return Err("too little money");
        }
        *self.on_hold.entry(account).or_default() += amount;
        let hold = RefHold { account, amount, fate: HoldFate::HeldUntil(until), created: now, updated: now };
        self.holds.insert(id, hold.clone());
        Ok(Said::Held(hold))
    }

    /// Work whose cost was set aside is done: the account pays what it can, also what nobody holds.
    fn hold_settle(&mut self, id: Uuid, cost: i128, now: i128) -> Result<Said, &'static str> {
        let hold = self.holds.get(&id).ok_or("no hold")?.clone();
        match hold.fate {
            HoldFate::HeldUntil(_) => *self.on_hold.get_mut(&hold.account).unwrap() -= hold.amount,
            HoldFate::Expired => {}
            _ => return Err("too little money"),
        }
        let charged = cost.min(self.free(hold.account));
        self.charge_with_tithe(hold.account, charged)?;
        self.pay(AccountId::Operator, AccountId::Revenue, cost - charged)?;
        let late = hold.fate == HoldFate::Expired;
        let fate = if late { HoldFate::ChargedLate(charged) } else { HoldFate::Settled(charged) };
        self.holds.insert(id, RefHold { fate, updated: now, ..hold });
        Ok(Said::Charged { absorbed: 0, charged, uncollected: cost - charged })
    }

    fn hold_end(&mut self, id: Uuid, to: HoldFate, now: i128) -> Result<Said, &'static str> {
        let hold = self.holds.get_mut(&id).ok_or("no hold")?;
        let HoldFate::HeldUntil(until) = hold.fate else { return Err("too little money") };
        if to == HoldFate::Expired && now < until {
            return Err("too little money");
        }
        (hold.fate, hold.updated) = (to, now);
        *self.on_hold.get_mut(&hold.account).unwrap() -= hold.amount;
        Ok(Said::Held(hold.clone()))
    }

    fn hold_renew(&mut self, id: Uuid, until: i128, now: i128) -> Result<Said, &'static str> {
        let hold = self.holds.get_mut(&id).ok_or("no hold")?;
        let HoldFate::HeldUntil(_) = hold.fate else { return Err("too little money") };
        (hold.fate, hold.updated) = (HoldFate::HeldUntil(until), now);
        Ok(Said::Held(hold.clone()))
    }
}
