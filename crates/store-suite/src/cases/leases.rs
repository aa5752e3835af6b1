//! Leases: work is handed out once at a time.

use super::FreshStore;
use crate::scene::{START, Stage, claim, job_at, job_id};
use std::collections::HashSet;
use std::time::Duration;
use tithe_jobs::{JobClaim, JobId};

const HOUR: Duration = Duration::from_hours(1);

/// Not a moment before it ran out; and then whoever held it no longer does.
pub async fn a_lease_that_ran_out_is_taken_over(store: FreshStore) {
    job_at(store.as_ref(), 1, Stage::Executing, START).await;
    let first = store.jobs_claim(&claim(1, START, 1)).await.unwrap().remove(0).lease;
    let before = claim(2, START + HOUR - Duration::from_micros(1), 1);
    assert_eq!(store.jobs_claim(&before).await.unwrap(), []);
    let second = store.jobs_claim(&claim(2, START + HOUR, 1)).await.unwrap().remove(0).lease;
    assert_eq!(second.attempts, 2);
    assert!(!store.job_lease_renew(job_id(1), &first, START + HOUR * 9).await.unwrap());
    assert!(store.job_lease_renew(job_id(1), &second, START + HOUR * 9).await.unwrap());
    assert_eq!(store.jobs_claim(&claim(1, START + HOUR * 8, 1)).await.unwrap(), []);
}

/// A lease is nobody else's, not even the same server's from an earlier claim.
pub async fn only_its_holder_renews_or_hands_back_a_lease(store: FreshStore) {
    job_at(store.as_ref(), 1, Stage::Executing, START).await;
    let first = store.jobs_claim(&claim(1, START, 1)).await.unwrap().remove(0).lease;
    let second = store.jobs_claim(&claim(1, START + HOUR, 1)).await.unwrap().remove(0).lease;
    assert_eq!(first.owner, second.owner);
    assert!(!store.job_lease_hand_back(job_id(1), &first, START + HOUR).await.unwrap());
    assert!(!store.job_lease_renew(job_id(9), &second, START + HOUR).await.unwrap());
    let rest_until = START + HOUR + Duration::from_secs(5);
    assert!(store.job_lease_hand_back(job_id(1), &second, rest_until).await.unwrap());
    assert!(!store.job_lease_hand_back(job_id(1), &second, rest_until).await.unwrap());
    // It rests, then it is free, and the attempt that was handed back does not count.
    assert_eq!(store.jobs_claim(&claim(2, START + HOUR, 1)).await.unwrap(), []);
    let third = store.jobs_claim(&claim(2, rest_until, 1)).await.unwrap().remove(0).lease;
    assert_eq!((third.attempts, third.claims), (2, second.claims + 1));
}

/// Jobs that wait for a payment, or have ended, are nobody's work.
pub async fn only_jobs_with_something_to_do_are_claimed(store: FreshStore) {
    let mut runnable = HashSet::new();
    let stages = [
        Stage::New,
        Stage::Invoiced,
        Stage::WorkInvoiced,
        Stage::Complete,
        Stage::Evaluating,
        Stage::Accepted,
        Stage::Executing,
    ];
    for (n, stage) in (0..).zip(stages) {
        job_at(store.as_ref(), n, stage, START).await;
        if matches!(stage, Stage::Evaluating | Stage::Accepted | Stage::Executing) {
            runnable.insert(job_id(n));
        }
    }
    let all = JobClaim { limit: 100, ..claim(3, START + HOUR * 2, 0) };
    let claimed: HashSet<JobId> = store.jobs_claim(&all).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(claimed, runnable);
    let none = claim(3, START + HOUR * 9, 0);
    assert_eq!(store.jobs_claim(&none).await.unwrap(), []);
}
