//! What commands do with the pool, with reservations and with grants.

use crate::books::rows::{Reservations, RowKind};
use crate::books::{Books, Posting, Refusal, RowKeys};
use tithe_clock::Timestamp;
use tithe_free_tier::{
    BudgetWindow, Decision, Grant, GrantId, Identity, PoolCounters, PoolView, RequestHash, Reservation,
    ReservationId, ReservationState, Serve,
};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::{Msats, Sats};
use tithe_trust::NostrPubkey;

/// A grant that is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewGrant {
    /// The grant's id: that of the piece of work.
    pub(crate) id: GrantId,
    /// The SHA-256 of the request.
    pub(crate) request_hash: RequestHash,
    /// What the pool pays.
    pub(crate) absorbed: Msats,
    /// The time as of which the grant counts ([`Books::grant_time`]).
    pub(crate) at: Timestamp,
}

impl RowKeys {
    /// Declares the pool and its counters.
    pub(crate) fn declare_pool(&mut self) {
        self.accounts.insert(AccountId::Pool);
        self.pool_counters.insert(());
    }

    /// Declares a reservation, with its identity and the pool.
    pub(crate) fn declare_reservation(&mut self, reservation: ReservationId, identity: NostrPubkey) {
        self.identities.insert(identity);
        self.reservations.insert(reservation);
        self.declare_pool();
    }
}

impl Books<'_> {
    /// The reservation of this id.
    pub(crate) fn reservation(&self, id: ReservationId) -> Result<Reservation, Refusal> {
        let stored = self.rows.reservations.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(Reservations::NAME, &id))
    }

    /// The reservation of this id, if there is one that still sets money aside.
    pub(crate) fn live_reservation(&self, id: ReservationId) -> Result<Option<Reservation>, Refusal> {
        let stored = self.rows.reservations.get(&id)?;
        Ok(stored.filter(|reservation| reservation.state.is_live()).cloned())
    }

    /// What the pool would pay of `amount` for finished work, now.
    pub(crate) fn free_tier_decision(&self, identity: &Identity, amount: Msats) -> Result<Decision, Refusal> {
        let tier = identity.trust.tier_at(&self.rules().trust, self.now());
        let available = self.account(AccountId::Pool)?.available();
        Ok(self.rules().free_tier.decide(tier, identity.window.used(self.now())?, available, amount))
    }

    /// Decides what the pool pays of work that is invoiced before it runs, and reserves it. Returns what was reserved.
    pub(crate) fn reserve_invoiced(
        &mut self,
        id: ReservationId,
        pubkey: NostrPubkey,
        price: Sats,
    ) -> Result<Msats, Refusal> {
        let identity = self.identity(pubkey)?;
        let rules = self.rules();
        let pool = self.pool_view()?;
        let decision = identity.decide_invoiced(&rules.trust, &rules.free_tier, pool, price, self.now())?;
        let state = match decision.serve {
            Serve::Gate => return Ok(Msats::ZERO),
            Serve::Free => ReservationState::Held { until: None },
            Serve::Partial => ReservationState::Offered,
        };
        self.reserve(id, &identity, decision.absorb, state)?;
        Ok(decision.absorb)
    }

    /// Reserves an amount of the pool and of an identity's budget.
    pub(crate) fn reserve(
        &mut self,
        id: ReservationId,
        identity: &Identity,
        amount: Msats,
        state: ReservationState,
    ) -> Result<Reservation, Refusal> {
        let pool = self.account(AccountId::Pool)?.hold(amount)?;
        let budget = self.budget(identity);
        let (reservation, identity) = Reservation::make(id, identity, amount, budget, state, self.now())?;
        if state == ReservationState::Offered {
            let counters = self.pool_counters()?.offer(amount)?;
            self.rows.pool_counters.put(counters)?;
        }
        self.rows.accounts.put(pool)?;
        self.rows.identities.put(identity)?;
        self.rows.reservations.put(reservation.clone())?;
        Ok(reservation)
    }

    /// Turns an offer into a reservation of running work: the customer has paid their part.
    pub(crate) fn reservation_activate(&mut self, offer: &Reservation) -> Result<(), Refusal> {
        let identity = self.identity(offer.pubkey)?;
        let (active, identity) = offer.activate(&identity, self.now())?;
        let counters = self.pool_counters()?.end_offer(offer.amount);
        self.rows.pool_counters.put(counters)?;
        self.rows.identities.put(identity)?;
        self.rows.reservations.put(active)
    }

    /// Releases a reservation: the work was not done.
    pub(crate) fn reservation_release(&mut self, reservation: &Reservation) -> Result<(), Refusal> {
        let identity = self.identity(reservation.pubkey)?;
        let (released, identity) = reservation.release(&identity, self.now())?;
        self.reservation_end(reservation, released, identity)
    }

    /// Writes the end of a live reservation: the pool's money is no longer set aside.
    pub(crate) fn reservation_end(
        &mut self,
        before: &Reservation,
        after: Reservation,
        identity: Identity,
    ) -> Result<(), Refusal> {
        let pool = self.account(AccountId::Pool)?.unhold(before.amount)?;
        if before.state == ReservationState::Offered {
            let counters = self.pool_counters()?.end_offer(before.amount);
            self.rows.pool_counters.put(counters)?;
        }
        self.rows.accounts.put(pool)?;
        self.rows.identities.put(identity)?;
        self.rows.reservations.put(after)
    }

    /// Counts a grant that was not reserved against the identity's budget.
    pub(crate) fn budget_grant(
        &mut self,
        identity: &Identity,
        amount: Msats,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        let window = identity.window.grant(amount, self.budget(identity), at)?;
        self.rows.identities.put(identity.with(window, at))
    }

    /// Moves the pool's money for a grant, and records the grant.
    pub(crate) fn grant_write(
        &mut self,
        key: TransferKey,
        pubkey: NostrPubkey,
        grant: NewGrant,
    ) -> Result<(), Refusal> {
        let NewGrant { id, request_hash, absorbed, at } = grant;
        let counters = self.pool_counters()?.grant(absorbed, at)?;
        self.rows.pool_counters.put(counters)?;
        self.post(Posting {
            key,
            debit: AccountId::Pool,
            credit: AccountId::Revenue,
            amount: absorbed,
            kind: TransferKind::Grant,
            reference: id.0,
        })?;
        let pool_balance_after = self.account(AccountId::Pool)?.balance();
        self.rows.grants.push(Grant {
            id,
            pubkey,
            request_hash,
            absorbed,
            pool_balance_after,
            created_at: at,
        });
        Ok(())
    }

    /// The time as of which a grant counts: now, but not before the budget window that it counts against has begun, whatever
    /// the clocks of the servers say.
    pub(crate) fn grant_time(&self, identity: &Identity) -> Timestamp {
        let resets_at = identity.window.at(self.now()).resets_at;
        let begins_at = resets_at.map(|resets_at| resets_at - BudgetWindow::LENGTH);
        begins_at.map_or(self.now(), |begins_at| self.now().max(begins_at))
    }

    fn budget(&self, identity: &Identity) -> Msats {
        self.rules().free_tier.budget(identity.trust.tier_at(&self.rules().trust, self.now()))
    }

    fn pool_view(&self) -> Result<PoolView, Refusal> {
        let pool = self.account(AccountId::Pool)?;
        let offered = self.pool_counters()?.offered;
        Ok(PoolView { balance: pool.balance(), available: pool.available(), offered })
    }

    fn pool_counters(&self) -> Result<PoolCounters, Refusal> {
        Ok(self.rows.pool_counters.get(&())?.copied().unwrap_or_default())
    }
}
