//! How many of everything an epoch has, and the ids of what is numbered in it.

use tithe_jobs::JobId;
use uuid::Uuid;

/// How many jobs, and how many reservations, may be made in one epoch.
pub(super) const JOBS: u32 = 6;
pub(super) const RESERVATIONS: u32 = 8;

/// How many people there are. What is numbered `n` is of person `n` modulo this.
pub(super) const PEOPLE: u32 = 5;

/// How many holds may be placed in one epoch. Hold `n` is on the account of person `n` modulo 3.
pub(super) const HOLDS: u32 = 6;

/// The number of something of an epoch.
pub(super) fn numbered(epoch: u32, n: u32) -> u128 {
    u128::from(epoch) << 32 | u128::from(n)
}

pub(super) fn reservation_id(epoch: u32, n: u32) -> Uuid {
    Uuid::from_u128(2 << 100 | numbered(epoch, n))
}

pub(super) fn job_id(epoch: u32, n: u32) -> JobId {
    JobId(Uuid::from_u128(1 << 100 | numbered(epoch, n)))
}
