//! What may happen to credits, in any order.

use proptest::prelude::*;
use std::time::Duration;
use tithe_ledger::credits::{Counted, Plan, Quota};

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Operation {
    /// An install makes a request that proves a plan.
    Reserve {
        install: usize,
        plan: Plan,
        has_hardware: bool,
    },
    /// A step of a credit, which is chosen by its index.
    Commit(usize),
    Release(usize),
    Expire(usize),
    Renew(usize),
    /// Time passes, from seconds to several months.
    Wait(Duration),
    /// Another server's clock is behind.
    Back(Duration),
    /// The operator changes what a plan includes.
    Include(Plan, Quota),
}

/// How many installs there are.
const INSTALLS: usize = 3;

pub fn plans() -> impl Strategy<Value = Plan> {
    prop::sample::select(Plan::ALL.to_vec())
}

/// Quotas so small that they are used up often.
pub fn quotas() -> impl Strategy<Value = Quota> {
    let counted = prop::sample::select(vec![Counted::Lifetime, Counted::Monthly]);
    (counted, prop::option::weighted(0.8, 0_u64..8), prop::option::of(0_u64..5))
        .prop_map(|(counted, requests, cloud)| Quota { counted, requests, cloud })
}

pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let reserve = (0..INSTALLS, plans(), any::<bool>())
        .prop_map(|(install, plan, has_hardware)| Operation::Reserve { install, plan, has_hardware });
    let one = prop_oneof![
        12 => reserve,
        4 => any::<usize>().prop_map(Operation::Commit),
        3 => any::<usize>().prop_map(Operation::Release),
        4 => any::<usize>().prop_map(Operation::Expire),
        1 => any::<usize>().prop_map(Operation::Renew),
        3 => (0_u64..600).prop_map(|seconds| Operation::Wait(Duration::from_secs(seconds))),
        2 => (0_u64..70).prop_map(|days| Operation::Wait(Duration::from_hours(24 * days))),
        1 => (0_u64..40).prop_map(|days| Operation::Back(Duration::from_hours(24 * days))),
        1 => (plans(), quotas()).prop_map(|(plan, quota)| Operation::Include(plan, quota)),
    ];
    prop::collection::vec(one, 1..120)
}
