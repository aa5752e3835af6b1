//! What waits for its first payment, by customer. The counts are this server's own and end with the first payment or with the
//! invoice.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_jobs::{JobChange, StateName};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Where a request comes from, such as a block of addresses. Requests of one origin share the limits of strangers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a job or a session is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// An identity that has trust.
    Identity(NostrPubkey),
    /// Everybody of one origin.
    Origin(Origin),
}

impl Asker {
    /// Who somebody is counted for: an identity that has trust, or else all of an origin. `None` if neither is known.
    pub(super) fn of(trusted: Option<NostrPubkey>, origin: Option<Origin>) -> Option<Self> {
        trusted.map(Self::Identity).or_else(|| origin.map(Self::Origin))
    }
}

/// The jobs and sessions that wait for their first payment, by whom they are counted for.
#[derive(Default)]
pub(crate) struct UnpaidCounts(Mutex<Waiting>);

/// What is counted of offers.
pub(crate) struct OfferCounts {
    /// Those that wait for their first payment.
    pub(crate) unpaid: Arc<UnpaidCounts>,
    /// Those whose payment is awaited or held.
    pub(crate) held: Arc<UnpaidCounts>,
}

#[derive(Default)]
struct Waiting {
    items: HashMap<Uuid, (Asker, Timestamp)>,
    /// The items of each asker, by when their invoices expire.
    by_asker: HashMap<Asker, BTreeSet<(Timestamp, Uuid)>>,
}

impl Waiting {
    fn remove(&mut self, item: Uuid) {
        let Some((asker, until)) = self.items.remove(&item) else { return };
        if let Some(waiting) = self.by_asker.get_mut(&asker) {
            waiting.remove(&(until, item));
            if waiting.is_empty() {
                self.by_asker.remove(&asker);
            }
        }
    }
}

impl UnpaidCounts {
    /// Counts a job or a session that waits at most `until`, unless its asker has `most` already: then the time is returned after which there is
    /// room again.
    pub(super) fn admit(
        &self,
        item: Uuid,
        asker: Asker,
        most: usize,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let mut waiting = self.lock();
        let of_asker = waiting.by_asker.get(&asker).into_iter().flatten();
        let over: Vec<Uuid> =
            of_asker.take_while(|(until, _)| *until <= now).map(|(_, item)| *item).collect();
        for item in over {
            waiting.remove(item);
        }
        let of_asker = waiting.by_asker.entry(asker.clone()).or_default();
        if of_asker.len() >= most {
            let first = of_asker.first().map(|(until, _)| until.since(now));
            return Err(first.unwrap_or_default());
        }
        of_asker.insert((until, item));
        waiting.items.insert(item, (asker, until));
        Ok(())
    }

    /// What is counted for somebody.
    pub(super) fn items_of(&self, asker: &Asker) -> Vec<Uuid> {
        let waiting = self.lock();
        waiting.by_asker.get(asker).into_iter().flatten().map(|(_, item)| *item).collect()
    }

    /// Stops counting a job or a session.
    pub(crate) fn release(&self, item: Uuid) {
        self.lock().remove(item);
    }

    /// Stops counting jobs that have been paid for, or have ended.
    pub(crate) fn observe(&self, changes: &[JobChange]) {
        let mut waiting = self.lock();
        for change in changes.iter().filter(|change| change.state != StateName::AwaitingEvalPayment) {
            waiting.remove(change.job.0);
        }
    }

    /// Stops counting what has an expired invoice.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut waiting = self.lock();
        let over = waiting.items.iter().filter(|(_, (_, until))| *until <= now).map(|(item, _)| *item);
        for item in over.collect::<Vec<_>>() {
            waiting.remove(item);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_jobs::JobId;

    const MINUTE: Duration = Duration::from_mins(1);
    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn job(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn here() -> Asker {
        Asker::Origin(Origin::new("192.0.2.1"))
    }

    fn counted(admission: &UnpaidCounts) -> usize {
        let waiting = admission.lock();
        let sum = waiting.by_asker.values().map(BTreeSet::len).sum();
        assert_eq!(waiting.items.len(), sum);
        sum
    }

    #[test]
    fn one_asker_takes_no_room_of_another_and_is_told_when_there_is_room_again() {
        let admission = UnpaidCounts::default();
        for n in 0..3 {
            let until = START + MINUTE * u32::try_from(n + 1).unwrap();
            assert_eq!(admission.admit(job(n), here(), 3, until, START), Ok(()));
        }
        assert_eq!(admission.admit(job(3), here(), 3, START + MINUTE, START), Err(MINUTE));
        let there = Asker::Origin(Origin::new("192.0.2.2"));
        assert_eq!(admission.admit(job(4), there, 3, START + MINUTE, START), Ok(()));
        assert_eq!(counted(&admission), 4);
    }

    #[test]
    fn a_count_ends_with_the_invoice_with_a_payment_and_with_the_job() {
        let admission = UnpaidCounts::default();
        let admit = |n, now| admission.admit(job(n), here(), 1, now + MINUTE, now);
        assert_eq!(admit(1, START), Ok(()));
        assert!(admit(2, START).is_err());
        assert_eq!(admit(2, START + MINUTE), Ok(()), "the invoice of the first has expired");
        let change = |state| [JobChange { job: JobId(job(2)), revision: 3, state, at: START }];
        admission.observe(&change(StateName::AwaitingEvalPayment));
        assert!(admit(3, START + MINUTE).is_err());
        admission.observe(&change(StateName::Evaluating));
        assert_eq!(admit(3, START + MINUTE), Ok(()));
        admission.release(job(3));
        assert_eq!(admit(4, START + MINUTE), Ok(()));
        admission.sweep(START + MINUTE);
        assert_eq!(counted(&admission), 1);
        admission.sweep(START + MINUTE * 2);
        assert_eq!(counted(&admission), 0);
    }
}
