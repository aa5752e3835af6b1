//! The audit of the pool, of identities' budgets, of reservations and of the log of grants (invariant I5).

use crate::{BudgetWindow, Grant, GrantLease, Identity, PoolCounters, Reservation, ReservationId};
use std::collections::HashMap;
use tithe_clock::Timestamp;
use tithe_ledger::{AccountId, Auditor, Invariant, Transfer, TransferKind};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// What is kept of an identity while its rows come in.
#[derive(Debug, Default)]
struct WindowFacts {
    stored: Option<BudgetWindow>,
    reserved: u128,
    offers: Vec<ReservationId>,
    granted_in_window: u128,
}

impl WindowFacts {
    fn counts(&self, at: Timestamp) -> bool {
        let resets_at = self.stored.as_ref().and_then(|window| window.resets_at);
        resets_at.is_some_and(|resets_at| resets_at - BudgetWindow::LENGTH <= at && at < resets_at)
    }
}

/// Audits the free tier: reads its rows and the ledger's transfers, and adds what is wrong to the findings of the ledger's
/// [`Auditor`].
///
/// Read identities, reservations and counters first, in any order, then grants and transfers, in any order; then call
/// [`PoolAuditor::finish`]. Memory grows with the number of identities and of open reservations.
///
/// ```
/// use tithe_free_tier::{PoolAuditor, PoolCounters};
/// use tithe_ledger::Auditor;
/// use tithe_money::Msats;
///
/// let (mut pool, mut ledger) = (PoolAuditor::default(), Auditor::default());
/// pool.counters(PoolCounters { offered: Msats::new(5)?, ..PoolCounters::default() });
/// pool.finish(&mut ledger);
/// let findings: Vec<String> = ledger.finish().iter().map(ToString::to_string).collect();
/// assert_eq!(findings, ["I5 pool counters: they say that 5 msat are offered, the open offers 0 msat"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct PoolAuditor {
    windows: HashMap<NostrPubkey, WindowFacts>,
    /// Open reservations, and whether they have a lease: the others belong to jobs.
    live: HashMap<Uuid, (Msats, bool)>,
    offered: u128,
    /// What reservations say was granted, and to whom.
    settled: HashMap<Uuid, (Msats, NostrPubkey)>,
    /// What transfers say was granted, less what the log stored.
    booked: HashMap<Uuid, i128>,
    counters: PoolCounters,
    grants: u64,
}

impl PoolAuditor {
    /// Reads an identity.
    pub fn identity(&mut self, identity: &Identity) {
        self.windows.entry(identity.pubkey()).or_default().stored = Some(identity.window.clone());
    }

    /// Reads the pool's counters.
    pub fn counters(&mut self, counters: PoolCounters) {
        self.counters = counters;
    }

    /// Reads a reservation. What it holds of the pool's account is reported to the ledger's audit.
    pub fn reservation(&mut self, reservation: &Reservation, ledger: &mut Auditor) {
        let Reservation { id, amount, budget, used_after, state, .. } = reservation;
        if used_after > budget {
            let detail = format!("with it, {used_after} of a budget of {budget} were used");
            ledger.find(Invariant::I5, format!("reservation {id}"), detail);
        }
        if state.is_live() {
            ledger.set_aside(AccountId::Pool, *amount);
            self.windows.entry(reservation.pubkey).or_default().reserved += u128::from(amount.get());
            let leased = matches!(state.lease(), Ok(GrantLease::Until(_)));
            self.live.insert(id.0, (*amount, leased));
        }
        if reservation.is_offer() {
            self.offered += u128::from(amount.get());
            self.windows.entry(reservation.pubkey).or_default().offers.push(*id);
        }
        let absorbed = reservation.absorbed();
        if absorbed > *amount {
            let detail = format!("{absorbed} were granted of {amount}");
            ledger.find(Invariant::I5, format!("reservation {id}"), detail);
        }
        if !absorbed.is_zero() {
            self.settled.insert(id.0, (absorbed, reservation.pubkey));
        }
    }

    /// Reads a grant.
    pub fn grant(&mut self, grant: &Grant) {
        self.grants += 1;
        let amount = u128::from(grant.absorbed.get());
        let booked = self.booked.entry(grant.id.0).or_default();
        *booked -= i128::from(grant.absorbed.get());
        if *booked == 0 {
            self.booked.remove(&grant.id.0);
        }
        let window = self.windows.entry(grant.pubkey).or_default();
        if window.counts(grant.created_at) {
            window.granted_in_window += amount;
        }
        if self.settled.get(&grant.id.0) == Some(&(grant.absorbed, grant.pubkey)) {
            self.settled.remove(&grant.id.0);
        }
    }

    /// Reads a transfer of the ledger; it is to be passed to the ledger's audit as well.
    pub fn transfer(&mut self, transfer: &Transfer) {
        if transfer.kind == TransferKind::Grant {
            *self.booked.entry(transfer.reference).or_default() += i128::from(transfer.amount.get());
        }
    }

    /// Takes out the amount that is reserved without a lease for this piece of work, to be compared with what should be: such
    /// a reservation that nobody takes out is reported by [`PoolAuditor::finish`].
    pub fn take_reserved(&mut self, work: Uuid) -> Msats {
        self.live.remove(&work).map_or(Msats::ZERO, |(amount, _)| amount)
    }

    /// The number of grants read.
    #[must_use]
    pub const fn grants(&self) -> u64 {
        self.grants
    }

    /// Adds everything that is wrong to the findings of the ledger's audit.
    pub fn finish(self, ledger: &mut Auditor) {
        let mut find = |subject: String, detail: String| ledger.find(Invariant::I5, subject, detail);
        for (pubkey, window) in self.windows {
            let subject = format!("identity {pubkey}");
            let Some(stored) = window.stored else {
                find(subject, "something was reserved or granted for it, but it does not exist".to_owned());
                continue;
            };
            if u128::from(stored.reserved.get()) != window.reserved {
                let detail = format!(
                    "its row says {} are reserved, its reservations {} msat",
                    stored.reserved, window.reserved
                );
                find(subject.clone(), detail);
            }
            if stored.offer.as_slice() != window.offers {
                find(
                    subject.clone(),
                    format!(
                        "its row says its offer is {:?}, its offers are {:?}",
                        stored.offer, window.offers
                    ),
                );
            }
            if u128::from(stored.absorbed.get()) != window.granted_in_window {
                let detail = format!(
                    "its row says {} were granted today, the log {} msat",
                    stored.absorbed, window.granted_in_window
                );
                find(subject, detail);
            }
        }
        for (id, (amount, _)) in self.live.into_iter().filter(|(_, (_, leased))| !leased) {
            find(format!("reservation {id}"), format!("{amount} are reserved for a job that does not exist"));
        }
        for (id, difference) in self.booked.into_iter().filter(|(_, difference)| *difference != 0) {
            find(
                format!("grant {id}"),
                format!("transfers and the log of grants differ by {difference} msat"),
            );
        }
        for (id, (absorbed, _)) in self.settled {
            find(
                format!("reservation {id}"),
                format!("{absorbed} were granted of it, but the log does not say so"),
            );
        }
        if u128::from(self.counters.offered.get()) != self.offered {
            let detail = format!(
                "they say that {} are offered, the open offers {} msat",
                self.counters.offered, self.offered
            );
            find("pool counters".to_owned(), detail);
        }
    }
}
