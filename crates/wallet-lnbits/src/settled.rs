//! The list of settled payments.

use crate::api::Api;
use crate::record::Record;
use std::collections::HashSet;
use tithe_clock::Timestamp;
use tithe_lightning::{Direction, WalletError, WalletPayment};

/// The number of payments in a page.
const PAGE: usize = 500;

/// The number of payments that two pages share. Payments that settle while the list is read move the others towards its end; the
/// overlap shows that none was skipped.
const OVERLAP: usize = 50;

/// LNbits stores some times in whole seconds.
const MICROS_PER_SECOND: i64 = 1_000_000;

/// The payments that were settled at `since` or later, complete.
pub(crate) async fn since(api: &Api, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
    let since_second = since.unix_micros() - since.unix_micros().rem_euclid(MICROS_PER_SECOND);
    let mut list = List::default();
    loop {
        let page = api.succeeded(list.offset, PAGE).await?;
        let (length, total) = (page.data.len(), page.total);
        list.append(page.data)?;
        let reached = list.last.as_ref().is_none_or(|last| last.updated_at.unix_micros() < since_second);
        if reached || list.offset.saturating_add(length) >= total {
            break;
        }
        if length <= OVERLAP {
            return Err(WalletError::Nonsense(format!(
                "incomplete page: expected more of {total} payments, got {length}"
            )));
        }
        list.offset = list.offset.saturating_add(length).saturating_sub(OVERLAP);
    }
    let settled = list.records.iter().filter(|record| record.updated_at.unix_micros() >= since_second);
    settled.filter_map(|record| settled_payment(record).transpose()).collect()
}

/// The payment of a record; `None` if no money moved.
fn settled_payment(record: &Record) -> Result<Option<WalletPayment>, WalletError> {
    let Some(direction) = record.direction() else { return Ok(None) };
    Ok(Some(WalletPayment {
        direction,
        payment_hash: record.payment_hash,
        amount: record.amount()?,
        fee: record.fee()?,
        settled_at: record.updated_at,
        description: record.memo.clone().filter(|_| direction == Direction::Incoming),
    }))
}

/// The list as far as it has been read.
#[derive(Default)]
struct List {
    records: Vec<Record>,
    seen: HashSet<String>,
    /// The last record of the last page.
    last: Option<Record>,
    offset: usize,
}

impl List {
    /// Appends a page, leaving out what it shares with the pages before.
    fn append(&mut self, page: Vec<Record>) -> Result<(), WalletError> {
        if let Some(last) = &self.last
            && !page.iter().any(|record| record.checking_id == last.checking_id)
        {
            let cause = "the list of payments changed while it was read";
            return Err(WalletError::Unavailable(Some(cause.into())));
        }
        if !page.is_sorted_by(|earlier, later| earlier.updated_at >= later.updated_at) {
            return Err(WalletError::Nonsense(
                "unsorted list of payments: expected the last changed first".to_owned(),
            ));
        }
        self.last = page.last().cloned();
        for record in page {
            if self.seen.insert(record.checking_id.clone()) {
                self.records.push(record);
            }
        }
        Ok(())
    }
}
