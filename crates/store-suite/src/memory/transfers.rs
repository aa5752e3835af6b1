//! Transfers, for receipts and statements.

use super::MemoryStore;
use super::measurements::sums_of;
use async_trait::async_trait;
use tithe_engine::store::{NumberedTransfer, StoreError, TimeRange, TransferStore, TransferSum};
use tithe_ledger::{Transfer, TransferKey};

fn is_in(range: TimeRange) -> impl Fn(&Transfer) -> bool {
    move |transfer| (range.from..range.until).contains(&transfer.created_at)
}

#[async_trait]
impl TransferStore for MemoryStore {
    async fn transfers_with_keys(&self, keys: &[TransferKey]) -> Result<Vec<Transfer>, StoreError> {
        let tables = self.tables();
        Ok(tables.transfers.iter().filter(|transfer| keys.contains(&transfer.key)).cloned().collect())
    }

    async fn transfers_made_in(
        &self,
        range: TimeRange,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedTransfer>, StoreError> {
        let tables = self.tables();
        let numbered = (1_u64..).zip(&tables.transfers);
        let found = numbered.filter(|(number, transfer)| *number > after && is_in(range)(transfer));
        let found = found.map(|(number, transfer)| NumberedTransfer { number, transfer: transfer.clone() });
        Ok(found.take(limit).collect())
    }

    async fn transfer_sums_of(&self, range: TimeRange) -> Result<Vec<TransferSum>, StoreError> {
        let tables = self.tables();
        Ok(sums_of(tables.transfers.iter().filter(|transfer| is_in(range)(transfer))))
    }
}
