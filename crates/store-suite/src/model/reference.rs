//! The naive reference.

use super::LEASE;
use super::op::Op;
use crate::scene::{EXPIRY, FEE_SATS, usage, work};
use std::collections::{HashMap, HashSet};
use tithe_clock::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldIs {
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
pub(super) struct RefJob {
    pub(super) state: &'static str,
    pub(super) money: i128,
    pub(super) refund_sats: i128,
    /// The evaluation's invoice and the work's.
    papers: [Option<Paper>; 2],
}

/// The reference.
#[derive(Default)]
pub(super) struct Reference {
    pub(super) base: u8,
    pub(super) seed: u64,
    pub(super) balances: HashMap<u8, i128>,
    pub(super) held: HashMap<u8, i128>,
    pub(super) keys: HashSet<u8>,
    pub(super) holds: HashMap<u8, (u8, i128, HoldIs)>,
    pub(super) jobs: HashMap<u8, RefJob>,
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
    pub(super) fn run(&mut self, op: &Op, now: Timestamp) -> bool {
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

pub(super) fn asked_msats(for_work: bool) -> i128 {
    let sats = if for_work { work().amount.get() } else { FEE_SATS };
    i128::from(sats) * 1_000
}

pub(super) fn paid_msats(asked: i128, how: u8) -> i128 {
    match how {
        0 => asked - 1,
        1 => asked + 777,
        _ => asked,
    }
}
