//! Random commands against a naive reference.
//!
//! The reference keeps plain numbers and does what the design says in the plainest way, one command at a time; it shares no
//! code with the books but the amounts of a quote. [`drive`] sends random batches to a store and compares, after each: what
//! was accepted and refused, every balance, every state.

pub mod free_tier;
mod op;
mod reference;
mod translate;

use crate::scene::{START, claim, commit, job_id};
use op::{Op, op};
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reference::Reference;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::store::Store;

/// How long holds of the model are live.
const LEASE: Duration = Duration::from_secs(40);

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
