//! Commands on the pool, and what jobs do with it.
//!
//! A reservation takes the pool's money and the identity's day at once; whatever ends it gives both back in one change, less
//! what is granted. So no order of commands, on however many servers, can pass either limit (invariant I5).

use super::Books;
use crate::commands::{Answer, Charge, Outcome, Refusal};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_free_tier::{
    Day, Decision, Grant, GrantId, PoolTally, PoolView, RequestHash, Reservation, ReservationId,
    ReservationState, Serve, Standing,
};
use tithe_jobs::{Job, WorkTerms};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Msats;
use tithe_trust::{Interaction, NostrPubkey};

impl Books {
    pub(super) fn charge_work(&mut self, charge: &Charge) -> Outcome {
        if self.posted.contains(&charge.key()) {
            return Ok(Answer::AlreadyDone);
        }
        let mut absorbed = Msats::ZERO;
        if let Some(pubkey) = charge.identity {
            let standing = self.standing(pubkey);
            absorbed = self.decide_now(&standing, charge.cost.min(charge.absorb_most))?.absorb;
            self.grant(charge.id, &standing, absorbed, charge.request_hash)?;
        }
        let charged = charge.cost.checked_sub(absorbed)?;
        self.charge_with_tithe(&format!("work:{}:charge", charge.id), charge.account, charged, charge.id.0)?;
        match self.draft_transfers.first_mut() {
            Some(first) => first.key = charge.key(),
            // Work that costs nothing is no payment, and nothing would tell the second time from the first.
            None => return Ok(Answer::Charged { absorbed, charged }),
        }
        if let Some(pubkey) = charge.identity {
            self.interaction(pubkey, Interaction::Success { paid: charged });
        }
        Ok(Answer::Charged { absorbed, charged })
    }

    pub(super) fn grant_reserve(
        &mut self,
        id: ReservationId,
        pubkey: NostrPubkey,
        amount: Msats,
        lease: Duration,
    ) -> Outcome {
        if let Some(made) = self.reservations.get(&id) {
            return Err(Refusal::Exists(format!("reservation {}", made.id)));
        }
        let standing = self.standing(pubkey);
        let decision = self.decide_now(&standing, amount)?;
        if decision.serve != Serve::Free {
            return Err(Refusal::NotFree(decision));
        }
        let until = Some(self.now + lease);
        let made = self.reserve(id, &standing, amount, ReservationState::Held { until })?;
        Ok(Answer::Reservation(made))
    }

    pub(super) fn grant_renew(&mut self, id: ReservationId, pubkey: NostrPubkey, lease: Duration) -> Outcome {
        let renewed = self.reservation(id)?.renew(&self.standing(pubkey), self.now, lease)?;
        self.reservations.put(id, renewed.clone());
        Ok(Answer::Reservation(renewed))
    }

    pub(super) fn grant_settle(
        &mut self,
        id: ReservationId,
        pubkey: NostrPubkey,
        cost: Msats,
        request_hash: RequestHash,
    ) -> Outcome {
        let reservation = self.reservation(id)?.clone();
        let standing = self.standing(pubkey);
        if let ReservationState::Lapsed { .. } = reservation.state {
            // Its money is no longer set aside: it gets what it would get if it asked now.
            let wanted = cost.min(reservation.amount);
            let absorbed = self.decide_now(&standing, wanted)?.absorb;
            let late = reservation.absorbed_late(&standing, absorbed, self.now)?;
            self.grant(GrantId(id.0), &standing, absorbed, request_hash)?;
            self.reservations.put(id, late.clone());
            self.interaction(pubkey, Interaction::Success { paid: Msats::ZERO });
            return Ok(Answer::Reservation(late));
        }
        let settled = self.settle(&reservation, &standing, cost, request_hash)?;
        self.interaction(pubkey, Interaction::Success { paid: Msats::ZERO });
        Ok(Answer::Reservation(settled))
    }

    pub(super) fn grant_release(&mut self, id: ReservationId, pubkey: NostrPubkey) -> Outcome {
        let reservation = self.reservation(id)?.clone();
        let (released, standing) = reservation.release(&self.standing(pubkey), self.now)?;
        self.give_back(&reservation, released.clone(), standing)?;
        Ok(Answer::Reservation(released))
    }

    pub(super) fn grant_lapse(&mut self, id: ReservationId, pubkey: NostrPubkey) -> Outcome {
        let reservation = self.reservation(id)?.clone();
        let (lapsed, standing) = reservation.lapse(&self.standing(pubkey), self.now)?;
        self.give_back(&reservation, lapsed.clone(), standing)?;
        Ok(Answer::Reservation(lapsed))
    }

    /// Decides what the pool pays of a job's work, and reserves it.
    pub(super) fn reserve_for_job(&mut self, job: &Job, work: &WorkTerms) -> Result<WorkTerms, Refusal> {
        let Some(pubkey) = job.identity else { return Ok(work.clone()) };
        let standing = self.standing(pubkey);
        let (trust, free_tier) = (&self.rules.trust, &self.rules.free_tier);
        let decision =
            standing.decide_invoiced(trust, free_tier, self.pool_view(), work.full_amount, self.now)?;
        let state = match decision.serve {
            Serve::Gate => return Ok(work.clone()),
            Serve::Free => ReservationState::Held { until: None },
            Serve::Partial => ReservationState::Offered,
        };
        self.reserve(ReservationId(job.id.0), &standing, decision.absorb, state)?;
        Ok(work.clone().with_reserved(decision.absorb.to_sats_rounding_down())?)
    }

    /// The customer has paid their part of a job: the pool's is no offer any more.
    pub(super) fn take_up_for_job(&mut self, job: &Job) -> Result<(), Refusal> {
        let Some((reservation, standing)) = self.live_reservation_of(job) else { return Ok(()) };
        let (taken, standing) = reservation.take_up(&standing, self.now)?;
        self.put_tally(self.tally().end_offer(reservation.amount));
        self.put_standing(standing);
        self.reservations.put(taken.id, taken);
        Ok(())
    }

    /// What is reserved for a job.
    pub(super) fn reserved_for_job(&self, job: &Job) -> Msats {
        self.live_reservation_of(job).map_or(Msats::ZERO, |(reservation, _)| reservation.amount)
    }

    /// A job's work is done: the pool pays `cost` of it, which is not more than was reserved.
    pub(super) fn settle_for_job(&mut self, job: &Job, cost: Msats) -> Result<(), Refusal> {
        let Some((reservation, standing)) = self.live_reservation_of(job) else { return Ok(()) };
        self.settle(&reservation, &standing, cost, RequestHash::of(&job.request))?;
        Ok(())
    }

    /// A job has ended without its work: what was reserved for it goes back.
    pub(super) fn release_for_job(&mut self, job: &Job) -> Result<(), Refusal> {
        let Some((reservation, standing)) = self.live_reservation_of(job) else { return Ok(()) };
        let (released, standing) = reservation.release(&standing, self.now)?;
        self.give_back(&reservation, released, standing)
    }

    /// Lets a job's identity earn or lose trust.
    pub(super) fn interaction_of_job(&mut self, job: &Job, interaction: Interaction) {
        if let Some(pubkey) = job.identity {
            self.interaction(pubkey, interaction);
        }
    }

    fn interaction(&mut self, pubkey: NostrPubkey, interaction: Interaction) {
        let standing = self.standing(pubkey).after(interaction, &self.rules.trust, self.now);
        self.put_standing(standing);
    }

    /// Charges `amount` to an account: the tithe goes into the pool, the rest is revenue.
    pub(super) fn charge_with_tithe(
        &mut self,
        key: &str,
        account: AccountId,
        amount: Msats,
        reference: uuid::Uuid,
    ) -> Result<(), Refusal> {
        let tithe = self.rules.free_tier.tithe_of(amount);
        let rest = amount.checked_sub(tithe)?;
        if !tithe.is_zero() {
            let key = TransferKey::new(format!("{key}:tithe"));
            self.transfer(key, account, AccountId::Pool, tithe, TransferKind::Tithe, reference)?;
        }
        if !rest.is_zero() {
            let key = TransferKey::new(key);
            self.transfer(key, account, AccountId::Revenue, rest, TransferKind::Charge, reference)?;
        }
        Ok(())
    }

    /// An identity's standing, as the commands so far have left it.
    pub(super) fn standing(&self, pubkey: NostrPubkey) -> Standing {
        self.standings.get(&pubkey).cloned().unwrap_or_else(|| Standing::new(pubkey, self.now))
    }

    pub(super) fn put_standing(&mut self, standing: Standing) {
        self.standings.put(standing.pubkey(), standing);
    }

    fn reservation(&self, id: ReservationId) -> Result<&Reservation, Refusal> {
        self.reservations.get(&id).ok_or(Refusal::NoSuchReservation(id))
    }

    fn live_reservation_of(&self, job: &Job) -> Option<(Reservation, Standing)> {
        let reservation = self.reservations.get(&ReservationId(job.id.0))?;
        reservation.state.is_live().then(|| (reservation.clone(), self.standing(reservation.pubkey)))
    }

    /// What the pool would pay of `amount`, now.
    fn decide_now(&self, standing: &Standing, amount: Msats) -> Result<Decision, Refusal> {
        let tier = standing.identity.tier_at(&self.rules.trust, self.now);
        let available = self.account(AccountId::Pool).available();
        Ok(self.rules.free_tier.decide(tier, standing.day.used(self.now)?, available, amount))
    }

    fn budget(&self, standing: &Standing) -> Msats {
        self.rules.free_tier.budget(standing.identity.tier_at(&self.rules.trust, self.now))
    }

    fn pool_view(&self) -> PoolView {
        let pool = self.account(AccountId::Pool);
        PoolView { balance: pool.balance(), available: pool.available(), offered: self.tally().offered }
    }

    fn tally(&self) -> PoolTally {
        self.tally.get(&()).copied().unwrap_or_default()
    }

    fn put_tally(&mut self, tally: PoolTally) {
        self.tally.put((), tally);
    }

    /// Sets an amount aside, of the pool and of the day.
    fn reserve(
        &mut self,
        id: ReservationId,
        standing: &Standing,
        amount: Msats,
        state: ReservationState,
    ) -> Result<Reservation, Refusal> {
        let pool = self.account(AccountId::Pool).hold(amount)?;
        let (made, standing) =
            Reservation::make(id, standing, amount, self.budget(standing), state, self.now)?;
        if state == ReservationState::Offered {
            self.put_tally(self.tally().offer(amount)?);
        }
        self.accounts.put(AccountId::Pool, pool);
        self.put_standing(standing);
        self.reservations.put(id, made.clone());
        Ok(made)
    }

    /// Ends a reservation with its grant.
    fn settle(
        &mut self,
        reservation: &Reservation,
        standing: &Standing,
        cost: Msats,
        request_hash: RequestHash,
    ) -> Result<Reservation, Refusal> {
        let at = self.grant_time(standing);
        let settled = reservation.settle(standing, cost, at)?;
        self.give_back(reservation, settled.reservation.clone(), settled.standing)?;
        self.write_grant(GrantId(reservation.id.0), reservation.pubkey, settled.absorbed, request_hash, at)?;
        Ok(settled.reservation)
    }

    /// Grants an amount that was not reserved.
    fn grant(
        &mut self,
        id: GrantId,
        standing: &Standing,
        amount: Msats,
        request_hash: RequestHash,
    ) -> Result<(), Refusal> {
        if amount.is_zero() {
            return Ok(());
        }
        let at = self.grant_time(standing);
        let day = standing.day.grant(amount, self.budget(standing), at)?;
        self.put_standing(standing.with(day, at));
        self.write_grant(id, standing.pubkey(), amount, request_hash, at)
    }

    /// What a live reservation has set aside is set aside no more.
    fn give_back(
        &mut self,
        before: &Reservation,
        after: Reservation,
        standing: Standing,
    ) -> Result<(), Refusal> {
        let pool = self.account(AccountId::Pool).unhold(before.amount)?;
        if before.state == ReservationState::Offered {
            self.put_tally(self.tally().end_offer(before.amount));
        }
        self.accounts.put(AccountId::Pool, pool);
        self.put_standing(standing);
        self.reservations.put(after.id, after);
        Ok(())
    }

    /// Moves the pool's money and writes the grant into the log.
    fn write_grant(
        &mut self,
        id: GrantId,
        pubkey: NostrPubkey,
        absorbed: Msats,
        request_hash: RequestHash,
        created_at: Timestamp,
    ) -> Result<(), Refusal> {
        if absorbed.is_zero() {
            return Ok(());
        }
        let key = TransferKey::new(format!("grant:{id}"));
        self.transfer(key, AccountId::Pool, AccountId::Revenue, absorbed, TransferKind::Grant, id.0)?;
        let pool_balance_after = self.account(AccountId::Pool).balance();
        self.put_tally(self.tally().grant(absorbed, created_at)?);
        self.draft_grants.push(Grant { id, pubkey, request_hash, absorbed, pool_balance_after, created_at });
        Ok(())
    }

    /// When a grant counts: now; but not before the day that it counts to has begun, whatever clocks the servers have.
    fn grant_time(&self, standing: &Standing) -> Timestamp {
        let begins_at = standing.day.at(self.now).resets_at.map(|resets_at| resets_at - Day::WINDOW);
        begins_at.map_or(self.now, |begins_at| self.now.max(begins_at))
    }
}
