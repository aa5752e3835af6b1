//! The offers of requests that can still be paid, so that whoever asks again gets the same invoice.

use crate::admission::Origin;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use tithe_clock::Timestamp;
use tithe_lightning::Invoice;
use tithe_money::Sats;
use tithe_paywall::RequestDigest;
use tithe_sessions::{SentRequest, SessionId};

/// How many offers are remembered. The oldest ones make way.
const REMEMBERED_MAX: usize = 4_096;

/// What one request costs, and how to pay for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedRequest {
    /// The session that pays for the request, once its invoice is paid.
    pub session: SessionId,
    /// The most that the request can cost. What it does not cost is refunded.
    pub price: Sats,
    /// The invoice, of that price.
    pub invoice: Invoice,
    /// The digest of the request.
    pub digest: RequestDigest,
    /// Whether the invoice is a hold invoice: the request is done when its payment is held, and the payment is taken afterwards.
    pub is_held: bool,
}

/// Something that is offered for a payment.
pub(super) trait Offer: Clone + Send + Sync + 'static {
    /// The session that the payment is for.
    fn session(&self) -> SessionId;

    /// The invoice.
    fn invoice(&self) -> &Invoice;

    /// Whether its payment is held until the work is done.
    fn is_held(&self) -> bool {
        false
    }

    /// Whether the invoice can be paid for at least half of its life.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let invoice = self.invoice();
        let life = invoice.expires_at.since(invoice.created_at);
        now + life / 2 <= invoice.expires_at
    }
}

impl Offer for OfferedRequest {
    fn session(&self) -> SessionId {
        self.session
    }

    fn invoice(&self) -> &Invoice {
        &self.invoice
    }

    fn is_held(&self) -> bool {
        self.is_held
    }
}

/// Who asks, for what, and with what kept beside it: not all that is sent to the service behind a mounted route is in the digest.
type Asked = (Origin, RequestDigest, Option<u64>);

/// An offer, once there is one. Whoever has locked it makes it.
pub(super) type Slot<O> = Arc<tokio::sync::Mutex<Option<O>>>;

/// The offers that this server has made.
pub(super) struct RequestOffers<O> {
    remembered: Mutex<Remembered<O>>,
    hashes: RandomState,
}

struct Remembered<O> {
    slots: HashMap<Asked, Slot<O>>,
    /// The same, oldest first.
    order: VecDeque<Asked>,
}

impl<O> Default for RequestOffers<O> {
    fn default() -> Self {
        let remembered = Mutex::new(Remembered { slots: HashMap::new(), order: VecDeque::new() });
        Self { remembered, hashes: RandomState::new() }
    }
}

impl<O> RequestOffers<O> {
    /// The offer for a request of this origin, which may still be to be made. `kept` is what is kept with it.
    pub(super) fn slot(&self, origin: Origin, digest: RequestDigest, kept: Option<&SentRequest>) -> Slot<O> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = (origin, digest, kept.map(|kept| self.hashes.hash_one(kept)));
        if let Some(slot) = remembered.slots.get(&asked) {
            return Arc::clone(slot);
        }
        while remembered.order.len() >= REMEMBERED_MAX {
            let oldest = remembered.order.pop_front();
            oldest.and_then(|oldest| remembered.slots.remove(&oldest));
        }
        let slot: Slot<O> = Arc::new(tokio::sync::Mutex::new(None));
        remembered.order.push_back(asked.clone());
        remembered.slots.insert(asked, Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> RequestDigest {
        RequestDigest::of("POST", &n.to_string(), "anonymous", b"")
    }

    #[test]
    fn one_request_of_one_origin_has_one_slot() {
        let offers = RequestOffers::<OfferedRequest>::default();
        let here = || Origin::new("192.0.2.1");
        let slot = offers.slot(here(), digest(1), None);
        assert!(Arc::ptr_eq(&slot, &offers.slot(here(), digest(1), None)));
        assert!(!Arc::ptr_eq(&slot, &offers.slot(here(), digest(2), None)));
        assert!(!Arc::ptr_eq(&slot, &offers.slot(Origin::new("192.0.2.2"), digest(1), None)));
    }

    #[test]
    fn only_so_many_are_remembered_and_the_oldest_make_way() {
        let (offers, here) = (RequestOffers::<OfferedRequest>::default(), || Origin::new("192.0.2.1"));
        let first = offers.slot(here(), digest(0), None);
        for n in 1..REMEMBERED_MAX {
            offers.slot(here(), digest(n), None);
        }
        assert!(Arc::ptr_eq(&first, &offers.slot(here(), digest(0), None)));
        offers.slot(here(), digest(REMEMBERED_MAX), None);
        let second = offers.slot(here(), digest(1), None);
        assert!(!Arc::ptr_eq(&first, &offers.slot(here(), digest(0), None)));
        assert!(!Arc::ptr_eq(&second, &offers.slot(here(), digest(2), None)));
        let remembered = offers.remembered.lock().unwrap();
        assert_eq!((remembered.slots.len(), remembered.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
