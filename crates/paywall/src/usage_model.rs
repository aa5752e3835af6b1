//! The usage of a key against a naive model: random requests, added up anew each time.

use crate::{KeyUsage, Limit, Period, testing};
use proptest::prelude::*;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;

const MINUTE: Duration = Duration::from_mins(1);

fn msats(n: u64) -> Msats {
    Msats::new(n).unwrap()
}

/// Half an hour before a new month.
fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-31T23:30:00Z").unwrap()
}

/// What happens to a key.
#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    Extend(prop::sample::Index, u64),
    /// The request that settles, and its cost in percent of what it reserved.
    Settle(prop::sample::Index, u64),
    Release(prop::sample::Index),
    /// The time that passes, in minutes.
    Wait(i64),
}

fn steps(wait: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..400).prop_map(Step::Reserve),
        1 => (any::<prop::sample::Index>(), 0_u64..200).prop_map(|(of, more)| Step::Extend(of, more)),
        3 => (any::<prop::sample::Index>(), 0_u64..=100).prop_map(|(of, percent)| Step::Settle(of, percent)),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        2 => wait.prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..80)
}

/// A request as the naive model keeps it: with everything that happened to it.
#[derive(Debug, Clone)]
struct Request {
    /// When it reserved, and how much. What was reserved first is spent first.
    reserved: Vec<(Timestamp, u64)>,
    /// When it settled, and its cost.
    settled: Option<(Timestamp, u64)>,
}

/// The naive model: all requests, added up anew each time.
#[derive(Default)]
struct Naive {
    running: Vec<Request>,
    settled: Vec<Request>,
}

impl Request {
    fn all_reserved(&self) -> u64 {
        self.reserved.iter().map(|(_, amount)| amount).sum()
    }

    fn cost(&self) -> u64 {
        self.settled.map_or(0, |(_, cost)| cost)
    }

    /// The part of the cost that was reserved in the period that contains `at`.
    fn cost_reserved_in(&self, period: Period, at: Timestamp) -> u64 {
        let (mut left, mut in_period) = (self.cost(), 0);
        for (then, amount) in &self.reserved {
            let part = left.min(*amount);
            left -= part;
            in_period += if period.start_of(*then) == period.start_of(at) { part } else { 0 };
        }
        in_period
    }
}

impl Naive {
    /// The costs that were settled in the period that contains `at`.
    fn settled_in(&self, period: Period, at: Timestamp) -> u64 {
        let is_in = |request: &&Request| {
            request.settled.is_some_and(|(then, _)| period.start_of(then) == period.start_of(at))
        };
        self.settled.iter().filter(is_in).map(Request::cost).sum()
    }

    /// The costs that were reserved in the period that contains `at`.
    fn reserved_in(&self, period: Period, at: Timestamp) -> u64 {
        self.settled.iter().map(|request| request.cost_reserved_in(period, at)).sum()
    }

    fn total(&self) -> u64 {
        self.settled.iter().map(Request::cost).sum()
    }

    fn reserved(&self) -> u64 {
        self.running.iter().map(Request::all_reserved).sum()
    }

    fn allows(&self, amount: u64, limit: Limit, now: Timestamp) -> bool {
        match limit {
            Limit::Total(limit) => self.total() + self.reserved() + amount <= limit.get(),
            Limit::Period(period, limit) => {
                self.settled_in(period, now) + self.reserved() + amount <= limit.get()
            }
            Limit::Requests(limit) => u64::try_from(self.settled.len() + self.running.len()).unwrap() < limit,
        }
    }

    /// No limit is passed in any period.
    fn check(&self, limit: Limit) {
        match limit {
            Limit::Total(limit) => assert!(self.total() <= limit.get()),
            Limit::Requests(limit) => assert!(self.settled.len() <= usize::try_from(limit).unwrap()),
            Limit::Period(period, limit) => {
                for request in &self.settled {
                    let (settled_at, _) = request.settled.unwrap();
                    assert!(self.settled_in(period, settled_at) <= limit.get());
                    for (reserved_at, _) in &request.reserved {
                        assert!(self.reserved_in(period, *reserved_at) <= limit.get());
                    }
                }
            }
        }
    }
}

/// Runs the steps against the naive model.
fn run(limits: &[Limit], steps: Vec<Step>) {
    let (mut usage, mut naive, mut now) = (KeyUsage::default(), Naive::default(), start());
    let limits = || limits.iter().copied();
    for step in steps {
        // With clocks that differ, nothing counts earlier than what was counted last.
        let at = usage.counted_at.map_or(now, |counted_at| counted_at.max(now));
        match step {
            Step::Wait(minutes) if minutes < 0 => now = now - MINUTE * u32::try_from(-minutes).unwrap(),
            Step::Wait(minutes) => now = now + MINUTE * u32::try_from(minutes).unwrap(),
            Step::Reserve(amount) => {
                let reserved = usage.reserve(msats(amount), limits(), now);
                let is_allowed = limits().all(|limit| naive.allows(amount, limit, at));
                assert_eq!(reserved.is_ok(), is_allowed, "{reserved:?}");
                if let Some(available) = usage.available(limits(), now) {
                    assert!(msats(amount) <= available || !is_allowed);
                }
                if let Ok(reserved) = reserved {
                    usage = reserved;
                    naive.running.push(Request { reserved: vec![(at, amount)], settled: None });
                }
            }
            Step::Extend(..) | Step::Settle(..) | Step::Release(_) if naive.running.is_empty() => {}
            Step::Extend(of, more) => {
                let spend = limits().filter(|limit| !matches!(limit, Limit::Requests(_)));
                let extended = usage.extend(msats(more), limits(), now);
                assert_eq!(extended.is_ok(), spend.into_iter().all(|limit| naive.allows(more, limit, at)));
                if let Ok(extended) = extended {
                    usage = extended;
                    of.get_mut(&mut naive.running).reserved.push((at, more));
                }
            }
            Step::Settle(of, percent) => {
                let request = naive.running.remove(of.index(naive.running.len()));
                let reserved = request.all_reserved();
                let cost = reserved * percent / 100;
                usage = usage.settle(msats(reserved), msats(cost), now).unwrap();
                naive.settled.push(Request { settled: Some((at, cost)), ..request });
            }
            Step::Release(of) => {
                let request = naive.running.remove(of.index(naive.running.len()));
                usage = usage.release(msats(request.all_reserved())).unwrap();
            }
        }
        limits().for_each(|limit| naive.check(limit));
        assert_eq!((usage.spent.get(), usage.reserved.get()), (naive.total(), naive.reserved()));
        assert_eq!(usage.requests, u64::try_from(naive.settled.len()).unwrap());
        assert_eq!(usage.running, u64::try_from(naive.running.len()).unwrap());
        let at = usage.counted_at.map_or(now, |counted_at| counted_at.max(now));
        for period in Period::ALL {
            assert_eq!(usage.spent_in(period, at).get(), naive.settled_in(period, at), "{period}");
        }
    }
}

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    prop::collection::vec(testing::limit(1_000), 0..4)
}

fn minutes() -> impl Strategy<Value = i64> {
    prop_oneof![0_i64..40, 0_i64..2_000, 0_i64..60_000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_limit_is_passed_in_any_period_by_either_accounting(limits in limits(), steps in steps(minutes())) {
        run(&limits, steps);
    }

    /// The clocks of the servers differ.
    #[test]
    fn no_limit_is_passed_with_clocks_that_differ(
        limits in limits(), steps in steps(prop_oneof![minutes(), -100_i64..0]),
    ) {
        run(&limits, steps);
    }
}
