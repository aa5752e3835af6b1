//! How much is unpaid over all customers: read from the store, and kept for a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;

/// How long one reading is used. What other servers admit meanwhile is not counted.
const KEPT: Duration = Duration::from_secs(1);

/// What the store said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpaid {
    /// The invoices that are unpaid, of all servers.
    pub(super) invoices: u64,
    /// What waits for the wallet to make its first invoice: the most of any kind, at most as many as the limit for them.
    pub(super) without_invoice: u64,
}

/// What may be unpaid at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) invoices: u64,
    pub(super) without_invoice: u64,
}

/// The last reading, and what this server has admitted since. Counting costs the more the more is unpaid, and every request without a payment asks
/// for it.
///
/// What is kept only ever admits. Whoever is refused is refused by a reading that began after they had asked, so that a payment, or an invoice that
/// has expired, makes room at once; those who wait for a reading share it.
#[derive(Default)]
pub(super) struct UnpaidTotal {
    kept: Mutex<Kept>,
    reader: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    last: Option<Reading>,
    /// The readings that have begun.
    begun: u64,
    /// What was admitted since the server started.
    admitted: u64,
}

struct Reading {
    number: u64,
    began: Timestamp,
    /// [`Kept::admitted`] when it began.
    admitted_before: u64,
    found: Unpaid,
}

impl Kept {
    /// Admits by a reading that fulfils the condition, if there is room. `None` without such a reading.
    fn admit(&mut self, most: Most, is_usable: impl FnOnce(&Reading) -> bool) -> Option<bool> {
        let reading = self.last.as_ref().filter(|reading| is_usable(reading))?;
        let since = self.admitted.saturating_sub(reading.admitted_before);
        let has_room = reading.found.invoices.saturating_add(since) < most.invoices
            && reading.found.without_invoice.saturating_add(since) < most.without_invoice;
        if has_room {
            self.admitted = self.admitted.saturating_add(1);
        }
        Some(has_room)
    }
}

impl UnpaidTotal {
    /// Counts one more, if there is room for it. Returns whether there is. `read` asks the store, if it must be asked.
    ///
    /// # Errors
    /// What `read` returns.
    pub(super) async fn admit<E>(
        &self,
        most: Most,
        now: Timestamp,
        read: impl AsyncFnOnce() -> Result<Unpaid, E>,
    ) -> Result<bool, E> {
        let begun = {
            let mut kept = self.lock();
            let is_fresh = |reading: &Reading| reading.began <= now && now < reading.began + KEPT;
            if kept.admit(most, is_fresh) == Some(true) {
                return Ok(true);
            }
            kept.begun
        };
        let _reader = self.reader.lock().await;
        let (number, admitted_before) = {
            let mut kept = self.lock();
            if let Some(has_room) = kept.admit(most, |reading| reading.number > begun) {
                return Ok(has_room);
            }
            kept.begun = kept.begun.saturating_add(1);
            (kept.begun, kept.admitted)
        };
        let found = read().await?;
        let mut kept = self.lock();
        kept.last = Some(Reading { number, began: now, admitted_before, found });
        Ok(kept.admit(most, |_| true).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering};

    const START: Timestamp = Timestamp::UNIX_EPOCH;
    const ROOMY: Most = Most { invoices: 5, without_invoice: 1_000 };

    /// A store with so many unpaid invoices, and how often it was asked.
    #[derive(Default)]
    struct Rows {
        unpaid: AtomicU64,
        readings: AtomicU64,
    }

    impl Rows {
        async fn admit(&self, total: &UnpaidTotal, most: Most, now: Timestamp) -> bool {
            let read = async || {
                self.readings.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Unpaid {
                    invoices: self.unpaid.load(Ordering::Relaxed),
                    without_invoice: 0,
                })
            };
            let Ok(is_admitted) = total.admit(most, now, read).await;
            self.unpaid.fetch_add(u64::from(is_admitted), Ordering::Relaxed);
            is_admitted
        }

        fn readings(&self) -> u64 {
            self.readings.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn one_reading_admits_as_many_as_it_has_room_for_within_its_second() {
        let (total, rows) = (UnpaidTotal::default(), Rows::default());
        rows.unpaid.store(2, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(rows.admit(&total, ROOMY, START).await);
        }
        assert_eq!(rows.readings(), 1);
        assert!(!rows.admit(&total, ROOMY, START).await);
        assert_eq!(rows.readings(), 2, "a refusal is never by what was kept");
        rows.unpaid.store(4, Ordering::Relaxed);
        assert!(rows.admit(&total, ROOMY, START).await, "a payment makes room at once");
        assert_eq!(rows.readings(), 3);
    }

    #[tokio::test]
    async fn a_reading_is_made_again_after_a_second_and_if_the_clock_goes_back() {
        let (total, rows) = (UnpaidTotal::default(), Rows::default());
        for (now, readings) in [(START + KEPT, 1), (START + KEPT * 2, 2), (START, 3)] {
            assert!(rows.admit(&total, ROOMY, now).await);
            assert_eq!(rows.readings(), readings);
        }
    }

    #[tokio::test]
    async fn what_waits_for_the_wallet_has_a_limit_of_its_own() {
        let (total, rows) = (UnpaidTotal::default(), Rows::default());
        let most = Most { invoices: u64::MAX, without_invoice: 2 };
        assert!(rows.admit(&total, most, START).await);
        assert!(rows.admit(&total, most, START).await);
        assert_eq!(rows.readings(), 1);
        assert!(rows.admit(&total, most, START).await, "the store says that they have their invoices");
        assert_eq!(rows.readings(), 2);
        let read = async || Ok::<_, Infallible>(Unpaid { invoices: 0, without_invoice: 2 });
        assert!(rows.admit(&total, most, START).await);
        assert_eq!(total.admit(most, START, read).await, Ok(false));
    }

    #[tokio::test]
    async fn many_at_once_share_a_reading_and_no_more_are_admitted_than_there_is_room() {
        let (total, rows) = (UnpaidTotal::default(), Rows::default());
        rows.unpaid.store(1, Ordering::Relaxed);
        let asked = (0..64).map(|_| rows.admit(&total, ROOMY, START));
        let admitted = futures_util::future::join_all(asked).await;
        assert_eq!(admitted.into_iter().filter(|is_admitted| *is_admitted).count(), 4);
        assert_eq!(rows.readings(), 2, "one for those who are admitted, one for those who are refused");
    }

    #[tokio::test]
    async fn a_reading_that_fails_leaves_nothing_behind() {
        let (total, rows) = (UnpaidTotal::default(), Rows::default());
        assert_eq!(total.admit(ROOMY, START, async || Err("down")).await, Err("down"));
        assert!(rows.admit(&total, ROOMY, START).await);
    }
}
