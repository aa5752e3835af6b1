//! What is measured.

use super::MemoryStore;
use async_trait::async_trait;
use std::collections::BTreeMap;
use tithe_bootstrap::BootstrapState;
use tithe_clock::Timestamp;
use tithe_engine::store::{Measured, MeasurementStore, Measurements, StoreError, Tally, TransferSum};
use tithe_free_tier::GrantLease;
use tithe_jobs::JobState;
use tithe_ledger::{Account, AccountId, Transfer};
use tithe_lightning::InvoiceState;
use tithe_payouts::PayoutState;

/// One of what is measured: with what it amounts to, its time, and its lease.
struct Item(Measured, u128, Timestamp, Option<Timestamp>);

#[async_trait]
impl MeasurementStore for MemoryStore {
    async fn measurements(&self, now: Timestamp) -> Result<Measurements, StoreError> {
        let tables = self.tables();
        let jobs = tables.jobs.values().filter_map(|job| {
            let what = match job.state {
                JobState::Evaluating => Measured::JobsEvaluating,
                JobState::Accepted { .. } => Measured::JobsAccepted,
                JobState::Executing { .. }
                | JobState::Held { .. }
                | JobState::Settling { .. }
                | JobState::Cancelling { .. } => Measured::JobsExecuting,
                _ => return None,
            };
            Some(Item(what, 0, job.created_at, job.lease.owner.and(job.lease.until)))
        });
        let holds = tables.holds.values().filter_map(|hold| {
            let lease = hold.state.lease().ok()?;
            Some(Item(Measured::Holds, hold.amount.get().into(), hold.created_at, Some(lease)))
        });
        let reservations = tables.reservations.values().filter_map(|row| {
            let lease = row.state.lease().ok().and_then(GrantLease::until)?;
            Some(Item(Measured::Reservations, row.amount.get().into(), row.created_at, Some(lease)))
        });
        let credits = tables.credits.values().filter_map(|credit| {
            let lease = credit.state.lease().ok()?;
            Some(Item(Measured::Credits, 0, credit.created_at, Some(lease)))
        });
        let invoices = tables.invoices.values().filter(|row| row.state == InvoiceState::Pending);
        let invoices = invoices
            .map(|row| Item(Measured::Invoices(row.purpose), row.amount.get().into(), row.created_at, None));
        let flying = tables.payouts.values().filter(|row| matches!(row.state, PayoutState::Paying { .. }));
        let flying = flying.map(|row| {
            let msats = row.amount.to_msats().get() + row.fee_limit.to_msats().get();
            Item(Measured::PayoutsInFlight, msats.into(), row.created_at, None)
        });
        let payable = tables
            .obligations
            .values()
            .filter(|owed| !owed.due.is_zero() && owed.destination.is_some() && owed.in_flight.is_none());
        let payable = payable.map(|owed| {
            let msats = owed.due.to_msats().get().into();
            (owed.failures > 0, Item(Measured::RefundsPayable, msats, owed.next_try_at, None))
        });
        let (failing, payable): (Vec<bool>, Vec<Item>) = payable.unzip();
        let bootstraps = tables.bootstraps.values().filter_map(|row| match &row.state {
            BootstrapState::Provisioning { paid_at, .. } => {
                Some(Item(Measured::BootstrapsProvisioning, 0, *paid_at, None))
            }
            BootstrapState::Failed { begun_at: Some(begun_at), .. } => {
                Some(Item(Measured::BootstrapsDestroying, 0, *begun_at, None))
            }
            _ => None,
        });
        let items = jobs.chain(holds).chain(reservations).chain(credits).chain(invoices);
        let items = items.chain(flying).chain(payable).chain(bootstraps);
        let mut tallies: BTreeMap<Measured, Tally> = BTreeMap::new();
        for Item(what, msats, at, lease) in items {
            let tally = tallies.entry(what).or_default();
            tally.count += 1;
            tally.msats += msats;
            tally.oldest = Some(tally.oldest.map_or(at, |oldest| oldest.min(at)));
            tally.leased += u64::from(lease.is_some_and(|until| until > now));
            tally.expired += u64::from(lease.is_some_and(|until| until <= now));
        }
        let failing = u64::try_from(failing.into_iter().filter(|failed| *failed).count()).unwrap();
        if failing > 0 {
            tallies.insert(Measured::RefundsFailing, Tally { count: failing, ..Tally::default() });
        }
        let pool = tables.accounts.get(&AccountId::Pool);
        Ok(Measurements {
            tallies,
            pool_balance: pool.map(Account::balance).unwrap_or_default(),
            pool_held: pool.map(Account::held).unwrap_or_default(),
            last_transfer: u64::try_from(tables.transfers.len()).unwrap(),
        })
    }

    async fn transfer_sums(&self, after: u64, until: u64) -> Result<Vec<TransferSum>, StoreError> {
        let tables = self.tables();
        let (first, last) = (usize::try_from(after).unwrap(), usize::try_from(until).unwrap());
        let last = last.min(tables.transfers.len());
        Ok(sums_of(tables.transfers.get(first..last).unwrap_or_default()))
    }
}

/// What these transfers have moved.
pub(super) fn sums_of<'a>(transfers: impl IntoIterator<Item = &'a Transfer>) -> Vec<TransferSum> {
    let mut sums: BTreeMap<_, (u64, u128)> = BTreeMap::new();
    for transfer in transfers {
        let debit = TransferSum::own(transfer.debit.kind());
        let credit = TransferSum::own(transfer.credit.kind());
        let sum = sums.entry((transfer.kind, debit, credit)).or_default();
        *sum = (sum.0 + 1, sum.1 + u128::from(transfer.amount.get()));
    }
    let sum =
        |((kind, debit, credit), (transfers, msats))| TransferSum { kind, debit, credit, transfers, msats };
    sums.into_iter().map(sum).collect()
}
