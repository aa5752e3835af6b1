//! Finds the wallet's records: by look-up, and by list where a look-up does not tell.

use crate::api::{ListFilter, is_unsupported, read_error};
use crate::client::{Client, RequestError};
use crate::transaction::{Identity, Transaction};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use tithe_clock::Timestamp;
use tithe_lightning::{Direction, Payment, PaymentHash, WalletError, WalletPayment};

/// The number of records that are read again with the next page, to notice that the list has moved.
const OVERLAP: usize = 5;
/// The number of pages that are searched for one payment.
const SEARCH_PAGES_MAX: u32 = 50;
/// The number of pages of a whole list.
const LIST_PAGES_MAX: u32 = 5_000;

/// The reason why a list cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum ListError {
    #[error("the wallet's list of transactions changed while it was read, or the wallet ignores the offset")]
    Moved,
    #[error("the wallet's list of transactions is too long")]
    TooLong,
}

impl From<ListError> for WalletError {
    fn from(error: ListError) -> Self {
        Self::Unavailable(Some(Box::new(error)))
    }
}

/// Why there is no next page.
enum PageError {
    Request(RequestError),
    List(ListError),
}

impl From<PageError> for WalletError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Request(error) => read_error(error),
            PageError::List(error) => error.into(),
        }
    }
}

/// Reads a list page by page, newest first. Each page begins with records of the page before: if it does not, records were
/// removed or moved, and some would be missed.
struct Listing<'a> {
    client: &'a Client,
    filter: ListFilter,
    offset: u64,
    pages: u32,
    pages_max: u32,
    first: Option<Identity>,
    seen: HashSet<Identity>,
}

impl<'a> Listing<'a> {
    fn new(client: &'a Client, filter: ListFilter, pages_max: u32) -> Self {
        Self { client, filter, offset: 0, pages: 0, pages_max, first: None, seen: HashSet::new() }
    }

    /// The new records of the next page; `None` at the end of the list.
    async fn next(&mut self) -> Result<Option<Vec<Transaction>>, PageError> {
        if self.pages == self.pages_max {
            return Err(PageError::List(ListError::TooLong));
        }
        self.pages += 1;
        let listed = self.client.list_transactions(self.filter, self.offset).await;
        let page = listed.map_err(PageError::Request)?;
        let Some(head) = page.first().map(Transaction::identity) else { return Ok(None) };
        if self.offset > 0 && (self.first.as_ref() == Some(&head) || !self.seen.contains(&head)) {
            return Err(PageError::List(ListError::Moved));
        }
        self.first.get_or_insert(head);
        let step = page.len().saturating_sub(OVERLAP).max(1);
        self.offset += u64::try_from(step).unwrap_or(1);
        let fresh: Vec<_> = page.into_iter().filter(|record| self.seen.insert(record.identity())).collect();
        Ok(Some(fresh).filter(|fresh| !fresh.is_empty()))
    }
}

/// What was found of an invoice.
pub(crate) enum Found {
    /// Its record.
    Invoice(Transaction),
    /// Only the wallet's own payment of it: it is not known to be paid.
    OwnPayment(Transaction),
}

/// Whether a look-up finds outgoing payments, as far as is known. NIP-47 implies it, but there are wallets that look at
/// their invoices only.
#[derive(Debug, Default)]
pub(crate) struct Records {
    finds_outgoing: AtomicBool,
}

impl Records {
    /// The state of the outgoing payment of this hash.
    ///
    /// A record of the other direction is not the payment: the wallet may have issued the invoice itself. Then, and as long as
    /// look-ups are not known to find outgoing payments, the list of outgoing payments decides.
    pub async fn payment(
        &self,
        client: &Client,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        let found = client.lookup_invoice(payment_hash).await.map_err(read_error)?;
        match found.as_ref().map(Transaction::direction) {
            Some(Some(Direction::Outgoing)) => self.finds_outgoing.store(true, Ordering::Relaxed),
            Some(Some(Direction::Incoming)) => return self.search_payment(client, payment_hash, false).await,
            Some(None) => {
                return Err(WalletError::Nonsense("a record is neither incoming nor outgoing".into()));
            }
            None if self.finds_outgoing.load(Ordering::Relaxed) => return Ok(None),
            None => return self.search_payment(client, payment_hash, true).await,
        }
        found.map(|found| found.as_payment(payment_hash)).transpose()
    }

    /// Searches the list of outgoing payments. A wallet that has no list has no record either. The search ends early if
    /// `probe` and a look-up turns out to find outgoing payments after all.
    async fn search_payment(
        &self,
        client: &Client,
        payment_hash: PaymentHash,
        mut probe: bool,
    ) -> Result<Option<Payment>, WalletError> {
        let filter = ListFilter { from: None, direction: Some(Direction::Outgoing), unpaid: true };
        let mut listing = Listing::new(client, filter, SEARCH_PAGES_MAX);
        loop {
            let page = match listing.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(None),
                Err(PageError::Request(error)) if is_unsupported(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let outgoing = page.iter().filter(|record| record.direction() == Some(Direction::Outgoing));
            let attempts = outgoing.clone().filter(|record| record.payment_hash() == Some(payment_hash));
            let mut best = None;
            for attempt in attempts {
                best = Some(better(best, attempt.as_payment(payment_hash)?));
            }
            if best.is_some() {
                return Ok(best);
            }
            if std::mem::take(&mut probe) {
                let known = outgoing.clone().find_map(Transaction::payment_hash);
                if let Some(known) = known {
                    let found = client.lookup_invoice(known).await.map_err(read_error)?;
                    if found.is_some_and(|found| found.direction() == Some(Direction::Outgoing)) {
                        self.finds_outgoing.store(true, Ordering::Relaxed);
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The record of the invoice of this hash.
    ///
    /// If the wallet also pays the invoice itself, a look-up may find the outgoing payment; then the list of received
    /// payments decides.
    pub async fn invoice(
        &self,
        client: &Client,
        payment_hash: PaymentHash,
    ) -> Result<Option<Found>, WalletError> {
        let Some(found) = client.lookup_invoice(payment_hash).await.map_err(read_error)? else {
            return Ok(None);
        };
        match found.direction() {
            Some(Direction::Incoming) => return Ok(Some(Found::Invoice(found))),
            Some(Direction::Outgoing) => {}
            None => return Err(WalletError::Nonsense("a record is neither incoming nor outgoing".into())),
        }
        let filter = ListFilter { from: None, direction: Some(Direction::Incoming), unpaid: false };
        let mut listing = Listing::new(client, filter, SEARCH_PAGES_MAX);
        loop {
            let page = match listing.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Some(Found::OwnPayment(found))),
                Err(PageError::Request(error)) if is_unsupported(&error) => {
                    return Ok(Some(Found::OwnPayment(found)));
                }
                Err(error) => return Err(error.into()),
            };
            let ours = |record: &Transaction| {
                record.direction() == Some(Direction::Incoming) && record.payment_hash() == Some(payment_hash)
            };
            if let Some(record) = page.into_iter().find(ours) {
                return Ok(Some(Found::Invoice(record)));
            }
        }
    }

    /// Everything that was settled at `since` or later. `created_since` is when the oldest of it may have been created.
    pub async fn settled(
        client: &Client,
        since: Timestamp,
        created_since: Timestamp,
    ) -> Result<Vec<WalletPayment>, WalletError> {
        let from = Some(created_since.unix_seconds().max(0));
        let mut listing =
            Listing::new(client, ListFilter { from, direction: None, unpaid: false }, LIST_PAGES_MAX);
        let mut settled = Vec::new();
        while let Some(page) = listing.next().await? {
            for record in page {
                settled.extend(record.as_settled()?.filter(|payment| payment.settled_at >= since));
            }
        }
        Ok(settled)
    }
}

/// Of several attempts, one that succeeded or is in flight counts.
fn better(one: Option<Payment>, other: Payment) -> Payment {
    match (one, other) {
        (Some(one @ Payment::Succeeded { .. }), _) => one,
        (_, other @ Payment::Succeeded { .. }) => other,
        (Some(Payment::InFlight), _) | (_, Payment::InFlight) => Payment::InFlight,
        (_, other @ Payment::Failed { .. }) => other,
    }
}
