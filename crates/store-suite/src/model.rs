//! Random commands against a naive reference.
//!
//! The reference keeps plain numbers and does what the design says in the plainest way, one command at a time; it shares no
//! code with the books but the amounts of a quote. [`drive`] sends random batches to a store and compares, after each: what
//! was accepted and refused, every balance, every state.

use crate::scene::{
    EXPIRY, FEE_SATS, START, claim, commit, invoice, job_id, msats, new_job, preimage, settlement, usage,
    work,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::commands::{Command, Posting, Verdict, WorkOutcome};
use tithe_engine::store::Store;
use tithe_jobs::Lease;
use tithe_ledger::{AccountId, HoldId, TransferKey, TransferKind};
use tithe_lightning::Purpose;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(40);

/// Something that may happen. Numbers name accounts, holds and jobs from small sets, so that commands meet.
#[derive(Debug, Clone)]
pub enum Op {
    /// Money moves between two accounts, under one of a few keys.
    Post(u8, u8, u64, u8),
    /// A hold is placed.
    Place(u8, u8, u64),
    /// A hold is settled.
    Settle(u8, u64),
    /// A hold is released.
    Release(u8),
    /// A hold's lease is renewed.
    Renew(u8),
    /// A hold is expired.
    Expire(u8),
    /// A job is made.
    Create(u8),
    /// A job gets an invoice.
    Issue(u8, bool),
    /// An invoice is paid: short, exactly or over.
    Pay(u8, bool, u8),
    /// An invoice is given up.
    Lapse(u8, bool),
    /// An evaluation ends: accepted, rejected, failed.
    Judge(u8, u8),
    /// Work ends: done with that many tokens of output, or failed.
    Finish(u8, Option<u64>),
}

fn op() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![1_u64..50, 500_u64..30_000];
    let accounts = 0_u8..4;
    prop_oneof![
        3 => (0_u8..4, 0_u8..4, amount.clone(), 0_u8..12).prop_map(|(a, b, n, k)| Op::Post(a, b, n, k)),
        3 => (0_u8..8, accounts, amount.clone()).prop_map(|(h, a, n)| Op::Place(h, a, n)),
        2 => (0_u8..8, amount).prop_map(|(h, n)| Op::Settle(h, n)),
        1 => (0_u8..8).prop_map(Op::Release),
        1 => (0_u8..8).prop_map(Op::Renew),
        2 => (0_u8..8).prop_map(Op::Expire),
        3 => (0_u8..6).prop_map(Op::Create),
        6 => (0_u8..6, any::<bool>()).prop_map(|(j, w)| Op::Issue(j, w)),
        6 => (0_u8..6, any::<bool>(), 0_u8..10).prop_map(|(j, w, n)| Op::Pay(j, w, n)),
        2 => (0_u8..6, any::<bool>()).prop_map(|(j, w)| Op::Lapse(j, w)),
        5 => (0_u8..6, 0_u8..8).prop_map(|(j, v)| Op::Judge(j, v)),
        5 => (0_u8..6, proptest::option::weighted(0.8, 0_u64..400)).prop_map(|(j, n)| Op::Finish(j, n)),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HoldIs {
    Held(Timestamp),
    Ended,
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paper {
    Pending(Timestamp),
    Paid,
    Lapsed,
}

#[derive(Debug, Clone)]
struct RefJob {
    state: &'static str,
    money: i128,
    refund_sats: i128,
    /// The evaluation's invoice and the work's.
    papers: [Option<Paper>; 2],
}

/// The reference.
#[derive(Default)]
struct Reference {
    base: u8,
    seed: u64,
    balances: HashMap<u8, i128>,
    held: HashMap<u8, i128>,
    keys: HashSet<u8>,
    holds: HashMap<u8, (u8, i128, HoldIs)>,
    jobs: HashMap<u8, RefJob>,
}

/// Accounts 0 and 1 are guarded, 2 and 3 are not.
fn guarded(account: u8) -> bool {
    account < 2
}

impl Reference {
    fn free(&self, account: u8) -> i128 {
        self.balances.get(&account).unwrap_or(&0) - self.held.get(&account).unwrap_or(&0)
    }

    /// Does `op` at `now`, or refuses it.
    fn run(&mut self, op: &Op, now: Timestamp) -> bool {
        match *op {
            Op::Post(from, to, amount, key) => {
                if self.keys.contains(&key) {
                    return true;
                }
                let amount = i128::from(amount);
                if from == to || guarded(from) && self.free(from) < amount {
                    return false;
                }
                *self.balances.entry(from).or_default() -= amount;
                *self.balances.entry(to).or_default() += amount;
                self.keys.insert(key);
                true
            }
            Op::Place(hold, account, amount) => {
                let account = account % 2;
                if self.holds.contains_key(&hold) || self.free(account) < i128::from(amount) {
                    return false;
                }
                *self.held.entry(account).or_default() += i128::from(amount);
                self.holds.insert(hold, (account, amount.into(), HoldIs::Held(now + LEASE)));
                true
            }
            Op::Settle(hold, cost) => {
                let Some((account, amount, is)) = self.holds.get(&hold).copied() else { return false };
                let next = match is {
                    HoldIs::Held(_) => {
                        *self.held.entry(account).or_default() -= amount;
                        HoldIs::Ended
                    }
                    HoldIs::Expired => HoldIs::Ended,
                    HoldIs::Ended => return false,
                };
                let charged = self.free(account).min(cost.into());
                *self.balances.entry(account).or_default() -= charged;
                self.holds.insert(hold, (account, amount, next));
                true
            }
            Op::Release(hold) => self.end_hold(hold, HoldIs::Ended, |_| true),
            Op::Expire(hold) => self.end_hold(hold, HoldIs::Expired, |until| now >= until),
            Op::Renew(hold) => match self.holds.get_mut(&hold) {
                Some((_, _, is @ HoldIs::Held(_))) => {
                    *is = HoldIs::Held(now + LEASE);
                    true
                }
                _ => false,
            },
            Op::Create(job) => {
                let new = !self.jobs.contains_key(&job);
                self.jobs.entry(job).or_insert(RefJob {
                    state: "awaiting_eval_payment",
                    money: 0,
                    refund_sats: 0,
                    papers: [None, None],
                });
                new
            }
            Op::Issue(job, for_work) => self.issue(job, for_work, now),
            Op::Pay(job, for_work, how) => self.pay(job, for_work, how),
            Op::Lapse(job, for_work) => self.lapse(job, for_work, now),
            Op::Judge(job, verdict) => self.judge(job, verdict),
            Op::Finish(job, output) => self.finish(job, output),
        }
    }

    fn end_hold(&mut self, hold: u8, to: HoldIs, may: impl Fn(Timestamp) -> bool) -> bool {
        let Some((account, amount, HoldIs::Held(until))) = self.holds.get(&hold).copied() else {
            return false;
        };
        if !may(until) {
            return false;
        }
        *self.held.entry(account).or_default() -= amount;
        self.holds.insert(hold, (account, amount, to));
        true
    }

    fn issue(&mut self, job: u8, for_work: bool, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&job) else { return false };
        let paper = &mut job.papers[usize::from(for_work)];
        let (wanted, next) = if for_work {
            ("accepted", "awaiting_work_payment")
        } else {
            ("awaiting_eval_payment", "awaiting_eval_payment")
        };
        if paper.is_some() || job.state != wanted {
            return false;
        }
        *paper = Some(Paper::Pending(now + EXPIRY));
        job.state = next;
        true
    }

    fn pay(&mut self, job: u8, for_work: bool, how: u8) -> bool {
        let asked = asked_msats(for_work);
        let amount = paid_msats(asked, how);
        let Some(job) = self.jobs.get_mut(&job) else { return false };
        let paper = &mut job.papers[usize::from(for_work)];
        let in_time = match paper {
            None => return false,
            Some(Paper::Paid) => return true,
            Some(Paper::Pending(_)) => true,
            Some(Paper::Lapsed) => false,
        };
        *paper = Some(Paper::Paid);
        job.money += amount;
        let (waits, next) = if for_work {
            ("awaiting_work_payment", "executing")
        } else {
            ("awaiting_eval_payment", "evaluating")
        };
        if in_time && job.state == waits {
            job.state = if amount < asked { "expired" } else { next };
        }
        job.close_if_ended();
        true
    }

    fn lapse(&mut self, job: u8, for_work: bool, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&job) else { return false };
        let paper = &mut job.papers[usize::from(for_work)];
        match paper {
            Some(Paper::Pending(expires)) if now >= *expires => *paper = Some(Paper::Lapsed),
            Some(Paper::Lapsed) => return true,
            _ => return false,
        }
        let waits = if for_work { "awaiting_work_payment" } else { "awaiting_eval_payment" };
        if job.state == waits {
            job.state = "expired";
            job.close_if_ended();
        }
        true
    }

    fn judge(&mut self, job: u8, verdict: u8) -> bool {
        let Some(job) = self.jobs.get_mut(&job) else { return false };
        let fee = i128::from(FEE_SATS) * 1_000;
        match (job.state, verdict) {
            ("evaluating", 0) => {
                job.money -= fee;
                job.state = "rejected";
            }
            ("evaluating" | "accepted", 1) => job.state = "failed",
            ("evaluating", 2..) => {
                job.money -= fee;
                job.state = "accepted";
            }
            _ => return false,
        }
        job.close_if_ended();
        true
    }

    fn finish(&mut self, job: u8, output: Option<u64>) -> bool {
        let Some(job) = self.jobs.get_mut(&job).filter(|job| job.state == "executing") else { return false };
        if let Some(output) = output {
            let terms = work().quote.terms;
            let price = work().quote.rates.price(&usage(output), &terms).unwrap().msats.get();
            let most = asked_msats(true);
            job.money -= i128::from(price).min(most).min(job.money);
            job.state = "complete";
        } else {
            job.state = "failed";
        }
        job.close_if_ended();
        true
    }
}

impl RefJob {
    fn close_if_ended(&mut self) {
        if matches!(self.state, "rejected" | "complete" | "failed" | "expired") {
            self.refund_sats += self.money / 1_000;
            self.money = 0;
        }
    }
}

fn asked_msats(for_work: bool) -> i128 {
    let sats = if for_work { work().amount.get() } else { FEE_SATS };
    i128::from(sats) * 1_000
}

fn paid_msats(asked: i128, how: u8) -> i128 {
    match how {
        0 => asked - 1,
        1 => asked + 777,
        _ => asked,
    }
}

impl Reference {
    fn account(&self, account: u8) -> AccountId {
        match account {
            0 => AccountId::Session(self.uuid(900)),
            1 => AccountId::Session(self.uuid(901)),
            2 => AccountId::Operator,
            _ => AccountId::Revenue,
        }
    }

    fn uuid(&self, n: u128) -> Uuid {
        Uuid::from_u128(u128::from(self.seed) << 64 | n)
    }

    fn hold(&self, hold: u8) -> HoldId {
        HoldId(self.uuid(u128::from(hold)))
    }

    /// The command that `op` is, with the leases that jobs have now.
    fn command(&self, op: &Op, leases: &HashMap<u8, Lease>, now: Timestamp) -> Command {
        let job = |n: u8| self.base + n;
        let purpose = |for_work| if for_work { Purpose::JobWork } else { Purpose::JobEval };
        let lease = |n: &u8| leases.get(n).copied().unwrap_or_default();
        let on = |hold: u8| self.account(self.holds.get(&hold).map_or(0, |(account, ..)| *account));
        match op {
            Op::Post(from, to, amount, key) => Command::Post(Posting {
                key: TransferKey::new(format!("post:{}:{key}", self.seed)),
                debit: self.account(*from),
                credit: self.account(*to),
                amount: msats(*amount),
                kind: TransferKind::Adjustment,
                reference: Uuid::nil(),
            }),
            Op::Place(hold, account, amount) => Command::HoldPlace {
                hold: self.hold(*hold),
                account: self.account(account % 2),
                amount: msats(*amount),
                lease: LEASE,
            },
            Op::Settle(hold, cost) => {
                Command::HoldSettle { hold: self.hold(*hold), account: on(*hold), cost: msats(*cost) }
            }
            Op::Release(hold) => Command::HoldRelease { hold: self.hold(*hold), account: on(*hold) },
            Op::Expire(hold) => Command::HoldExpire { hold: self.hold(*hold), account: on(*hold) },
            Op::Renew(hold) => {
                Command::HoldRenew { hold: self.hold(*hold), account: on(*hold), lease: LEASE }
            }
            Op::Create(n) => Command::JobCreate { job: Box::new(new_job(job(*n), now)), idempotency: None },
            Op::Issue(n, for_work) => Command::InvoiceIssue {
                job: job_id(job(*n)),
                invoice: invoice(job(*n), purpose(*for_work), now),
                lease: for_work.then(|| lease(n)),
                finish: None,
            },
            Op::Pay(n, for_work, how) => {
                let amount = u64::try_from(paid_msats(asked_msats(*for_work), *how)).unwrap();
                let settlement = settlement(job(*n), purpose(*for_work), msats(amount), now);
                Command::PaymentCredit { job: job_id(job(*n)), settlement }
            }
            Op::Lapse(n, for_work) => Command::InvoiceLapse {
                job: job_id(job(*n)),
                invoice: preimage(job(*n), purpose(*for_work)).payment_hash(),
            },
            Op::Judge(n, verdict) => Command::EvaluationFinish {
                job: job_id(job(*n)),
                lease: lease(n),
                verdict: match verdict {
                    0 => Verdict::Rejected("no".to_owned()),
                    1 => Verdict::Failed("sorry".to_owned()),
                    _ => Verdict::Accepted(work()),
                },
            },
            Op::Finish(n, output) => Command::WorkFinish {
                job: job_id(job(*n)),
                lease: lease(n),
                outcome: match output {
                    Some(output) => WorkOutcome::Completed { text: Arc::from("done"), usage: usage(*output) },
                    None => WorkOutcome::Failed("broken".to_owned()),
                },
            },
        }
    }

    async fn compare(&self, store: &dyn Store) {
        for account in [0, 1] {
            let row = store.account(self.account(account)).await.unwrap();
            let (balance, held) = row.map_or((0, 0), |row| (row.balance().get(), row.held().get()));
            assert_eq!(i128::from(balance), *self.balances.get(&account).unwrap_or(&0));
            assert_eq!(i128::from(held), *self.held.get(&account).unwrap_or(&0));
        }
        for (n, wanted) in &self.jobs {
            let id = job_id(self.base + n);
            let job = store.job(id).await.unwrap().unwrap();
            let state = if job.state.work().is_some() && job.state.name().as_str() == "evaluating" {
                "accepted"
            } else {
                job.state.name().as_str()
            };
            assert_eq!(state, wanted.state);
            assert_eq!(i128::from(job.refund.amount().get()), wanted.refund_sats);
            let account = store.account(AccountId::Job(id.0)).await.unwrap();
            assert_eq!(account.map_or(0, |row| i128::from(row.balance().get())), wanted.money);
        }
    }
}

/// Sends `batches` random batches to the store and compares after each. Seeds up to 40 use rows of their own.
pub async fn drive(store: Arc<dyn Store>, seed: u8, batches: usize) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let steps = proptest::collection::vec((proptest::collection::vec(op(), 1..9), 0_u64..120), batches);
    let steps = steps.new_tree(&mut runner).unwrap().current();
    let mut reference = Reference { base: seed * 6, seed: seed.into(), ..Reference::default() };
    let mut now = START;
    let funded = [Op::Post(2, 0, 40_000, 100), Op::Post(2, 1, 9_000, 101)];
    for (ops, wait) in std::iter::once((funded.to_vec(), 0)).chain(steps) {
        now = now + Duration::from_secs(wait);
        let mut leases = HashMap::new();
        // Jobs are claimed between batches, for so long that nobody else takes them over.
        let claim = tithe_jobs::JobClaim { until: now + Duration::from_hours(9_999), ..claim(1, now, 999) };
        store.jobs_claim(&claim).await.unwrap();
        for n in reference.jobs.keys() {
            let job = store.job(job_id(reference.base + n)).await.unwrap().unwrap();
            leases.insert(*n, job.lease);
        }
        // A command that moves a job on ends the lease that a later one of the batch was to use.
        let mut touched = HashSet::new();
        let ops: Vec<Op> = ops
            .into_iter()
            .filter(|op| match op {
                Op::Create(n)
                | Op::Issue(n, _)
                | Op::Pay(n, ..)
                | Op::Lapse(n, _)
                | Op::Judge(n, _)
                | Op::Finish(n, _) => touched.insert(*n),
                _ => true,
            })
            .collect();
        let mut commands = Vec::new();
        let mut wanted = Vec::new();
        for op in &ops {
            // Holds placed earlier in the batch are known to the reference as it goes.
            commands.push(reference.command(op, &leases, now));
            wanted.push(reference.run(op, now));
        }
        let outcomes = commit(store.as_ref(), commands, now).await;
        for ((op, outcome), wanted) in ops.iter().zip(&outcomes).zip(&wanted) {
            assert_eq!(outcome.is_ok(), *wanted, "seed {seed}, {op:?} at {now}: {outcome:?}");
        }
        reference.compare(store.as_ref()).await;
    }
}
