//! The settlement of finished work: hold, grant, charge, tithe, trust.

use crate::{
    FreeTierError, Grant, GrantId, GrantRequest, Identity, PoolState, RequestHash, Reservation, Rules, grant,
};
use tithe_clock::Timestamp;
use tithe_ledger::{
    Account, Charge, Hold, Share, Transfer, TransferKey, TransferKeys, charge, charge_in_full,
    included_in_plan, uncollected,
};
use tithe_money::Msats;
use tithe_trust::Interaction;
use uuid::Uuid;

/// Who pays for work what the pool does not.
#[derive(Debug, Clone, Copy)]
pub enum Payer<'a> {
    /// Nobody: the pool pays, or the operator.
    Nobody,
    /// The plan of an install, which includes the work: the operator gives it.
    Plan,
    /// A balance that must cover the whole charge; otherwise the settlement is refused.
    Balance(&'a Account),
    /// An account that holds what was paid for this work beforehand. It pays at most what it has.
    Deposit(&'a Account),
    /// An amount that was set aside for this work. The account pays from the hold and from what is available besides.
    Hold {
        /// The hold. Settling it ends it.
        hold: &'a Hold,
        /// The account that it is on.
        account: &'a Account,
    },
}

/// How much the pool pays of the cost. It pays first.
#[derive(Debug, Clone, Copy)]
pub enum Absorb<'a> {
    /// Nothing.
    Nothing,
    /// What the identity's budget and the pool allow now, but not more than this.
    UpTo(Msats),
    /// At most what was reserved. If the reservation has expired, at most what would be decided now.
    Reserved(&'a Reservation),
}

/// A finished piece of work that is to be paid for, with the rows that the settlement needs.
#[derive(Debug, Clone, Copy)]
pub struct FinishedWork<'a> {
    /// The id of the piece of work: of the job, of the session's request, and so on.
    pub id: Uuid,
    /// The SHA-256 of the request, for the log of grants.
    pub request_hash: RequestHash,
    /// What the work cost.
    pub cost: Msats,
    /// The most that the customer and the pool pay together: what was quoted.
    pub limit: Msats,
    /// Who pays what the pool does not.
    pub payer: Payer<'a>,
    /// What the pool pays.
    pub absorb: Absorb<'a>,
    /// The identity that the work was done for. The pool pays for nobody else.
    pub identity: Option<&'a Identity>,
    /// The pool. It receives the tithe.
    pub pool: &'a PoolState,
}

/// What a settlement changes: the caller stores all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkSettled {
    /// The hold, ended; `None` if there was none.
    pub hold: Option<Hold>,
    /// The payer's account after the charge; `None` if nobody pays.
    pub account: Option<Account>,
    /// The reservation, ended; `None` if there was none.
    pub reservation: Option<Reservation>,
    /// The identity, with the grant and with the trust that it has earned; `None` if there is none.
    pub identity: Option<Identity>,
    /// The pool, after the grant and with the tithe.
    pub pool: PoolState,
    /// The amount that the pool paid.
    pub absorbed: Msats,
    /// The amount that the payer paid.
    pub charged: Msats,
    /// The amount that an install's plan includes.
    pub included: Msats,
    /// The amount that nobody paid: the operator's loss. The four amounts are the cost.
    pub uncollected: Msats,
    /// The grant, to be added to the log; `None` if the pool paid nothing.
    pub grant: Option<Grant>,
    /// The transfers, to be added. The accounts above include them.
    pub transfers: Vec<Transfer>,
}

/// The key of the first transfer that settles this piece of work, unless it is paid from a hold.
#[must_use]
pub fn work_key(id: Uuid) -> TransferKey {
    TransferKey::new(format!("work:{id}"))
}

impl FinishedWork<'_> {
    /// The key of the first transfer of the settlement, whatever that transfer is.
    #[must_use]
    pub fn key(&self) -> TransferKey {
        match self.payer {
            Payer::Hold { hold, .. } => hold.id.charge_key(),
            Payer::Nobody | Payer::Plan | Payer::Balance(_) | Payer::Deposit(_) => work_key(self.id),
        }
    }

    /// Whether neither a hold nor a reservation nor a credit ends with the settlement, so that its first transfer must show whether
    /// it was made before.
    #[must_use]
    pub const fn is_known_by_key(&self) -> bool {
        !matches!(self.payer, Payer::Hold { .. } | Payer::Plan) && !matches!(self.absorb, Absorb::Reserved(_))
    }
}

/// Settles finished work: ends the hold, ends the reservation with its grant or decides a new grant, charges the payer, moves
/// the tithe, books what nobody pays, and lets the identity earn trust.
///
/// Work that is paid from a hold or a reservation is settled once, because that ends. For all other work
/// ([`FinishedWork::is_known_by_key`]) the caller must look up [`work_key`] in the same transaction and settle only if
/// no transfer has it. What a deposit has left is still to be refunded ([`tithe_ledger::refund`]).
///
/// # Errors
/// [`FreeTierError::Ledger`] when the hold has ended or a balance is too low; [`FreeTierError::Ended`] when the reservation has
/// ended. Nothing is to be stored then.
pub fn settle(work: &FinishedWork<'_>, rules: &Rules, now: Timestamp) -> Result<WorkSettled, FreeTierError> {
    let mut keys = TransferKeys::new(work.key());
    let mut settled = settle_grant(work, &mut keys, rules, now)?;
    settle_payer(&mut settled, work, &mut keys, rules, now)?;
    // A settlement that has booked nothing and ended nothing could be repeated without end.
    if keys.is_used() || !work.is_known_by_key() {
        let interaction = Interaction::Success { paid: settled.charged };
        settled.identity = settled.identity.map(|identity| identity.after(interaction, &rules.trust, now));
    }
    Ok(settled)
}

/// What the pool pays.
fn settle_grant(
    work: &FinishedWork<'_>,
    keys: &mut TransferKeys,
    rules: &Rules,
    now: Timestamp,
) -> Result<WorkSettled, FreeTierError> {
    let mut settled = WorkSettled {
        hold: None,
        account: None,
        reservation: None,
        identity: work.identity.cloned(),
        pool: work.pool.clone(),
        absorbed: Msats::ZERO,
        charged: Msats::ZERO,
        included: Msats::ZERO,
        uncollected: Msats::ZERO,
        grant: None,
        transfers: Vec::new(),
    };
    let Some(identity) = work.identity else { return Ok(settled) };
    let (id, request_hash, due) = (GrantId(work.id), work.request_hash, work.cost.min(work.limit));
    match work.absorb {
        Absorb::Nothing => {}
        Absorb::UpTo(most) => {
            let request = GrantRequest { id, request_hash, cost: due.min(most), keys };
            let granted = grant(identity, work.pool, request, rules, now)?;
            (settled.identity, settled.pool) = (Some(granted.identity), granted.pool);
            (settled.absorbed, settled.grant, settled.transfers) =
                (granted.absorbed, granted.grant, granted.transfers);
        }
        Absorb::Reserved(reservation) => {
            let request = GrantRequest { id, request_hash, cost: due, keys };
            let ended = reservation.settle(identity, work.pool, request, rules, now)?;
            settled.reservation = Some(ended.reservation);
            (settled.identity, settled.pool) = (Some(ended.identity), ended.pool);
            (settled.absorbed, settled.grant, settled.transfers) =
                (ended.absorbed, ended.grant, ended.transfers);
        }
    }
    Ok(settled)
}

/// What the payer pays: the tithe goes into the pool, the rest is revenue.
fn settle_payer(
    settled: &mut WorkSettled,
    work: &FinishedWork<'_>,
    keys: &mut TransferKeys,
    rules: &Rules,
    now: Timestamp,
) -> Result<(), FreeTierError> {
    let cost = work.cost.checked_sub(settled.absorbed)?;
    let pool = settled.pool.clone();
    let what = Charge {
        cost,
        limit: work.limit.saturating_sub(settled.absorbed),
        share: Some(Share { part: rules.free_tier.tithe, to: pool.account() }),
        reference: work.id,
        keys,
    };
    let charged = match work.payer {
        Payer::Nobody => {
            settled.uncollected = cost;
            settled.transfers.extend(uncollected(cost, what.reference, what.keys, now));
            return Ok(());
        }
        Payer::Plan => {
            settled.included = cost;
            settled.transfers.extend(included_in_plan(cost, what.reference, what.keys, now));
            return Ok(());
        }
        Payer::Balance(account) => charge_in_full(account, what, now)?,
        Payer::Deposit(account) => charge(account, what, now)?,
        Payer::Hold { hold, account } => {
            let ended = hold.settle(account, what, now)?;
            settled.hold = Some(ended.hold.clone());
            ended.into()
        }
    };
    (settled.charged, settled.uncollected) = (charged.charged, charged.uncollected);
    settled.account = Some(charged.account);
    if let Some(account) = charged.shared {
        settled.pool = PoolState::new(account, pool.counters())?;
    }
    settled.transfers.extend(charged.transfers);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewReservation, PoolCounters, ReservationId};
    use proptest::prelude::*;
    use std::time::Duration;
    use tithe_ledger::{AccountId, HoldId, TransferKind};
    use tithe_money::Sats;
    use tithe_trust::NostrPubkey;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const SESSION: AccountId = AccountId::Session(Uuid::nil());

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    proptest! {
        /// Whoever pays: every msat of the cost is absorbed, charged or uncollected; the limit holds; and accounts, pool, identity
        /// and transfers tell the same story.
        #[test]
        fn every_msat_of_the_cost_is_settled_once(
            cost in 0_u64..20_000, limit in 0_u64..20_000, balance in 0_u64..20_000, held in 1_u64..5_000, pool in 5_000_u64..20_000,
            reserved in 1_u64..5_000, payer in 0_usize..5, absorb in 0_usize..3,
        ) {
            let mut rules = Rules::default();
            rules.free_tier.budgets.new = Sats::new(5).unwrap();
            let account = Account::open(SESSION).unwrap().credit(msats(balance + held)).unwrap();
            let (hold, with_hold) = Hold::place(&account, HoldId(Uuid::nil()), msats(held), NOW, Duration::from_secs(9)).unwrap();
            let identity = Identity::new(NostrPubkey::restore(&"a".repeat(64)).unwrap(), NOW);
            let pool = Account::open(AccountId::Pool).unwrap().credit(msats(pool)).unwrap();
            let pool = PoolState::new(pool, PoolCounters::default()).unwrap();
            let new = NewReservation { id: ReservationId(Uuid::nil()), amount: msats(reserved), budget: msats(5_000) };
            let made = new.hold(&identity, &pool, None, NOW).unwrap();
            let (identity, pool) = if absorb == 2 { (&made.identity, &made.pool) } else { (&identity, &pool) };
            let work = FinishedWork {
                id: Uuid::nil(), request_hash: RequestHash::of("q"), cost: msats(cost), limit: msats(limit),
                payer: [
                    Payer::Nobody, Payer::Balance(&account), Payer::Deposit(&account),
                    Payer::Hold { hold: &hold, account: &with_hold }, Payer::Plan,
                ][payer],
                absorb: [Absorb::Nothing, Absorb::UpTo(msats(3_000)), Absorb::Reserved(&made.reservation)][absorb],
                identity: Some(identity), pool,
            };
            let settled = match settle(&work, &rules, NOW) {
                Ok(settled) => settled,
                Err(refused) => {
                    prop_assert!(payer == 1 && matches!(refused, FreeTierError::Ledger(_)), "{refused}");
                    return Ok(());
                }
            };
            let WorkSettled { absorbed, charged, included, uncollected, .. } = settled;
            prop_assert_eq!(absorbed.get() + charged.get() + included.get() + uncollected.get(), cost);
            prop_assert!(included.is_zero() || payer == 4);
            prop_assert!(absorbed.get() + charged.get() <= limit);
            let of = |kind| settled.transfers.iter().filter(|transfer| transfer.kind == kind).map(|transfer| transfer.amount.get()).sum::<u64>();
            prop_assert_eq!(of(TransferKind::Grant), absorbed.get());
            prop_assert_eq!(of(TransferKind::Charge) + of(TransferKind::Tithe), charged.get());
            prop_assert_eq!(of(TransferKind::Uncollected), uncollected.get());
            prop_assert_eq!(of(TransferKind::InstallCredit), included.get());
            prop_assert_eq!(of(TransferKind::Tithe), charged.get() / 10);
            prop_assert_eq!(settled.grant.is_some(), !absorbed.is_zero());
            prop_assert_eq!(settled.pool.account().balance().get(), pool.account().balance().get() - absorbed.get() + charged.get() / 10);
            prop_assert_eq!(settled.pool.account().held(), Msats::ZERO);
            if let Some(account) = &settled.account {
                prop_assert_eq!(account.balance().get(), balance + held - charged.get());
                prop_assert_eq!(account.held(), Msats::ZERO);
            }
            let mut keys: Vec<_> = settled.transfers.iter().map(|transfer| transfer.key.clone()).collect();
            prop_assert!(keys.first().is_none_or(|key| *key == work.key()), "the first has the base key");
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), settled.transfers.len());
            let after = settled.identity.unwrap();
            prop_assert_eq!(after.window.absorbed, absorbed);
            prop_assert_eq!(after.trust.interactions > 0, !settled.transfers.is_empty() || !work.is_known_by_key());
        }
    }
}
