//! The naive reference's plain requests.

use super::calendar::DAY;
use super::installs::{CreditFate, RefCredit, RefInstall, Used};
use super::rows::{Fate, Said, micros};
use super::world::World;
use crate::command::Command;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::asks::{AskBegin, AskFinish, AskOutcome, AskPayer, AskRelease, AskRenew, NewAskPayer};
use tithe_engine::credits::CreditRequest;
use tithe_ledger::AccountId;
use tithe_ledger::credits::{Counted, Install, InstallId, Plan};
use uuid::Uuid;

fn after(now: i128, lease: Duration) -> i128 {
    now + i128::try_from(lease.as_micros()).unwrap()
}

/// An install of another system, where nothing of it is running.
fn imported(install: &Install) -> RefInstall {
    let Install { lifetime, monthly, .. } = install;
    let period = micros(install.period_start);
    let done = |consumed, cloud| Used { done: (consumed, cloud), ..Used::default() };
    RefInstall {
        plan: install.plan,
        anchor: install.anchor_day.into(),
        period,
        elsewhere: vec![
            (None, done(lifetime.consumed, lifetime.cloud_consumed)),
            (Some(period), done(monthly.consumed, monthly.cloud_consumed)),
        ],
        active: micros(install.last_active_at),
        created: micros(install.created_at),
    }
}

impl World {
    pub(super) fn act_on_ask(&mut self, command: &Command, now: i128) -> Result<Said, &'static str> {
        match command {
            Command::AskBegin(begin) => self.ask_begin(begin, now),
            Command::AskRenew(renew) => self.ask_renew(renew, now),
            Command::AskFinish(finish) => self.ask_finish(finish, now),
            Command::AskRelease(AskRelease { id, payer, .. }) => {
                self.ask_give_back(*id, *payer, now)?;
                Ok(Said::Done)
            }
            Command::CreditExpire(expire) => {
                let credit = self.credit_of(expire.credit.0, expire.install)?;
                match credit.fate {
                    CreditFate::HeldUntil(until) if until <= now => {}
                    CreditFate::HeldUntil(_) => return Err("not over"),
                    _ => return Err("ended"),
                }
                Self::check_install(&credit, expire.install)?;
                self.end_credit(expire.credit.0, CreditFate::Expired, now);
                Ok(Said::Done)
            }
            Command::InstallsImport(import) => {
                let before = self.installs.len();
                for install in &import.installs {
                    self.installs.entry(install.id).or_insert_with(|| imported(install));
                }
                let added = self.installs.len() - before;
                Ok(Said::Imported(added, import.installs.len() - added))
            }
            Command::LicenceRevoke(revoke) => {
                Ok(Said::Revoked(*self.revoked.entry(revoke.licence).or_insert(now)))
            }
            other => panic!("the reference knows no {}", other.name()),
        }
    }

    /// Begins a request of which it was not seen that its licence had just been revoked.
    pub(super) fn run_before_revocations(&mut self, command: &Command, now: Timestamp) -> Said {
        let revoked = std::mem::take(&mut self.revoked);
        let said = self.run(command, now);
        self.revoked = revoked;
        said
    }

    fn ask_begin(&mut self, begin: &AskBegin, now: i128) -> Result<Said, &'static str> {
        assert!(begin.idempotency.is_none() && begin.signature.0.is_none(), "the reference knows no keys");
        let until = after(now, begin.lease);
        match &begin.payer {
            NewAskPayer::Install(request) => self.credit_begin(begin.id, request, until, now),
            NewAskPayer::Pool { identity, amount } => {
                self.reserve(begin.id, *identity, amount.get().into(), until, now)
            }
        }
    }

    fn credit_begin(
        &mut self,
        id: Uuid,
        request: &CreditRequest,
        until: i128,
        now: i128,
    ) -> Result<Said, &'static str> {
        if self.credits.contains_key(&id) {
            return Err("exists");
        }
        if request.licence.is_some_and(|licence| self.revoked.contains_key(&licence)) {
            return Err("revoked");
        }
        if !self.installs.contains_key(&request.install) {
            self.admit(request, now)?;
            self.installs.insert(request.install, RefInstall::new(now));
        }
        let known = &self.installs[&request.install];
        let left = self.left(request.install, known, request.plan, &request.quota, now);
        let cloud = match (left.requests, left.cloud) {
            (Some(0), _) => return Err("out of credits"),
            (_, Some(0)) if !request.has_hardware => return Err("no cloud"),
            (_, left) => left != Some(0),
        };
        let mut install = known.at(request.plan, now);
        install.active = install.active.max(now);
        let used = self.used_of(request.install, &install, request.quota.counted);
        let credit = RefCredit {
            install: request.install,
            plan: request.plan,
            quota: request.quota,
            period: install.period,
            cloud,
            after: (used.all() + 1, used.cloud() + u64::from(cloud)),
            fate: CreditFate::HeldUntil(until),
            created: now,
            updated: now,
        };
        assert!(
            request.quota.requests.is_none_or(|most| credit.after.0 <= most),
            "I9 of the reference itself"
        );
        self.installs.insert(request.install, install);
        self.credits.insert(id, credit.clone());
        Ok(Said::Credit(credit))
    }

    /// A new install of an origin, which may have so many a day; those that pay are not counted.
    fn admit(&mut self, request: &CreditRequest, now: i128) -> Result<(), &'static str> {
        let Some((name, most)) = &request.origin else { return Ok(()) };
        if request.plan != Plan::Core {
            return Ok(());
        }
        let origin = self.origins.entry(name.clone()).or_insert((now, 0));
        if origin.0 + DAY <= now {
            *origin = (now, 0);
        }
        if origin.1 >= *most {
            return Err("too many installs");
        }
        origin.1 += 1;
        Ok(())
    }

    fn credit_of(&self, id: Uuid, install: InstallId) -> Result<RefCredit, &'static str> {
        let credit = self.credits.get(&id).filter(|_| self.installs.contains_key(&install));
        credit.cloned().ok_or("no credit")
    }

    fn check_install(credit: &RefCredit, install: InstallId) -> Result<(), &'static str> {
        if credit.install == install { Ok(()) } else { Err("another install's") }
    }

    fn end_credit(&mut self, id: Uuid, fate: CreditFate, now: i128) {
        let credit = self.credits.get_mut(&id).unwrap();
        (credit.fate, credit.updated) = (fate, now);
    }

    fn ask_renew(&mut self, renew: &AskRenew, now: i128) -> Result<Said, &'static str> {
        let until = after(now, renew.lease);
        match renew.payer {
            AskPayer::Install(_) => {
                let credit = self.credits.get(&renew.id).ok_or("no credit")?;
                let CreditFate::HeldUntil(_) = credit.fate else { return Err("ended") };
                self.end_credit(renew.id, CreditFate::HeldUntil(until), now);
            }
            AskPayer::Pool(who) => {
                self.renew(renew.id, who, until, now)?;
            }
        }
        Ok(Said::Done)
    }

    fn ask_finish(&mut self, finish: &AskFinish, now: i128) -> Result<Said, &'static str> {
        assert!(finish.finish.is_none(), "the reference knows no keys");
        match &finish.outcome {
            AskOutcome::Completed { cost, .. } => {
                let cost = i128::from(cost.get());
                match finish.payer {
                    AskPayer::Install(install) => self.credit_take(finish.id, install, cost, now),
                    AskPayer::Pool(who) => {
                        let due = cost.min(finish.limit.get().into());
                        let Said::Charged { absorbed, .. } = self.settle_command(finish.id, who, due, now)?
                        else {
                            panic!("a settlement is charged")
                        };
                        self.pay(AccountId::Operator, AccountId::Revenue, cost - due)?;
                        Ok(Said::Answered { rejected: false, cost, absorbed, left: None })
                    }
                }
            }
            rejected => {
                let was_held = self.ask_give_back(finish.id, finish.payer, now)?;
                if let (AskPayer::Pool(who), AskOutcome::Rejected { .. }, true) =
                    (finish.payer, rejected, was_held)
                {
                    self.ended(who, None, now);
                }
                Ok(Said::Answered { rejected: true, cost: 0, absorbed: 0, left: None })
            }
        }
    }

    /// Gives back what is set aside for a request. Says whether anything was.
    fn ask_give_back(&mut self, id: Uuid, payer: AskPayer, now: i128) -> Result<bool, &'static str> {
        match payer {
            AskPayer::Install(install) => {
                let credit = self.credit_of(id, install)?;
                let CreditFate::HeldUntil(_) = credit.fate else { return Ok(false) };
                Self::check_install(&credit, install)?;
                self.end_credit(id, CreditFate::Released, now);
            }
            AskPayer::Pool(who) => {
                let held = self.reservations.get(&id).map(|promise| promise.fate);
                let Some(Fate::HeldUntil(_)) = held else { return Ok(false) };
                self.owned_live(id, who)?;
                self.end(id, Fate::Released, now);
            }
        }
        Ok(true)
    }

    /// The work of a credit is done. Late, it is taken if there still is room.
    fn credit_take(
        &mut self,
        id: Uuid,
        install: InstallId,
        cost: i128,
        now: i128,
    ) -> Result<Said, &'static str> {
        let credit = self.credit_of(id, install)?;
        let fate = match credit.fate {
            CreditFate::HeldUntil(_) => CreditFate::Taken,
            CreditFate::Expired => CreditFate::TakenLate,
            _ => return Err("ended"),
        };
        Self::check_install(&credit, install)?;
        let row = self.installs[&install].clone();
        let is_over = credit.quota.counted == Counted::Monthly && credit.period != row.period;
        if fate == CreditFate::TakenLate && !is_over {
            let used = self.used_of(install, &row, credit.quota.counted);
            if credit.quota.requests.is_some_and(|most| used.all() >= most) {
                return Err("out of credits");
            }
            if credit.cloud && credit.quota.cloud.is_some_and(|most| used.cloud() >= most) {
                return Err("no cloud");
            }
        }
        self.end_credit(id, fate, now);
        self.pay(AccountId::Operator, AccountId::Revenue, cost)?;
        let left = self.left(install, &row, credit.plan, &credit.quota, now);
        Ok(Said::Answered { rejected: false, cost, absorbed: 0, left: Some(left) })
    }
}
