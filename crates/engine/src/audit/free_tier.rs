//! The audit of the pool, of identities' days, of reservations and of the log of grants (invariant I5).

use std::collections::HashMap;
use tithe_clock::Timestamp;
use tithe_free_tier::{Day, Grant, PoolTally, Reservation, ReservationId, ReservationState, Standing};
use tithe_ledger::{AccountId, Auditor, Invariant, Transfer, TransferKind};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// What is kept of an identity while its rows come in.
#[derive(Default)]
struct DayFacts {
    says: Option<Day>,
    reserved: u128,
    offers: Vec<ReservationId>,
    granted_in_window: u128,
}

impl DayFacts {
    fn counts(&self, at: Timestamp) -> bool {
        let resets_at = self.says.as_ref().and_then(|day| day.resets_at);
        resets_at.is_some_and(|resets_at| resets_at - Day::WINDOW <= at && at < resets_at)
    }
}

/// Takes in all rows of the free tier: identities, reservations and the tally before the first grant.
#[derive(Default)]
pub(super) struct FreeTierAudit {
    days: HashMap<NostrPubkey, DayFacts>,
    /// Reservations that live, and whether somebody renews them: the others are jobs'.
    live: HashMap<Uuid, (Msats, bool)>,
    offered: u128,
    /// What reservations say was granted, and to whom.
    settled: HashMap<Uuid, (Msats, NostrPubkey)>,
    /// What transfers say was granted, less what the log says.
    booked: HashMap<Uuid, i128>,
    tally: PoolTally,
    grants: u64,
}

impl FreeTierAudit {
    pub(super) fn standing(&mut self, standing: &Standing) {
        self.days.entry(standing.pubkey()).or_default().says = Some(standing.day.clone());
    }

    pub(super) fn tally(&mut self, tally: PoolTally) {
        self.tally = tally;
    }

    pub(super) fn reservation(&mut self, reservation: &Reservation, ledger: &mut Auditor) {
        let Reservation { id, amount, budget, used_after, state, .. } = reservation;
        if used_after > budget {
            let detail = format!("with it {used_after} of a day of {budget} were used");
            ledger.find(Invariant::I5, format!("reservation {id}"), detail);
        }
        if state.is_live() {
            ledger.set_aside(AccountId::Pool, *amount);
            self.days.entry(reservation.pubkey).or_default().reserved += u128::from(amount.get());
            let leased = matches!(state, ReservationState::Held { until: Some(_) });
            self.live.insert(id.0, (*amount, leased));
        }
        if *state == ReservationState::Offered {
            self.offered += u128::from(amount.get());
            self.days.entry(reservation.pubkey).or_default().offers.push(*id);
        }
        if state.absorbed() > *amount {
            let detail = format!("{} were granted of {amount}", state.absorbed());
            ledger.find(Invariant::I5, format!("reservation {id}"), detail);
        }
        if !state.absorbed().is_zero() {
            self.settled.insert(id.0, (state.absorbed(), reservation.pubkey));
        }
    }

    pub(super) fn grant(&mut self, grant: &Grant) {
        self.grants += 1;
        let amount = u128::from(grant.absorbed.get());
        let booked = self.booked.entry(grant.id.0).or_default();
        *booked -= i128::from(grant.absorbed.get());
        if *booked == 0 {
            self.booked.remove(&grant.id.0);
        }
        let day = self.days.entry(grant.pubkey).or_default();
        if day.counts(grant.created_at) {
            day.granted_in_window += amount;
        }
        if self.settled.get(&grant.id.0) == Some(&(grant.absorbed, grant.pubkey)) {
            self.settled.remove(&grant.id.0);
        }
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer) {
        if transfer.kind == TransferKind::Grant {
            *self.booked.entry(transfer.reference).or_default() += i128::from(transfer.amount.get());
        }
    }

    /// What is reserved for a job, which is asked for once.
    pub(super) fn take_reserved(&mut self, job: Uuid) -> Msats {
        self.live.remove(&job).map_or(Msats::ZERO, |(amount, _)| amount)
    }

    pub(super) const fn grants(&self) -> u64 {
        self.grants
    }

    pub(super) fn finish(self, ledger: &mut Auditor) {
        let mut find = |subject: String, detail: String| ledger.find(Invariant::I5, subject, detail);
        for (pubkey, day) in self.days {
            let subject = format!("identity {pubkey}");
            let Some(says) = day.says else {
                find(subject, "something was reserved or granted for it, but it does not exist".to_owned());
                continue;
            };
            if u128::from(says.reserved.get()) != day.reserved {
                let detail = format!(
                    "its row says {} are reserved, its reservations {} msat",
                    says.reserved, day.reserved
                );
                find(subject.clone(), detail);
            }
            if says.offer.as_slice() != day.offers {
                find(
                    subject.clone(),
                    format!("its row says its offer is {:?}, its offers are {:?}", says.offer, day.offers),
                );
            }
            if u128::from(says.absorbed.get()) != day.granted_in_window {
                let detail = format!(
                    "its row says {} were granted today, the log {} msat",
                    says.absorbed, day.granted_in_window
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
        if u128::from(self.tally.offered.get()) != self.offered {
            let detail =
                format!("it says {} are offered, the offers {} msat", self.tally.offered, self.offered);
            find("tally".to_owned(), detail);
        }
    }
}
