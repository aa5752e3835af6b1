//! Watching the pool, or an install, while others write.

use super::{FreshStore, rows};
use crate::people::pubkey;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tithe_clock::Timestamp;
use tithe_engine::store::AuditRow;
use tithe_free_tier::{Identity, PoolCounters, Reservation, ReservationId};
use tithe_ledger::credits::{Install, InstallId, Quota};
use tithe_ledger::{AccountId, TransferKind};
use tithe_trust::NostrPubkey;
use tokio::sync::Notify;

/// What must hold at every instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// What each identity may take in a day, in msats.
    pub(super) budget: u64,
    /// What offers may hold together, in msats; `None` where grants change the pool, and with it what they may.
    pub(super) offered: Option<u64>,
    /// The time by which days are read.
    pub(super) now: Timestamp,
}

/// What the pool and everybody's days come to, in one consistent view, by adding up rows. Amounts in msats.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) pool: u64,
    pub(super) held: u64,
    /// What came into the pool and went out of it other than by grants.
    pub(super) given: i128,
    pub(super) granted_by_ledger: u64,
    pub(super) granted_by_log: HashMap<NostrPubkey, u64>,
    pub(super) days: HashMap<NostrPubkey, Identity>,
    pub(super) live: HashMap<NostrPubkey, u64>,
    pub(super) offers: HashMap<NostrPubkey, Vec<ReservationId>>,
    pub(super) offered: u64,
    pub(super) tally: PoolCounters,
}

impl View {
    pub(super) async fn of(store: &FreshStore) -> Self {
        let mut view = Self::default();
        for row in rows(store).await {
            match row {
                AuditRow::Account(account) if account.id() == AccountId::Pool => {
                    (view.pool, view.held) = (account.balance().get(), account.held().get());
                }
                AuditRow::Transfer(transfer) => {
                    let amount = transfer.amount.get();
                    match (transfer.kind, transfer.debit, transfer.credit) {
                        (TransferKind::Grant, AccountId::Pool, AccountId::Revenue) => {
                            view.granted_by_ledger += amount;
                        }
                        (_, AccountId::Pool, _) => view.given -= i128::from(amount),
                        (_, _, AccountId::Pool) => view.given += i128::from(amount),
                        _ => {}
                    }
                }
                AuditRow::Grant(grant) => {
                    *view.granted_by_log.entry(grant.pubkey).or_default() += grant.absorbed.get();
                }
                AuditRow::Identity(standing) => {
                    view.days.insert(standing.pubkey(), *standing);
                }
                AuditRow::Reservation(reservation) => view.reservation(&reservation),
                AuditRow::PoolCounters(tally) => view.tally = tally,
                _ => {}
            }
        }
        view
    }

    fn reservation(&mut self, reservation: &Reservation) {
        let Reservation { id, pubkey, amount, state, .. } = reservation;
        if state.is_live() {
            *self.live.entry(*pubkey).or_default() += amount.get();
        }
        if reservation.is_offer() {
            self.offers.entry(*pubkey).or_default().push(*id);
            self.offered += amount.get();
        }
    }

    /// Invariant I5, and that everything that counts a thing counts the same. Nothing but the free tier may use the pool,
    /// and all within one day.
    pub(super) fn check(&self, limits: Limits) {
        assert!(self.held <= self.pool, "{} of the pool's {} are held", self.held, self.pool);
        let granted: u64 = self.granted_by_log.values().sum();
        assert_eq!(granted, self.granted_by_ledger, "the log and the ledger");
        assert_eq!(granted, self.tally.granted_today(limits.now).get(), "the log and the tally");
        assert_eq!(i128::from(self.pool), self.given - i128::from(granted), "the pool and the ledger");
        assert_eq!(self.held, self.live.values().sum::<u64>(), "the pool and its reservations");
        assert_eq!(self.tally.offered.get(), self.offered, "the tally and the offers");
        if let Some(most) = limits.offered {
            assert!(self.offered <= most, "{} are offered of {most}", self.offered);
        }
        for (who, standing) in &self.days {
            let day = &standing.window;
            let used = day.used(limits.now).unwrap().get();
            assert!(used <= limits.budget, "{used} of {who}'s {} are used", limits.budget);
            assert_eq!(day.absorbed.get(), self.granted_by_log.get(who).copied().unwrap_or(0), "{who}'s log");
            assert_eq!(day.reserved.get(), self.live.get(who).copied().unwrap_or(0), "{who}'s reservations");
            let open: Vec<ReservationId> = day.offer.into_iter().collect();
            assert_eq!(open, *self.offers.get(who).unwrap_or(&Vec::new()), "{who}'s offers");
        }
        for who in self.granted_by_log.keys().chain(self.live.keys()) {
            assert!(self.days.contains_key(who), "{who} has no row");
        }
    }
}

/// Looks at the pool through every server in turn while `work` goes on, from before it begins until after it has ended;
/// each look must find the limits kept and the audit sound.
pub(super) async fn watched<T>(servers: &[FreshStore], limits: Limits, work: impl Future<Output = T>) -> T {
    let (done, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let watcher = tokio::spawn(watch(servers.to_vec(), limits, done.clone(), begun.clone()));
    begun.notified().await;
    let result = work.await;
    done.store(true, Ordering::SeqCst);
    watcher.await.expect("every look finds the limits kept");
    View::of(&servers[0]).await.check(limits);
    super::assert_sound(&servers[0]).await;
    result
}

/// Looks at an install through every server in turn while `work` goes on, from before it begins until after it has ended: at no
/// instant has it used more than its quota, and its counters are those of its credits.
pub(super) async fn watched_install<T>(
    servers: &[FreshStore],
    install: InstallId,
    quota: Quota,
    work: impl Future<Output = T>,
) -> T {
    let (done, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (stores, is_done, has_begun) = (servers.to_vec(), done.clone(), begun.clone());
    let watcher = tokio::spawn(async move {
        let mut looks = 0_usize;
        while !is_done.load(Ordering::SeqCst) {
            let store = &stores[looks % stores.len()];
            for _ in 0..10 {
                if let Some(row) = store.install(install).await.unwrap() {
                    assert_within(&row, &quota);
                }
            }
            // The rows of one moment: also those of I9.
            super::assert_sound(store).await;
            looks += 1;
            has_begun.notify_one();
        }
        looks
    });
    begun.notified().await;
    let result = work.await;
    done.store(true, Ordering::SeqCst);
    watcher.await.expect("every look finds the quota kept");
    assert_within(&servers[0].install(install).await.unwrap().unwrap(), &quota);
    super::assert_sound(&servers[0]).await;
    result
}

fn assert_within(row: &Install, quota: &Quota) {
    let used = row.counters(quota.counted);
    assert!(quota.requests.is_none_or(|most| used.consumed + used.reserved <= most), "{row:?}");
    assert!(quota.cloud.is_none_or(|most| used.cloud_consumed + used.cloud_reserved <= most), "{row:?}");
}

async fn watch(servers: Vec<FreshStore>, limits: Limits, done: Arc<AtomicBool>, begun: Arc<Notify>) {
    let mut looks = 0_usize;
    while !done.load(Ordering::SeqCst) {
        let store = &servers[looks % servers.len()];
        // Often what is cheap to see: the pool's row, and one person's.
        for _ in 0..10 {
            if let Some(pool) = store.account(AccountId::Pool).await.unwrap() {
                assert!(pool.held() <= pool.balance(), "{pool:?}");
            }
            if let Some(standing) = store.identity(pubkey(1)).await.unwrap() {
                let used = standing.window.used(limits.now).unwrap().get();
                assert!(used <= limits.budget, "{used} are used: {standing:?}");
            }
        }
        View::of(store).await.check(limits);
        super::assert_sound(store).await;
        looks += 1;
        // After the first look, so that whatever goes wrong first is seen.
        begun.notify_one();
    }
}
