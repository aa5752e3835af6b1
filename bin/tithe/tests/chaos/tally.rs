//! What the customers have seen, together.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often something was seen.
#[derive(Default)]
pub(crate) struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    pub(crate) fn add(&self, what: &str) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// What the customers have seen, together.
pub(crate) struct Tally {
    pub(crate) paid_sats: AtomicU64,
    pub(crate) owed_back_sats: AtomicU64,
    /// The least that anybody has seen in the pool that was not reserved.
    pub(crate) pool_least_msats: AtomicU64,
    /// What the pool has paid, by job.
    absorbed_sats: Mutex<BTreeMap<String, u64>>,
    /// How jobs have ended.
    pub(crate) ends: Counts,
    /// In which tiers their customers were.
    pub(crate) tiers: Counts,
    /// Who paid for accepted work.
    pub(crate) served: Counts,
    /// How often they tried again, and why.
    pub(crate) retries: Counts,
    /// What they were told has happened, in this order.
    answers: Mutex<Vec<Answer>>,
}

/// That a keyed request was carried out.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    pub(crate) key: String,
    pub(crate) status: u16,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            paid_sats: AtomicU64::default(),
            owed_back_sats: AtomicU64::default(),
            pool_least_msats: AtomicU64::new(u64::MAX),
            absorbed_sats: Mutex::default(),
            ends: Counts::default(),
            tiers: Counts::default(),
            served: Counts::default(),
            retries: Counts::default(),
            answers: Mutex::default(),
        }
    }
}

impl Tally {
    /// Takes in how the pool stands: it never promises more than it has.
    pub(crate) fn pool(&self, pool: &Value) {
        let msats = |field: &str| pool[field].as_u64().unwrap();
        let free = msats("balanceMsats").checked_sub(msats("reservedMsats"));
        let free = free.unwrap_or_else(|| panic!("more is reserved than there is: {pool}"));
        self.pool_least_msats.fetch_min(free, Ordering::SeqCst);
    }

    /// Takes in how a job has ended for who has paid so much: what was paid, by whomever, was charged or is refunded.
    pub(crate) fn end(&self, request: &str, job: &Value, paid: u64, fee: u64) {
        let sats = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no amount in {job}"));
        let refund = sats(&job["refund"]["amountSats"]);
        let absorbed = sats(&job["absorbed_sats"]);
        let state = job["state"].as_str().unwrap();
        let (end, charged) = match state {
            "complete" => {
                let charged = sats(&job["charged"]["chargedSats"]);
                let cost = sats(&job["usage"]["costSats"]);
                assert_eq!(job["charged"]["absorbedSats"], absorbed, "{job}");
                // Each of the three is rounded up to whole sats.
                assert!((cost..=cost + 1).contains(&(charged + absorbed)), "{job}");
                (state, fee + charged)
            }
            "rejected" => (state, fee),
            // The evaluation was paid for, unless it was what failed.
            "failed" => {
                let end = if request.contains("[sim:refuse]") { "failed as asked" } else { state };
                (end, if refund == paid { 0 } else { fee })
            }
            "expired" if paid == 0 => ("expired before the evaluation", 0),
            // A payment that came too late is refunded, whichever invoice it was for.
            "expired" => ("expired before the work", if refund == paid { 0 } else { fee }),
            other => panic!("a job that is over is {other}: {job}"),
        };
        assert_eq!(paid, charged + refund, "{job}");
        assert!(state == "complete" || absorbed == 0, "the pool pays for nothing that was not done: {job}");
        assert_eq!(job["free_tier"], absorbed > 0, "{job}");
        self.ends.add(end);
        self.paid_sats.fetch_add(paid, Ordering::SeqCst);
        self.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
        if absorbed > 0 {
            self.absorb(job["jobId"].as_str().unwrap(), absorbed);
        }
    }

    /// Takes in that a keyed request was carried out.
    pub(crate) fn answer(&self, key: &str, status: u16) {
        self.answers.lock().unwrap().push(Answer { at: Instant::now(), key: key.to_owned(), status });
    }

    /// The longest time between two answers, or that between the two around a moment.
    pub(crate) fn pause(&self, around: Option<Instant>) -> Duration {
        let answers = self.answers();
        let pairs =
            answers.windows(2).filter(|pair| around.is_none_or(|at| pair[0].at <= at && at < pair[1].at));
        pairs.map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default()
    }

    /// What customers were told has happened, in this order.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap().clone()
    }

    /// Takes in that the pool has paid for a job or a request.
    pub(crate) fn absorb(&self, id: &str, sats: u64) {
        self.absorbed_sats.lock().unwrap().insert(id.to_owned(), sats);
    }

    /// What the pool has paid, by job or request.
    pub(crate) fn absorbed(&self) -> BTreeMap<String, u64> {
        self.absorbed_sats.lock().unwrap().clone()
    }
}
