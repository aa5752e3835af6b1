//! What the pool pays for finished work.

use crate::{FreeTierError, Grant, GrantId, Identity, PoolState, RequestHash, Rules};
use tithe_clock::Timestamp;
use tithe_ledger::{AccountId, Transfer, TransferKeys, TransferKind};
use tithe_money::Msats;

/// Finished work that the pool is to pay for.
#[derive(Debug)]
pub struct GrantRequest<'a> {
    /// The grant's id: that of the piece of work.
    pub id: GrantId,
    /// The hash of the request, for the log of grants.
    pub request_hash: RequestHash,
    /// The most that the pool is to pay: the cost of the work, or its quoted maximum if that is less.
    pub cost: Msats,
    /// The keys of the settlement's transfers.
    pub keys: &'a mut TransferKeys,
}

/// What a grant changes: the caller stores all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The identity that received the grant.
    pub identity: Identity,
    /// The pool after the grant.
    pub pool: PoolState,
    /// The amount that the pool paid; less than the cost if budget or pool have less, possibly zero.
    pub absorbed: Msats,
    /// The grant, to be added to the log; `None` if the pool paid nothing.
    pub grant: Option<Grant>,
    /// The transfers, to be added. The pool above includes them.
    pub transfers: Vec<Transfer>,
}

/// Grants what the identity's budget and the pool allow now, without a reservation.
///
/// The caller must make sure that the work is settled once: nothing ends with this grant that could show it. It still has to
/// charge the customer with the part of the cost that the pool does not pay.
///
/// # Errors
/// [`FreeTierError::Money`] if an amount exceeds the supply of bitcoin.
pub fn grant(
    identity: &Identity,
    pool: &PoolState,
    request: GrantRequest<'_>,
    rules: &Rules,
    now: Timestamp,
) -> Result<Granted, FreeTierError> {
    let at = identity.window.grant_time(now);
    let absorbed = identity.decide(rules, pool.view(), request.cost, now)?.absorb;
    let identity = if absorbed.is_zero() {
        identity.clone()
    } else {
        identity.with(identity.window.grant(absorbed, identity.budget(rules, now), at)?, at)
    };
    pay(identity, pool, request, absorbed, at)
}

/// Moves the pool's money for a grant that the identity's window has counted.
pub(crate) fn pay(
    identity: Identity,
    pool: &PoolState,
    request: GrantRequest<'_>,
    absorbed: Msats,
    at: Timestamp,
) -> Result<Granted, FreeTierError> {
    if absorbed.is_zero() {
        return Ok(Granted { identity, pool: pool.clone(), absorbed, grant: None, transfers: Vec::new() });
    }
    let GrantRequest { id, request_hash, keys, .. } = request;
    let pool = pool.grant(absorbed, at)?;
    let kind = TransferKind::Grant;
    let transfer = Transfer {
        key: keys.next(kind),
        debit: AccountId::Pool,
        credit: AccountId::Revenue,
        amount: absorbed,
        kind,
        reference: id.0,
        created_at: at,
    };
    let grant = Grant {
        id,
        pubkey: identity.pubkey(),
        request_hash,
        absorbed,
        pool_balance_after: pool.account().balance(),
        created_at: at,
    };
    Ok(Granted { identity, pool, absorbed, grant: Some(grant), transfers: vec![transfer] })
}
