//! The service's own store. In memory, so one `&mut` is one transaction.

use crate::Done;
use std::collections::{BTreeMap, BTreeSet};
use tithe_clock::Timestamp;
use tithe_free_tier::{
    Grant, Identity, PoolAuditor, PoolCounters, PoolState, Reservation, ReservationId, Reserved, Rules,
    WorkSettled,
};
use tithe_jobs::{Job, JobId};
use tithe_ledger::{Account, AccountId, Auditor, Finding, Transfer, TransferKey, TransferKind, post, refund};
use tithe_lightning::{Invoice, PaymentHash};
use tithe_money::Sats;
use tithe_pricing::UnitQuote;
use tithe_trust::{Nonce, NostrPubkey};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct Store {
    accounts: BTreeMap<AccountId, Account>,
    transfers: BTreeMap<TransferKey, Transfer>,
    pub(crate) jobs: BTreeMap<JobId, Job<UnitQuote>>,
    pub(crate) invoices: BTreeMap<PaymentHash, Invoice>,
    pub(crate) identities: BTreeMap<NostrPubkey, Identity>,
    pub(crate) reservations: BTreeMap<ReservationId, Reservation>,
    grants: Vec<Grant>,
    counters: PoolCounters,
    pub(crate) nonces: BTreeSet<Nonce>,
}

impl Store {
    /// A store with a funded pool.
    pub(crate) fn open(rules: &Rules, now: Timestamp) -> Done<Self> {
        let mut store = Self::default();
        let (key, amount) = (TransferKey::new("pool_seed"), rules.free_tier.pool_initial.to_msats());
        let (debit, credit, kind) = (AccountId::Operator, AccountId::Pool, TransferKind::PoolSeed);
        store.post(Transfer { key, debit, credit, amount, kind, reference: Uuid::nil(), created_at: now })?;
        Ok(store)
    }

    pub(crate) fn job(&self, id: JobId) -> Done<Job<UnitQuote>> {
        Ok(self.jobs.get(&id).cloned().ok_or("no such job")?)
    }

    pub(crate) fn account(&self, id: AccountId) -> Done<Account> {
        Ok(self.accounts.get(&id).cloned().map_or_else(|| Account::open(id), Ok)?)
    }

    pub(crate) fn pool(&self) -> Done<PoolState> {
        Ok(PoolState::new(self.account(AccountId::Pool)?, self.counters)?)
    }

    /// Posts a transfer, once for each key.
    pub(crate) fn post(&mut self, transfer: Transfer) -> Done {
        let guarded = [transfer.debit, transfer.credit].into_iter().filter(|id| id.is_guarded());
        let accounts = guarded.map(|id| self.account(id)).collect::<Done<Vec<_>>>()?;
        if let Some(posted) = post(transfer.clone(), self.transfers.get(&transfer.key), &accounts)? {
            self.accounts.extend(posted.accounts.into_iter().map(|account| (account.id(), account)));
            self.transfers.insert(transfer.key, posted.transfer);
        }
        Ok(())
    }

    fn write_pool(&mut self, pool: PoolState) {
        let (account, counters) = pool.into_rows();
        self.accounts.insert(account.id(), account);
        self.counters = counters;
    }

    pub(crate) fn write_reserved(&mut self, reserved: Reserved) {
        self.write_pool(reserved.pool);
        self.identities.insert(reserved.identity.pubkey(), reserved.identity);
        self.reservations.insert(reserved.reservation.id, reserved.reservation);
    }

    /// Writes a settlement, and refunds what is left in the job's account.
    pub(crate) fn write_settled(&mut self, settled: WorkSettled, job: JobId, now: Timestamp) -> Done<Sats> {
        let left = refund(&settled.account.ok_or("nobody paid")?, job.0, "end", now)?;
        self.write_pool(settled.pool);
        self.accounts.insert(left.account.id(), left.account);
        self.identities.extend(settled.identity.map(|identity| (identity.pubkey(), identity)));
        self.reservations.extend(settled.reservation.map(|ended| (ended.id, ended)));
        self.grants.extend(settled.grant);
        let transfers = settled.transfers.into_iter().chain(left.transfers);
        self.transfers.extend(transfers.map(|transfer| (transfer.key.clone(), transfer)));
        Ok(left.refund)
    }

    /// Reads everything back and names every violated invariant.
    pub(crate) fn audit(&self) -> Vec<Finding> {
        let (mut ledger, mut pool) = (Auditor::default(), PoolAuditor::default());
        self.accounts.values().for_each(|account| ledger.account(account));
        self.identities.values().for_each(|identity| pool.identity(identity));
        self.reservations.values().for_each(|reservation| pool.reservation(reservation, &mut ledger));
        pool.counters(self.counters);
        self.transfers.values().for_each(|transfer| ledger.transfer(transfer));
        self.transfers.values().for_each(|transfer| pool.transfer(transfer));
        self.grants.iter().for_each(|grant| pool.grant(grant));
        pool.finish(&mut ledger);
        ledger.finish()
    }
}
