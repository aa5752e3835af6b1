//! What the naive reference says installs have used: it counts their requests anew whenever it is asked.

use super::calendar::period_end;
use super::installs::{CreditFate, Left, RefCredit, RefInstall, Used};
use super::world::World;
use tithe_ledger::credits::{Counted, InstallId, Plan, Quota};

impl World {
    /// What an install has used in a period, or for ever.
    pub(super) fn used(&self, id: InstallId, scope: Option<i128>) -> Used {
        let mut used = Used::default();
        for (_, elsewhere) in self
            .installs
            .get(&id)
            .into_iter()
            .flat_map(|install| &install.elsewhere)
            .filter(|(of, _)| *of == scope)
        {
            used.done.0 += elsewhere.done.0;
            used.done.1 += elsewhere.done.1;
        }
        for credit in self.credits.values().filter(|credit| credit.install == id && credit.scope() == scope) {
            let cloud = u64::from(credit.cloud);
            match credit.fate {
                CreditFate::HeldUntil(_) => used.running = (used.running.0 + 1, used.running.1 + cloud),
                CreditFate::Taken | CreditFate::TakenLate => {
                    used.done = (used.done.0 + 1, used.done.1 + cloud);
                }
                CreditFate::Released | CreditFate::Expired => {}
            }
        }
        used
    }

    /// What an install is to be counted in.
    pub(super) fn used_of(&self, id: InstallId, install: &RefInstall, counted: Counted) -> Used {
        self.used(id, (counted == Counted::Monthly).then_some(install.period))
    }

    /// What an install has left for requests of `plan`.
    pub(super) fn left(
        &self,
        id: InstallId,
        install: &RefInstall,
        plan: Plan,
        quota: &Quota,
        now: i128,
    ) -> Left {
        let install = install.at(plan, now);
        let used = self.used_of(id, &install, quota.counted);
        let requests = quota.requests.map(|most| most.saturating_sub(used.all()));
        let cloud = quota.cloud.map(|most| most.saturating_sub(used.cloud()));
        let cloud = cloud.map(|cloud| requests.map_or(cloud, |requests| cloud.min(requests)));
        let monthly = quota.counted == Counted::Monthly;
        let until = monthly.then(|| {
            let mut end = period_end(install.period, install.anchor);
            while end <= now {
                end = period_end(end, install.anchor);
            }
            end
        });
        Left { requests, cloud, since: install.period, until }
    }

    /// How many credits nobody has ended.
    pub(super) fn credits_held(&self) -> usize {
        let held = |credit: &&RefCredit| matches!(credit.fate, CreditFate::HeldUntil(_));
        self.credits.values().filter(held).count()
    }
}
