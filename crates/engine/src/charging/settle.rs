//! The settlement of finished work: hold, grant, charge, tithe, trust.

use crate::books::{Books, Refusal, RowKeys};
use tithe_free_tier::{
    self as free_tier, Identity, PoolCounters, PoolState, RequestHash, ReservationId, WorkSettled,
};
use tithe_ledger::{Account, AccountId, HoldId};
use tithe_money::Msats;
use tithe_pricing::CostShares;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Who pays for work what the pool does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// Nobody: the pool pays, or the operator.
    Nobody,
    /// The plan of an install, which includes the work. Its credit ends in the same command.
    Plan,
    /// A balance that must cover the whole charge; otherwise the settlement is refused.
    Balance(AccountId),
    /// What was paid for this work beforehand. It pays at most what it has.
    Deposit(AccountId),
    /// An amount that was set aside for this work. The account pays from the hold and from what is available besides.
    Hold {
        /// The hold. Settling it ends it.
        hold: HoldId,
        /// The account that it is on.
        account: AccountId,
    },
}

/// How much the pool pays of the cost. It pays first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absorb {
    /// Nothing.
    Nothing,
    /// What the identity's budget and the pool allow now, but not more than this.
    UpTo(Msats),
    /// At most what was reserved. If the reservation has expired, at most what would be decided now.
    Reserved(ReservationId),
}

/// A finished piece of work that is to be paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedWork {
    /// The id of the piece of work: of the job, of the session's request, and so on.
    pub id: Uuid,
    /// The identity that the work was done for. The pool pays for nobody else.
    pub identity: Option<NostrPubkey>,
    /// What the work cost.
    pub cost: Msats,
    /// The most that the customer and the pool pay together: what was quoted.
    pub limit: Msats,
    /// What the pool pays.
    pub absorb: Absorb,
    /// Who pays the rest.
    pub payer: Payer,
    /// The SHA-256 of the request, for the log of grants.
    pub request_hash: RequestHash,
}

impl FinishedWork {
    /// Whether neither a hold nor a reservation nor a credit ends with the settlement, so that its first transfer must show whether
    /// it was made before.
    pub(super) const fn is_known_by_key(&self) -> bool {
        !matches!(self.payer, Payer::Hold { .. } | Payer::Plan) && !matches!(self.absorb, Absorb::Reserved(_))
    }
}

impl RowKeys {
    /// Declares the rows that a settlement needs.
    pub(crate) fn declare_settlement(&mut self, payer: Payer, absorb: Absorb, identity: Option<NostrPubkey>) {
        match payer {
            Payer::Nobody | Payer::Plan => {}
            // The tithe goes into the pool.
            Payer::Balance(account) | Payer::Deposit(account) => {
                self.accounts.extend([account, AccountId::Pool]);
            }
            Payer::Hold { hold, account } => {
                self.declare_hold(hold, account);
                self.accounts.insert(AccountId::Pool);
            }
        }
        let Some(identity) = identity else { return };
        self.identities.insert(identity);
        match absorb {
            Absorb::Nothing => {}
            Absorb::UpTo(_) => self.declare_pool(),
            Absorb::Reserved(reservation) => self.declare_reservation(reservation, identity),
        }
    }
}

impl Books<'_> {
    /// Settles finished work: ends the hold, ends the reservation with its grant or decides a new grant, charges the payer,
    /// moves the tithe, books what nobody pays, and lets the identity earn trust.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when the hold has ended or a balance is too low; [`Refusal::FreeTier`] when the reservation has
    /// ended.
    pub(crate) fn settle(&mut self, work: &FinishedWork) -> Result<CostShares, Refusal> {
        let identity = work.identity.map(|pubkey| self.identity(pubkey)).transpose()?;
        let pool = self.settlement_pool(work)?;
        // The rows that the payer and the reservation name.
        let (hold, account) = match work.payer {
            Payer::Nobody | Payer::Plan => (None, None),
            Payer::Balance(account) | Payer::Deposit(account) => (None, Some(self.account(account)?)),
            Payer::Hold { hold, account } => (Some(self.hold(hold)?), Some(self.account(account)?)),
        };
        let reservation = match work.absorb {
            Absorb::Reserved(id) if identity.is_some() => Some(self.reservation(id)?),
            _ => None,
        };
        let payer = match (work.payer, &hold, &account) {
            (Payer::Balance(_), _, Some(account)) => free_tier::Payer::Balance(account),
            (Payer::Deposit(_), _, Some(account)) => free_tier::Payer::Deposit(account),
            (Payer::Hold { .. }, Some(hold), Some(account)) => free_tier::Payer::Hold { hold, account },
            (Payer::Plan, ..) => free_tier::Payer::Plan,
            _ => free_tier::Payer::Nobody,
        };
        let absorb = match (work.absorb, &reservation) {
            (Absorb::UpTo(most), _) => free_tier::Absorb::UpTo(most),
            (Absorb::Reserved(_), Some(reservation)) => free_tier::Absorb::Reserved(reservation),
            _ => free_tier::Absorb::Nothing,
        };
        let finished = free_tier::FinishedWork {
            id: work.id,
            request_hash: work.request_hash,
            cost: work.cost,
            limit: work.limit,
            payer,
            absorb,
            identity: identity.as_ref(),
            pool: &pool,
        };
        let settled = free_tier::settle(&finished, self.rules(), self.now())?;
        self.settlement_write(settled, identity.as_ref(), &pool)
    }

    /// The pool, as far as the settlement needs it. Its counters count grants.
    fn settlement_pool(&self, work: &FinishedWork) -> Result<PoolState, Refusal> {
        if work.identity.is_some() && work.absorb != Absorb::Nothing {
            return self.pool_state();
        }
        let account = match work.payer {
            Payer::Nobody | Payer::Plan => Account::open(AccountId::Pool)?,
            _ => self.account(AccountId::Pool)?,
        };
        Ok(PoolState::new(account, PoolCounters::default())?)
    }

    /// Writes what a settlement has changed.
    fn settlement_write(
        &mut self,
        settled: WorkSettled,
        identity: Option<&Identity>,
        pool: &PoolState,
    ) -> Result<CostShares, Refusal> {
        let WorkSettled { absorbed, charged, uncollected, .. } = settled;
        if let Some(hold) = settled.hold {
            self.rows.holds.put(hold)?;
        }
        if let Some(account) = settled.account {
            self.rows.accounts.put(account)?;
        }
        if let Some(reservation) = settled.reservation {
            self.rows.reservations.put(reservation)?;
        }
        if let Some(changed) = settled.identity.filter(|changed| Some(changed) != identity) {
            self.rows.identities.put(changed)?;
        }
        self.pool_write(pool, settled.pool)?;
        self.grant_write(settled.grant, settled.transfers);
        Ok(CostShares { absorbed, charged, uncollected })
    }
}
