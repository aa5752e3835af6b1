//! Obligations and payouts, and what is compared with the wallet.

use super::{MemoryStore, Tables};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use tithe_clock::Timestamp;
use tithe_engine::books::Changes;
use tithe_engine::store::{LedgerTotals, ReconciliationStore, StoreError};
use tithe_ledger::{AccountId, AccountKind, Transfer};
use tithe_lightning::PaymentHash;
use tithe_money::Msats;
use tithe_payouts::{Obligation, ObligationRepository, Payout, PayoutState};

impl Tables {
    /// Whether each payout that is written is of an obligation, and each account has one payout in flight at most.
    pub(super) fn payouts_fit(&self, changes: &Changes) -> bool {
        let written: BTreeMap<PaymentHash, &Payout> =
            changes.payouts.iter().map(|row| (row.payment_hash, row)).collect();
        let made: BTreeSet<AccountId> = changes.obligations.iter().map(|row| row.account).collect();
        let is_owed =
            |row: &&Payout| self.obligations.contains_key(&row.account) || made.contains(&row.account);
        let others = self.payouts.values().filter(|row| !written.contains_key(&row.payment_hash));
        let rows = others.chain(written.values().copied());
        let mut flying = rows.filter(|row| matches!(row.state, PayoutState::Paying { .. }));
        let mut accounts = BTreeSet::new();
        written.is_empty()
            || written.values().all(is_owed) && flying.all(|payout| accounts.insert(payout.account))
    }
}

#[async_trait]
impl ObligationRepository for MemoryStore {
    type Error = StoreError;

    async fn obligation(&self, account: AccountId) -> Result<Option<Obligation>, StoreError> {
        Ok(self.tables().obligations.get(&account).cloned())
    }

    async fn obligations_of(&self, accounts: &[AccountId]) -> Result<Vec<Obligation>, StoreError> {
        let tables = self.tables();
        Ok(accounts.iter().filter_map(|account| tables.obligations.get(account)).cloned().collect())
    }

    async fn obligations_payable(&self, now: Timestamp, limit: usize) -> Result<Vec<Obligation>, StoreError> {
        let tables = self.tables();
        let payable = |owed: &&Obligation| {
            !owed.due.is_zero()
                && owed.destination.is_some()
                && owed.in_flight.is_none()
                && owed.next_try_at <= now
        };
        let mut payable: Vec<Obligation> = tables.obligations.values().filter(payable).cloned().collect();
        payable.sort_by_key(|owed| owed.next_try_at);
        payable.truncate(limit);
        Ok(payable)
    }

    async fn obligations_due(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Obligation>, StoreError> {
        let tables = self.tables();
        let after = after.map_or_else(String::new, |account| account.to_string());
        let due = tables.obligations.values().filter(|owed| !owed.due.is_zero());
        let mut due: Vec<Obligation> = due.filter(|owed| owed.account.to_string() > after).cloned().collect();
        due.sort_by_key(|owed| owed.account.to_string());
        due.truncate(limit);
        Ok(due)
    }

    async fn payout(&self, payment_hash: PaymentHash) -> Result<Option<Payout>, StoreError> {
        Ok(self.tables().payouts.get(&payment_hash).cloned())
    }

    async fn payouts_of(&self, account: AccountId) -> Result<Vec<Payout>, StoreError> {
        let tables = self.tables();
        let mut theirs: Vec<Payout> =
            tables.payouts.values().filter(|payout| payout.account == account).cloned().collect();
        theirs.sort_by_key(|payout| (payout.created_at, payout.payment_hash));
        Ok(theirs)
    }

    async fn payouts_in_flight(&self, now: Timestamp, limit: usize) -> Result<Vec<Payout>, StoreError> {
        let tables = self.tables();
        let due = |payout: &&Payout| {
            matches!(payout.state, PayoutState::Paying { .. }) && payout.next_look_at <= now
        };
        let mut due: Vec<Payout> = tables.payouts.values().filter(due).cloned().collect();
        due.sort_by_key(|payout| payout.next_look_at);
        due.truncate(limit);
        Ok(due)
    }
}

#[async_trait]
impl ReconciliationStore for MemoryStore {
    async fn ledger_totals(&self) -> Result<LedgerTotals, StoreError> {
        let tables = self.tables();
        let of = |kind: AccountKind| {
            let accounts = tables.accounts.values().filter(|account| account.id().kind() == kind);
            sum(accounts.map(tithe_ledger::Account::balance))
        };
        let wallet = tables.transfers.iter().map(|transfer| {
            let amount = i128::from(transfer.amount.get());
            match (transfer.debit, transfer.credit) {
                (AccountId::Wallet, _) => amount,
                (_, AccountId::Wallet) => -amount,
                _ => 0,
            }
        });
        let flying = tables.payouts.values().filter(|row| matches!(row.state, PayoutState::Paying { .. }));
        let flying = flying.flat_map(|payout| [payout.amount.to_msats(), payout.fee_limit.to_msats()]);
        Ok(LedgerTotals {
            wallet: wallet.sum(),
            jobs: of(AccountKind::Job),
            sessions: of(AccountKind::Session),
            bootstraps: of(AccountKind::Bootstrap),
            pool: of(AccountKind::Pool),
            refunds: sum(tables.obligations.values().map(|owed| owed.due.to_msats())),
            in_flight: sum(flying),
        })
    }

    async fn wallet_transfers(&self, since: Timestamp) -> Result<Vec<Transfer>, StoreError> {
        let tables = self.tables();
        let of_wallet = |row: &&Transfer| row.debit == AccountId::Wallet || row.credit == AccountId::Wallet;
        let transfers = tables.transfers.iter().filter(of_wallet);
        Ok(transfers.filter(|row| row.created_at >= since).cloned().collect())
    }
}

fn sum(amounts: impl Iterator<Item = Msats>) -> Msats {
    amounts.fold(Msats::ZERO, |sum, amount| sum.checked_add(amount).expect("no more than can exist"))
}
