//! A node's record of its payments.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tithe_clock::{Clock, SystemClock};
use tithe_lightning::{PaymentHash, Preimage};
use tithe_money::Msats;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::{
    FailureReason, Hold, HoldError, HoldState, IncomingPayment, OutgoingPayment, OutgoingState, PayError,
    PaymentEvent, Received,
};

/// How many events a slow reader may be behind before it misses some.
const EVENTS: usize = 1_024;

/// A node's record of its payments, in the order in which they began.
pub struct Book {
    pages: Mutex<Pages>,
    changes: watch::Sender<()>,
    events: broadcast::Sender<PaymentEvent>,
}

#[derive(Default)]
struct Pages {
    incoming: Vec<IncomingPayment>,
    outgoing: Vec<OutgoingPayment>,
    held: Vec<PaymentHash>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            pages: Mutex::default(),
            changes: watch::Sender::new(()),
            events: broadcast::Sender::new(EVENTS),
        }
    }
}

impl Book {
    pub fn subscribe(&self) -> broadcast::Receiver<PaymentEvent> {
        self.events.subscribe()
    }

    /// Waits until the record says something.
    pub async fn wait<T>(&self, mut find: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(found) = find(self) {
                return Some(found);
            }
            changes.changed().await.ok()?;
        }
    }

    pub fn incoming_all(&self) -> Vec<IncomingPayment> {
        self.pages().incoming.clone()
    }

    pub fn incoming(&self, hash: PaymentHash) -> Option<IncomingPayment> {
        self.pages().incoming.iter().find(|payment| payment.hash() == hash).cloned()
    }

    pub fn outgoing_all(&self) -> Vec<OutgoingPayment> {
        self.pages().outgoing.clone()
    }

    pub fn outgoing(&self, id: Uuid) -> Option<OutgoingPayment> {
        self.pages().outgoing.iter().find(|payment| payment.id == id).cloned()
    }

    /// The attempt that counts among those for a hash: one that succeeded, else one in flight, else the last one.
    pub fn outgoing_by_hash(&self, hash: PaymentHash) -> Option<OutgoingPayment> {
        let pages = self.pages();
        let attempts = pages.outgoing.iter().filter(|payment| payment.hash() == hash);
        attempts.max_by_key(|payment| rank(&payment.state)).cloned()
    }

    pub fn has_received(&self, hash: PaymentHash) -> bool {
        self.incoming(hash).is_some_and(|payment| payment.received.is_some())
    }

    pub fn has_sent(&self, hash: PaymentHash) -> bool {
        self.outgoing_by_hash(hash).is_some_and(|payment| payment.succeeded().is_some())
    }

    pub fn invoice_add(&self, payment: IncomingPayment) {
        self.change(|pages| pages.incoming.push(payment));
    }

    pub fn receive(&self, hash: PaymentHash, amount: Msats) {
        let found = self.change(|pages| {
            pages.held.retain(|held| *held != hash);
            let found = pages.incoming.iter_mut().find(|payment| payment.hash() == hash);
            found.map(|payment| payment.received = Some(Received { amount, at: SystemClock.now() }))
        });
        if found.is_some() {
            let _ = self.events.send(PaymentEvent::Received(hash));
        }
    }

    /// Adds an attempt in flight, unless one for the same hash succeeded or is in flight.
    pub fn attempt(&self, payment: OutgoingPayment) -> Result<(), PayError> {
        self.change(|pages| {
            let earlier = pages.outgoing.iter().filter(|earlier| earlier.hash() == payment.hash());
            match earlier.map(|earlier| rank(&earlier.state)).max() {
                Some(Rank::Succeeded) => Err(PayError::AlreadyPaid),
                Some(Rank::InFlight) => Err(PayError::InProgress),
                Some(Rank::Failed) | None => {
                    pages.outgoing.push(payment);
                    Ok(())
                }
            }
        })
    }

    pub fn succeed(&self, id: Uuid, preimage: Preimage, fee: Msats) {
        let at = SystemClock.now();
        self.conclude(id, OutgoingState::Succeeded { preimage, fee, at }, PaymentEvent::Sent(id));
    }

    pub fn fail(&self, id: Uuid, reason: FailureReason) {
        let at = SystemClock.now();
        self.conclude(id, OutgoingState::Failed { reason, at }, PaymentEvent::Failed(id));
    }

    /// Forgets an attempt that was never made.
    pub fn withdraw(&self, id: Uuid) {
        self.change(|pages| pages.outgoing.retain(|payment| payment.id != id));
    }

    pub fn hold(&self, hash: PaymentHash) {
        self.change(|pages| pages.held.push(hash));
    }

    pub fn is_held(&self, hash: PaymentHash) -> bool {
        self.pages().held.contains(&hash)
    }

    pub fn release(&self) -> Vec<PaymentHash> {
        self.change(|pages| std::mem::take(&mut pages.held))
    }

    /// The payment of an invoice has arrived: what becomes of it, if it is a hold invoice.
    pub fn hold_arrive(&self, hash: PaymentHash, claim_deadline: Option<u32>) -> Option<HoldState> {
        let state = self.change(|pages| {
            let hold = pages.hold_of(hash)?;
            if hold.state == HoldState::Open {
                *hold = Hold { state: HoldState::Held, claim_deadline };
            }
            Some(hold.state)
        });
        if state == Some(HoldState::Held) {
            let _ = self.events.send(PaymentEvent::Held(hash));
        }
        state
    }

    /// From now on the payment cannot be cancelled.
    pub fn hold_settle(&self, preimage: Preimage) -> Result<(), HoldError> {
        self.change(|pages| {
            let payment = pages.incoming.iter_mut().find(|payment| payment.hash() == preimage.payment_hash());
            let payment = payment.filter(|payment| payment.received.is_none()).ok_or(HoldError::NotHeld)?;
            let hold = payment.hold.as_mut().ok_or(HoldError::NotHeld)?;
            if !matches!(hold.state, HoldState::Held | HoldState::Settling) {
                return Err(HoldError::NotHeld);
            }
            hold.state = HoldState::Settling;
            payment.preimage = Some(preimage);
            Ok(())
        })
    }

    /// From now on the payment cannot be settled.
    pub fn hold_cancel(&self, hash: PaymentHash) -> Result<(), HoldError> {
        self.change(|pages| {
            let hold = pages.hold_of(hash).ok_or(HoldError::NotHeld)?;
            if !matches!(hold.state, HoldState::Held | HoldState::TimedOut) {
                return Err(HoldError::NotHeld);
            }
            hold.state = HoldState::Cancelled;
            Ok(())
        })
    }

    /// A part of a payment went back. At its deadline, that is the whole payment.
    pub fn hold_return(&self, hash: PaymentHash, height: u32) {
        self.change(|pages| {
            let Some(hold) = pages.hold_of(hash) else { return };
            let is_over = hold.claim_deadline.is_some_and(|deadline| height >= deadline);
            if is_over && matches!(hold.state, HoldState::Held | HoldState::Settling) {
                hold.state = HoldState::TimedOut;
            }
        });
    }

    fn conclude(&self, id: Uuid, state: OutgoingState, event: PaymentEvent) {
        let found = self.change(|pages| {
            let found = pages.outgoing.iter_mut().find(|payment| payment.id == id);
            found.map(|payment| payment.state = state)
        });
        if found.is_some() {
            let _ = self.events.send(event);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> T {
        let done = change(&mut self.pages());
        self.changes.send_replace(());
        done
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// The hold invoice with this hash, if it is not settled.
    fn hold_of(&mut self, hash: PaymentHash) -> Option<&mut Hold> {
        let payment = self.incoming.iter_mut().find(|payment| payment.hash() == hash);
        payment.filter(|payment| payment.received.is_none())?.hold.as_mut()
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Failed,
    InFlight,
    Succeeded,
}

const fn rank(state: &OutgoingState) -> Rank {
    match state {
        OutgoingState::Failed { .. } => Rank::Failed,
        OutgoingState::InFlight => Rank::InFlight,
        OutgoingState::Succeeded { .. } => Rank::Succeeded,
    }
}
