//! The settlement of finished work: hold, grant, charge, tithe, trust.

use crate::books::{Books, Posting, Refusal, RowKeys};
use crate::pool::NewGrant;
use tithe_free_tier::{GrantId, RequestHash, ReservationId, ReservationState};
use tithe_ledger::{AccountId, Auditor, HoldId, TransferKey, TransferKind};
use tithe_money::Msats;
use tithe_pricing::CostShares;
use tithe_trust::{Interaction, NostrPubkey};
use uuid::Uuid;

/// Who pays for work what the pool does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// Nobody: the pool pays, or the operator.
    Nobody,
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
    /// The key of the first transfer of the settlement, whatever that transfer is.
    pub(super) fn key(&self) -> TransferKey {
        match self.payer {
            Payer::Hold { hold, .. } => Auditor::hold_charge_key(hold),
            Payer::Deposit(_) => TransferKey::new(format!("charge:{}:work", self.id)),
            Payer::Nobody | Payer::Balance(_) => TransferKey::new(format!("work:{}", self.id)),
        }
    }

    /// Whether neither a hold nor a reservation ends with the settlement, so that its transfers must show whether it was made
    /// before.
    pub(super) const fn is_known_by_key(&self) -> bool {
        !matches!(self.payer, Payer::Hold { .. }) && !matches!(self.absorb, Absorb::Reserved(_))
    }
}

/// The keys of a settlement's transfers: the base key for the first one, and keys that begin with it for the others.
struct SettlementKeys {
    base: TransferKey,
    used: bool,
}

impl SettlementKeys {
    fn next(&mut self, kind: TransferKind) -> TransferKey {
        if std::mem::replace(&mut self.used, true) {
            return TransferKey::new(format!("{}:{}", self.base, kind.name()));
        }
        self.base.clone()
    }
}

impl RowKeys {
    /// Declares the rows that a settlement needs.
    pub(crate) fn declare_settlement(&mut self, payer: Payer, absorb: Absorb, identity: Option<NostrPubkey>) {
        match payer {
            Payer::Nobody => {}
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
        let mut keys = SettlementKeys { base: work.key(), used: false };
        let absorbed = self.settle_grant(work, &mut keys)?;
        let shares = self.settle_payer(work, absorbed)?;
        self.charge_with_tithe(work, shares.charged, &mut keys)?;
        if !shares.uncollected.is_zero() {
            self.post_debited(Posting {
                key: keys.next(TransferKind::Uncollected),
                debit: AccountId::Operator,
                credit: AccountId::Revenue,
                amount: shares.uncollected,
                kind: TransferKind::Uncollected,
                reference: work.id,
            })?;
        }
        // A settlement that has booked nothing and ended nothing could be repeated without end.
        let counts = keys.used || !work.is_known_by_key();
        if let Some(pubkey) = work.identity.filter(|_| counts) {
            self.interaction(pubkey, Interaction::Success { paid: shares.charged })?;
        }
        Ok(shares)
    }

    /// Books what the pool pays, and returns it.
    fn settle_grant(&mut self, work: &FinishedWork, keys: &mut SettlementKeys) -> Result<Msats, Refusal> {
        let Some(pubkey) = work.identity else { return Ok(Msats::ZERO) };
        let due = work.cost.min(work.limit);
        let identity = self.identity(pubkey)?;
        let at = self.grant_time(&identity);
        let absorbed = match work.absorb {
            Absorb::Nothing => return Ok(Msats::ZERO),
            Absorb::UpTo(most) => {
                let absorbed = self.free_tier_decision(&identity, due.min(most))?.absorb;
                if !absorbed.is_zero() {
                    self.budget_grant(&identity, absorbed, at)?;
                }
                absorbed
            }
            Absorb::Reserved(id) => {
                let reservation = self.reservation(id)?;
                if let ReservationState::Expired { .. } = reservation.state {
                    let wanted = due.min(reservation.amount);
                    let absorbed = self.free_tier_decision(&identity, wanted)?.absorb;
                    let late = reservation.settle_late(&identity, absorbed, self.now())?;
                    self.rows.reservations.put(late)?;
                    if !absorbed.is_zero() {
                        self.budget_grant(&identity, absorbed, at)?;
                    }
                    absorbed
                } else {
                    let settled = reservation.settle(&identity, due, at)?;
                    self.reservation_end(&reservation, settled.reservation, settled.identity)?;
                    settled.absorbed
                }
            }
        };
        if !absorbed.is_zero() {
            let (id, request_hash) = (GrantId(work.id), work.request_hash);
            let grant = NewGrant { id, request_hash, absorbed, at };
            self.grant_write(keys.next(TransferKind::Grant), pubkey, grant)?;
        }
        Ok(absorbed)
    }

    /// Takes the charge out of the payer's account, and says who pays how much.
    fn settle_payer(&mut self, work: &FinishedWork, absorbed: Msats) -> Result<CostShares, Refusal> {
        let shares = |payable| CostShares::of(work.cost, work.limit, absorbed, payable);
        match work.payer {
            Payer::Nobody => Ok(shares(Msats::ZERO)?),
            Payer::Balance(account) => {
                let shares = shares(Msats::MAX)?;
                self.debit(account, shares.charged)?;
                Ok(shares)
            }
            Payer::Deposit(account) => {
                let shares = shares(self.account(account)?.available())?;
                self.debit(account, shares.charged)?;
                Ok(shares)
            }
            Payer::Hold { hold, account } => {
                let account = self.account(account)?;
                let due = shares(Msats::MAX)?;
                let settled = self.hold(hold)?.settle(&account, due.charged, self.now())?;
                self.hold_write(settled.account, settled.hold)?;
                let uncollected = due.uncollected.checked_add(settled.uncollected)?;
                Ok(CostShares { absorbed, charged: settled.charged, uncollected })
            }
        }
    }

    fn debit(&mut self, account: AccountId, amount: Msats) -> Result<(), Refusal> {
        let account = self.account(account)?.debit(amount)?;
        self.rows.accounts.put(account)
    }

    /// Books a charge that the payer's account has been debited with: the tithe goes into the pool, the rest is revenue.
    fn charge_with_tithe(
        &mut self,
        work: &FinishedWork,
        charged: Msats,
        keys: &mut SettlementKeys,
    ) -> Result<(), Refusal> {
        let (Payer::Balance(debit) | Payer::Deposit(debit) | Payer::Hold { account: debit, .. }) = work.payer
        else {
            return Ok(());
        };
        let tithe = self.rules().free_tier.tithe_of(charged);
        let parts = [
            (TransferKind::Charge, AccountId::Revenue, charged.checked_sub(tithe)?),
            (TransferKind::Tithe, AccountId::Pool, tithe),
        ];
        for (kind, credit, amount) in parts.into_iter().filter(|(_, _, amount)| !amount.is_zero()) {
            let key = keys.next(kind);
            self.post_debited(Posting { key, debit, credit, amount, kind, reference: work.id })?;
        }
        Ok(())
    }
}
