//! The sums of the ledger, kept up to date by the transfers that are new.

use crate::store::{MeasurementStore, StoreError, TransferSum};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tithe_ledger::{AccountKind, TransferKind};
use tokio::time::Instant;

/// How many transfers are read at once.
const PIECE: u64 = 20_000;

/// How long the number of a transfer may be known before the transfer is committed. Servers commit at once, so that transfers may
/// appear before others with smaller numbers.
const SETTLING: Duration = Duration::from_mins(1);

/// The most transfers that are read again because they may not be settled. With more, the sums wait for them to settle.
const UNSETTLED_MAX: u64 = 200_000;

/// The key of a sum: the kind of the transfers, and the kinds of the accounts that they debit and credit.
type Key = (TransferKind, Option<AccountKind>, Option<AccountKind>);

/// The sums of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sums(BTreeMap<Key, (u64, u128)>);

impl Sums {
    fn add(&mut self, sums: Vec<TransferSum>) {
        for TransferSum { kind, debit, credit, transfers, msats } in sums {
            let sum = self.0.entry((kind, debit, credit)).or_default();
            *sum = (sum.0.saturating_add(transfers), sum.1.saturating_add(msats));
        }
    }

    /// How many transfers are in the sums.
    pub(super) fn transfers(&self) -> u64 {
        self.0.values().map(|(transfers, _)| transfers).sum()
    }

    /// What transfers of each kind have moved, in msats.
    pub(super) fn by_kind(&self) -> BTreeMap<TransferKind, u128> {
        let mut moved = BTreeMap::new();
        for ((kind, _, _), (_, msats)) in &self.0 {
            let sum: &mut u128 = moved.entry(*kind).or_default();
            *sum = sum.saturating_add(*msats);
        }
        moved
    }

    /// Credits less debits of the accounts of each kind, in msats.
    pub(super) fn by_account(&self) -> BTreeMap<Option<AccountKind>, i128> {
        let mut balances: BTreeMap<_, i128> = BTreeMap::new();
        for ((_, debit, credit), (_, msats)) in &self.0 {
            let amount = i128::try_from(*msats).unwrap_or(i128::MAX);
            let credited = balances.entry(*credit).or_default();
            *credited = credited.saturating_add(amount);
            let debited = balances.entry(*debit).or_default();
            *debited = debited.saturating_sub(amount);
        }
        balances
    }
}

/// The sums of the ledger as they are brought up to date.
#[derive(Debug, Default)]
pub(super) struct LedgerSums {
    settled: Sums,
    /// The number of the last transfer in `settled`.
    until: u64,
    /// The numbers of last transfers that were read lately, with the times when they were.
    lasts: VecDeque<(Instant, u64)>,
}

impl LedgerSums {
    /// The sums up to the transfer with the number `last`, which was just found to be the last one; `None` while too many are not
    /// settled.
    pub(super) async fn advance(
        &mut self,
        store: &(impl MeasurementStore + ?Sized),
        last: u64,
    ) -> Result<Option<Sums>, StoreError> {
        let now = Instant::now();
        self.lasts.push_back((now, last));
        let mut settled_until = self.until;
        while let Some((at, last)) = self.lasts.front().copied()
            && now.duration_since(at) >= SETTLING
        {
            settled_until = settled_until.max(last);
            self.lasts.pop_front();
        }
        while self.until < settled_until {
            let until = settled_until.min(self.until + PIECE);
            self.settled.add(store.transfer_sums(self.until, until).await?);
            self.until = until;
        }
        if last.saturating_sub(self.until) > UNSETTLED_MAX {
            return Ok(None);
        }
        let (mut sums, mut after) = (self.settled.clone(), self.until);
        while after < last {
            let until = last.min(after + PIECE);
            sums.add(store.transfer_sums(after, until).await?);
            after = until;
        }
        Ok(Some(sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Measurements;
    use async_trait::async_trait;
    use std::sync::Mutex;
    use tithe_clock::Timestamp;

    /// A ledger whose transfers are of one msat each, except for those that are not committed yet.
    #[derive(Default)]
    struct Ledger {
        missing: Mutex<Vec<u64>>,
        read: Mutex<Vec<(u64, u64)>>,
    }

    #[async_trait]
    impl MeasurementStore for Ledger {
        async fn measurements(&self, _now: Timestamp) -> Result<Measurements, StoreError> {
            Ok(Measurements::default())
        }

        async fn transfer_sums(&self, after: u64, until: u64) -> Result<Vec<TransferSum>, StoreError> {
            self.read.lock().unwrap().push((after, until));
            let missing = self.missing.lock().unwrap();
            let missing = missing.iter().filter(|seq| (after + 1..=until).contains(seq)).count();
            let transfers = until - after - u64::try_from(missing).unwrap();
            Ok(vec![TransferSum {
                kind: TransferKind::Charge,
                debit: Some(AccountKind::Job),
                credit: Some(AccountKind::Revenue),
                transfers,
                msats: transfers.into(),
            }])
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_is_committed_after_later_ones_is_not_missed() {
        let (ledger, mut sums) = (Ledger::default(), LedgerSums::default());
        *ledger.missing.lock().unwrap() = vec![7];
        let found = sums.advance(&ledger, 10).await.unwrap().unwrap();
        assert_eq!(found.transfers(), 9);
        ledger.missing.lock().unwrap().clear();
        tokio::time::advance(SETTLING / 2).await;
        assert_eq!(sums.advance(&ledger, 12).await.unwrap().unwrap().transfers(), 12);
        tokio::time::advance(SETTLING / 2).await;
        let found = sums.advance(&ledger, 15).await.unwrap().unwrap();
        assert_eq!((found.transfers(), sums.until), (15, 10));
        let balances = found.by_account();
        assert_eq!((balances[&Some(AccountKind::Job)], balances[&Some(AccountKind::Revenue)]), (-15, 15));
        assert_eq!(found.by_kind()[&TransferKind::Charge], 15);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_settled_is_read_once_and_in_pieces() {
        let (ledger, mut sums) = (Ledger::default(), LedgerSums::default());
        let all = UNSETTLED_MAX + 1;
        assert_eq!(sums.advance(&ledger, all).await.unwrap(), None);
        assert!(ledger.read.lock().unwrap().is_empty());
        tokio::time::advance(SETTLING).await;
        assert_eq!(sums.advance(&ledger, all + 3).await.unwrap().unwrap().transfers(), all + 3);
        let read = std::mem::take(&mut *ledger.read.lock().unwrap());
        assert!(read.iter().all(|(after, until)| until - after <= PIECE));
        assert_eq!(read.last(), Some(&(all, all + 3)));
        assert_eq!(sums.advance(&ledger, all + 3).await.unwrap().unwrap().transfers(), all + 3);
        assert_eq!(*ledger.read.lock().unwrap(), [(all, all + 3)]);
    }
}
