//! Whatever happens in whatever order: the domain decides as the model does, and the audit finds nothing.

use crate::model::{Fate, Model};
use crate::operations::{Operation, operations, plans, quotas};
use crate::rows::Rows;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{
    Backend, Counted, Counters, CreditError, CreditId, CreditMoved, Install, NewCredit, Plan, Plans,
    plan_backend,
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(5);

/// The rows, the model, and the time.
struct World {
    rows: Rows,
    model: Model,
    plans: Plans,
    now: Timestamp,
}

impl World {
    fn happens(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        match *operation {
            Operation::Reserve { install, plan, has_hardware } => self.reserve(install, plan, has_hardware),
            Operation::Commit(credit) => self.commit(credit),
            Operation::Release(credit) => self.release(credit),
            Operation::Expire(credit) => self.expire(credit),
            Operation::Renew(credit) => self.renew(credit),
            Operation::Wait(time) => {
                self.now = self.now + time;
                Ok(())
            }
            Operation::Back(time) => {
                self.now = self.now - time;
                Ok(())
            }
            Operation::Include(plan, quota) => {
                *match plan {
                    Plan::Core => &mut self.plans.core,
                    Plan::Pro => &mut self.plans.pro,
                    Plan::Max => &mut self.plans.max,
                } = quota;
                Ok(())
            }
        }
    }

    fn reserve(&mut self, n: usize, plan: Plan, has_hardware: bool) -> Result<(), TestCaseError> {
        let quota = *self.plans.quota(plan);
        let install = self.rows.install(n, self.now);
        let balance = install.balance(plan, &quota, self.now);
        let left = self.model.left(n, plan, &quota, self.now);
        prop_assert_eq!((balance.remaining, balance.cloud_remaining), left);
        let id = CreditId(Uuid::from_u128(u128::try_from(self.rows.credits.len()).unwrap()));
        let new = NewCredit { id, plan, quota, has_hardware, lease: LEASE };
        let decided = new.reserve(&install, self.now);
        let expected = self.model.reserve(n, (plan, quota), has_hardware, self.now + LEASE, self.now);
        let moved = match decided {
            Ok(moved) => moved,
            Err(error) => {
                let refused = expected.map_err(CreditError::Refused);
                prop_assert_eq!(refused.err(), Some(error));
                return Ok(());
            }
        };
        prop_assert_eq!(expected, Ok(moved.credit.backend));
        let period_start = self.model.install(n, self.now).period_start();
        prop_assert_eq!(moved.install.period_start, period_start);
        prop_assert_eq!(moved.install.plan.is_paid(), self.model.install(n, self.now).is_paid);
        prop_assert!(moved.install.period_start >= install.period_start, "a period never goes back");
        within(&moved)?;
        let counters = moved.install.counters(quota.counted);
        let used_after = (moved.credit.used_after, moved.credit.cloud_used_after);
        prop_assert_eq!(used_after, (counters.used(), counters.cloud_used()));
        self.rows.put(n, self.rows.credits.len(), moved);
        Ok(())
    }

    fn commit(&mut self, credit: usize) -> Result<(), TestCaseError> {
        let Some((credit, n)) = self.credit(credit) else { return Ok(()) };
        let before = self.model.credits[credit].fate;
        let may = self.model.may_commit(credit);
        let decided = self.rows.credits[credit].commit(&self.rows.installs[&n], self.now);
        prop_assert_eq!(decided.is_ok(), may, "{:?}", decided);
        let Ok(moved) = decided else { return Ok(()) };
        self.model.credits[credit].fate =
            if matches!(before, Fate::Running { .. }) { Fate::Done } else { Fate::DoneLate };
        if before == Fate::Expired && moved.install != self.rows.installs[&n] {
            within(&moved)?;
        }
        self.rows.put(n, credit, moved);
        Ok(())
    }

    fn release(&mut self, credit: usize) -> Result<(), TestCaseError> {
        let Some((credit, n)) = self.credit(credit) else { return Ok(()) };
        let decided = self.rows.credits[credit].release(&self.rows.installs[&n], self.now);
        let fate = &mut self.model.credits[credit].fate;
        prop_assert_eq!(decided.is_ok(), matches!(*fate, Fate::Running { .. }), "{:?}", decided);
        let Ok(moved) = decided else { return Ok(()) };
        *fate = Fate::GivenBack;
        self.rows.put(n, credit, moved);
        Ok(())
    }

    fn expire(&mut self, credit: usize) -> Result<(), TestCaseError> {
        let Some((credit, n)) = self.credit(credit) else { return Ok(()) };
        let decided = self.rows.credits[credit].expire(&self.rows.installs[&n], self.now);
        let fate = &mut self.model.credits[credit].fate;
        let is_over = matches!(*fate, Fate::Running { until } if until <= self.now);
        prop_assert_eq!(decided.is_ok(), is_over, "{:?}", decided);
        let Ok(moved) = decided else { return Ok(()) };
        *fate = Fate::Expired;
        self.rows.put(n, credit, moved);
        Ok(())
    }

    fn renew(&mut self, credit: usize) -> Result<(), TestCaseError> {
        let Some((credit, _)) = self.credit(credit) else { return Ok(()) };
        let decided = self.rows.credits[credit].renew(self.now, LEASE);
        let fate = &mut self.model.credits[credit].fate;
        prop_assert_eq!(decided.is_ok(), matches!(*fate, Fate::Running { .. }), "{:?}", decided);
        let Ok(renewed) = decided else { return Ok(()) };
        *fate = Fate::Running { until: self.now + LEASE };
        self.rows.credits[credit] = renewed;
        Ok(())
    }

    /// The index of a credit and the number of its install; `None` if there are no credits yet.
    fn credit(&self, any: usize) -> Option<(usize, usize)> {
        let credit = any.checked_rem(self.rows.credits.len())?;
        Some((credit, self.rows.owner(credit)))
    }

    /// The rows' counters are those that the model counts.
    fn agrees(&self) -> Result<(), TestCaseError> {
        for (n, install) in &self.rows.installs {
            for counted in [Counted::Lifetime, Counted::Monthly] {
                prop_assert_eq!(
                    *install.counters(counted),
                    self.model.counters(*n, counted),
                    "{:?}",
                    install
                );
            }
        }
        Ok(())
    }
}

/// No more is used than the quota includes by which it was just decided.
fn within(moved: &CreditMoved) -> Result<(), TestCaseError> {
    let quota = moved.credit.quota;
    let counters = moved.install.counters(quota.counted);
    prop_assert!(quota.requests.is_none_or(|most| counters.used() <= most), "{counters:?}");
    if moved.credit.backend == Backend::Cloud {
        prop_assert!(quota.cloud.is_none_or(|most| counters.cloud_used() <= most), "{counters:?}");
    }
    Ok(())
}

/// A moment of the years 2026 to 2028, so that months of every length and both kinds of February come.
fn moments() -> impl Strategy<Value = Timestamp> {
    (0_u64..3 * 365 * 24 * 60).prop_map(|minutes| {
        Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap() + Duration::from_mins(minutes)
    })
}

fn all_plans() -> impl Strategy<Value = Plans> {
    (quotas(), quotas(), quotas()).prop_map(|(core, pro, max)| Plans { core, pro, max })
}

fn counters() -> impl Strategy<Value = Counters> {
    (0_u64..6, 0_u64..6, 0_u64..3, 0_u64..3).prop_map(
        |(consumed, cloud_consumed, reserved, cloud_reserved)| Counters {
            consumed: consumed.max(cloud_consumed),
            cloud_consumed,
            reserved: reserved.max(cloud_reserved),
            cloud_reserved,
        },
    )
}

proptest! {
    #[test]
    fn the_domain_decides_as_the_model_does_and_the_audit_finds_nothing(
        now in moments(), plans in all_plans(), operations in operations(),
    ) {
        let mut world = World { rows: Rows::default(), model: Model::default(), plans, now };
        let mut ended = 0;
        for operation in &operations {
            world.happens(operation)?;
            world.agrees()?;
            let states = world.rows.credits.iter().filter(|credit| !credit.state.is_live()).count();
            prop_assert!(states >= ended, "what has ended does not begin again");
            ended = states;
        }
        let findings = world.rows.findings();
        prop_assert!(findings.is_empty(), "{findings:?}");
    }

    /// Whatever an install has used: what its balance says is what a reservation then decides, and only that.
    #[test]
    fn a_balance_says_what_is_reserved_next(
        seen in moments(), now in moments(), was in plans(), plan in plans(), quota in quotas(),
        lifetime in counters(), monthly in counters(), has_hardware in any::<bool>(),
    ) {
        let install = Install { lifetime, monthly, ..Install::new(crate::rows::install_id(1), seen).under(was, seen) };
        let balance = install.balance(plan, &quota, now);
        let new = NewCredit { id: CreditId(Uuid::nil()), plan, quota, has_hardware, lease: LEASE };
        match (plan_backend(&balance, has_hardware), new.reserve(&install, now)) {
            (Ok(backend), Ok(CreditMoved { credit, install: after })) => {
                prop_assert_eq!(credit.backend, backend);
                prop_assert_eq!(credit.period_start, balance.period_start);
                let left = after.balance(plan, &quota, now);
                prop_assert_eq!(left.remaining, balance.remaining.map(|left| left - 1));
                prop_assert_eq!(left.renews_at, balance.renews_at);
                let cloud = u64::from(backend == Backend::Cloud);
                prop_assert_eq!(left.cloud_remaining, balance.cloud_remaining.map(|of_cloud| {
                    (of_cloud - cloud).min(left.remaining.unwrap_or(u64::MAX))
                }));
            }
            (Err(refusal), Err(error)) => prop_assert_eq!(error, CreditError::Refused(refusal)),
            (planned, decided) => prop_assert!(false, "{planned:?} is not {decided:?}"),
        }
    }
}
