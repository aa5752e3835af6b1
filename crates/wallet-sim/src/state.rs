//! The wallet's state: the result of its journal.

use crate::LineError;
use crate::journal::Follower;
use crate::record::{InvoiceRecord, Outcome, PaymentRecord, Record};
use crate::settlements::Announcer;
use std::collections::HashMap;
use tithe_clock::Timestamp;
use tithe_lightning::{
    Direction, HeldPayment, InvoiceId, InvoiceStatus, Payment, PaymentHash, PaymentId, Preimage,
    ReceivedPayment, WalletPayment,
};
use tithe_money::Msats;
use uuid::Uuid;

/// An invoice of this wallet.
pub(crate) struct SimInvoice {
    pub record: InvoiceRecord,
    /// Whether a payment is held until the caller settles or cancels it.
    pub is_hold: bool,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Unpaid,
    Held { until: Timestamp },
    Settled { at: Timestamp, liquidity_fee: Msats },
    Cancelled { was_held: bool },
    MadeToExpire,
}

impl SimInvoice {
    pub fn status(&self, now: Timestamp) -> InvoiceStatus {
        match self.progress {
            Progress::Settled { at, liquidity_fee } => InvoiceStatus::Settled(ReceivedPayment {
                payment_hash: self.record.payment_hash,
                amount: self.record.amount.to_msats(),
                liquidity_fee,
                preimage: self.record.preimage,
                received_at: at,
            }),
            Progress::Held { until } if now < until => InvoiceStatus::Held(self.held_until(until)),
            Progress::Unpaid if now < self.record.expires_at => InvoiceStatus::Pending,
            Progress::Unpaid
            | Progress::Held { .. }
            | Progress::Cancelled { .. }
            | Progress::MadeToExpire => InvoiceStatus::Expired,
        }
    }

    fn held_until(&self, until: Timestamp) -> HeldPayment {
        let Self { record: InvoiceRecord { payment_hash, amount, .. }, .. } = self;
        HeldPayment { payment_hash: *payment_hash, amount: amount.to_msats(), held_until: Some(until) }
    }

    /// Whether a payment was held and has gone back to the payer.
    pub fn has_returned(&self, now: Timestamp) -> bool {
        match self.progress {
            Progress::Held { until } => now >= until,
            Progress::Cancelled { was_held } => was_held,
            Progress::Unpaid | Progress::Settled { .. } | Progress::MadeToExpire => false,
        }
    }
}

/// Invoices, payments and totals. Everything is kept in memory, because a simulation does not run for years.
pub(crate) struct State {
    invoices: HashMap<PaymentHash, SimInvoice>,
    invoice_ids: HashMap<Uuid, PaymentHash>,
    payments: HashMap<Uuid, PaymentRecord>,
    /// The payment that has, or may have, paid a hash.
    payers: HashMap<PaymentHash, Uuid>,
    received: Msats,
    /// The cost of successful payments, including fees.
    spent: Msats,
    /// The cost of payments in flight, should they succeed.
    reserved: Msats,
    announcer: Announcer,
}

impl State {
    /// The state before the first record. Received payments are announced to `announcer` as they become known.
    pub fn new(announcer: Announcer) -> Self {
        Self {
            invoices: HashMap::new(),
            invoice_ids: HashMap::new(),
            payments: HashMap::new(),
            payers: HashMap::new(),
            received: Msats::ZERO,
            spent: Msats::ZERO,
            reserved: Msats::ZERO,
            announcer,
        }
    }

    pub fn invoice(&self, payment_hash: PaymentHash) -> Option<&SimInvoice> {
        self.invoices.get(&payment_hash)
    }

    /// The latest invoice with this id.
    pub fn invoice_of(&self, id: InvoiceId) -> Option<&SimInvoice> {
        self.invoice_ids.get(&id.0).and_then(|hash| self.invoices.get(hash))
    }

    pub fn invoice_count(&self) -> usize {
        self.invoices.len()
    }

    pub fn payment(&self, id: PaymentId) -> Option<&PaymentRecord> {
        self.payments.get(&id.0)
    }

    /// The payment that has paid this hash, or still may.
    pub fn payer(&self, payment_hash: PaymentHash) -> Option<&PaymentRecord> {
        self.payers.get(&payment_hash).and_then(|id| self.payments.get(id))
    }

    /// Received minus spent: the balance that the wallet reports, including payments in flight.
    pub fn balance(&self) -> Msats {
        self.received.saturating_sub(self.spent)
    }

    /// The payments in both directions that were settled at `since` or later.
    pub fn settled_since(&self, since: Timestamp) -> Vec<WalletPayment> {
        let incoming = self.invoices.values().filter_map(|invoice| match invoice.progress {
            Progress::Settled { at, liquidity_fee } => Some(WalletPayment {
                direction: Direction::Incoming,
                payment_hash: invoice.record.payment_hash,
                amount: invoice.record.amount.to_msats(),
                fee: liquidity_fee,
                settled_at: at,
                description: Some(invoice.record.description.clone()),
            }),
            Progress::Unpaid
            | Progress::Held { .. }
            | Progress::Cancelled { .. }
            | Progress::MadeToExpire => None,
        });
        let succeeded = |payment: &&PaymentRecord| matches!(payment.outcome, Outcome::Succeeded { .. });
        let outgoing = self.payments.values().filter(succeeded).map(|payment| WalletPayment {
            direction: Direction::Outgoing,
            payment_hash: payment.payment_hash,
            amount: payment.amount,
            fee: payment.fee,
            settled_at: payment.at,
            description: None,
        });
        incoming.chain(outgoing).filter(|payment| payment.settled_at >= since).collect()
    }

    /// The maximum cost of a new payment.
    pub fn spendable(&self) -> Msats {
        self.balance().saturating_sub(self.reserved)
    }

    /// Returns true if the wallet can hold `amount` more.
    pub fn can_receive(&self, amount: Msats) -> bool {
        self.received.checked_add(amount).is_ok()
    }

    fn check_settled(&self, payment_hash: PaymentHash) -> Result<(), LineError> {
        let invoice = self.invoice(payment_hash).ok_or(NO_SUCH_INVOICE)?;
        if invoice.is_hold {
            return Err(LineError::Contradiction("a payment of a hold invoice is held first"));
        }
        if invoice.progress != Progress::Unpaid {
            return Err(NOT_UNPAID);
        }
        if !self.can_receive(invoice.record.amount.to_msats()) {
            return Err(LineError::Contradiction("more was received than can exist"));
        }
        Ok(())
    }

    fn check_payment(&self, payment: &PaymentRecord) -> Result<(), LineError> {
        let before = self.payments.get(&payment.id);
        if before.is_some_and(|before| !before.is_continued_by(payment)) {
            return Err(LineError::Contradiction("the payment had another outcome before"));
        }
        if matches!(payment.outcome, Outcome::Failed { .. }) {
            return Ok(());
        }
        if self.payers.get(&payment.payment_hash).is_some_and(|id| *id != payment.id) {
            return Err(LineError::Contradiction("another payment paid that hash before"));
        }
        let cost = payment.cost().ok_or(LineError::Contradiction("the payment costs more than can exist"))?;
        let available = if before.is_some() { self.balance() } else { self.spendable() };
        if cost > available {
            return Err(LineError::Contradiction("the payment costs more than the wallet had"));
        }
        if let Outcome::Succeeded { preimage } = payment.outcome
            && let Some(invoice) = self.invoice(payment.payment_hash)
        {
            if Some(preimage) != invoice.record.preimage {
                return Err(LineError::Contradiction("the preimage is not the invoice's"));
            }
            self.check_settled(payment.payment_hash)?;
        }
        Ok(())
    }

    /// The hold invoice with this hash.
    fn hold_invoice(&self, payment_hash: PaymentHash) -> Result<&SimInvoice, LineError> {
        let invoice = self.invoice(payment_hash).filter(|invoice| invoice.is_hold);
        invoice.ok_or(LineError::Contradiction("no hold invoice has that payment hash"))
    }

    fn check_new_hash(&self, payment_hash: PaymentHash) -> Result<(), LineError> {
        if self.invoices.contains_key(&payment_hash) {
            return Err(LineError::Contradiction("an earlier invoice has that payment hash"));
        }
        Ok(())
    }

    fn check_hold_settled(
        &self,
        payment_hash: PaymentHash,
        preimage: Preimage,
        at: Timestamp,
    ) -> Result<(), LineError> {
        let invoice = self.hold_invoice(payment_hash)?;
        if preimage.payment_hash() != payment_hash {
            return Err(LineError::Contradiction("the preimage does not belong to the payment hash"));
        }
        if !matches!(invoice.progress, Progress::Held { until } if at < until) {
            return Err(LineError::Contradiction("no payment was held"));
        }
        if !self.can_receive(invoice.record.amount.to_msats()) {
            return Err(LineError::Contradiction("more was received than can exist"));
        }
        Ok(())
    }

    fn insert(&mut self, record: InvoiceRecord, is_hold: bool) {
        let invoice = SimInvoice { record, is_hold, progress: Progress::Unpaid };
        self.invoices.insert(invoice.record.payment_hash, invoice);
    }

    fn settle(&mut self, payment_hash: PaymentHash, at: Timestamp, liquidity_fee: Msats) {
        let Some(invoice) = self.invoices.get_mut(&payment_hash) else { return };
        invoice.progress = Progress::Settled { at, liquidity_fee };
        if let InvoiceStatus::Settled(settlement) = invoice.status(at) {
            let received = settlement.amount.saturating_sub(liquidity_fee);
            self.received = self.received.checked_add(received).unwrap_or(Msats::MAX);
            self.announcer.announce(settlement);
        }
    }

    fn record_payment(&mut self, payment: PaymentRecord) {
        let cost = payment.cost().unwrap_or(Msats::MAX);
        if self.payments.contains_key(&payment.id) {
            self.reserved = self.reserved.saturating_sub(cost);
        }
        match payment.outcome {
            Outcome::InFlight => {
                self.reserved = self.reserved.checked_add(cost).unwrap_or(Msats::MAX);
                self.payers.insert(payment.payment_hash, payment.id);
            }
            Outcome::Succeeded { .. } => {
                self.settle(payment.payment_hash, payment.at, Msats::ZERO);
                self.spent = self.spent.checked_add(cost).unwrap_or(Msats::MAX);
                self.payers.insert(payment.payment_hash, payment.id);
            }
            Outcome::Failed { .. } => {
                if self.payers.get(&payment.payment_hash) == Some(&payment.id) {
                    self.payers.remove(&payment.payment_hash);
                }
            }
        }
        self.payments.insert(payment.id, payment);
    }
}

const NO_SUCH_INVOICE: LineError = LineError::Contradiction("no invoice has that payment hash");
const NOT_UNPAID: LineError = LineError::Contradiction("the invoice was paid or made to expire before");

impl Follower for State {
    fn check(&self, record: &Record) -> Result<(), LineError> {
        match record {
            Record::Invoice(invoice) => {
                if invoice.preimage.map(|preimage| preimage.payment_hash()) != Some(invoice.payment_hash) {
                    return Err(LineError::Contradiction("the preimage does not belong to the payment hash"));
                }
                self.check_new_hash(invoice.payment_hash)
            }
            Record::HoldInvoice(invoice) if invoice.preimage.is_some() => {
                Err(LineError::Contradiction("a hold invoice has a preimage before it is settled"))
            }
            Record::HoldInvoice(invoice) => self.check_new_hash(invoice.payment_hash),
            Record::Held { payment_hash, .. } => match self.hold_invoice(*payment_hash)?.progress {
                Progress::Unpaid => Ok(()),
                _ => Err(NOT_UNPAID),
            },
            Record::HoldSettled { payment_hash, preimage, at, .. } => {
                self.check_hold_settled(*payment_hash, *preimage, *at)
            }
            Record::HoldCancelled { payment_hash, .. } => match self.hold_invoice(*payment_hash)?.progress {
                Progress::Unpaid | Progress::Held { .. } => Ok(()),
                _ => Err(LineError::Contradiction("the hold invoice was settled or cancelled before")),
            },
            Record::Settled { payment_hash, .. } => self.check_settled(*payment_hash),
            Record::Expired { payment_hash, .. } => {
                match self.invoice(*payment_hash).ok_or(NO_SUCH_INVOICE)?.progress {
                    Progress::Unpaid => Ok(()),
                    _ => Err(NOT_UNPAID),
                }
            }
            Record::Payment(payment) => self.check_payment(payment),
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Invoice(record) => {
                self.invoice_ids.insert(record.id, record.payment_hash);
                self.insert(record, false);
            }
            // Found by its hash only: the same id may have another kind of invoice.
            Record::HoldInvoice(record) => self.insert(record, true),
            Record::Held { payment_hash, at, until } => {
                if let Some(invoice) = self.invoices.get_mut(&payment_hash) {
                    invoice.progress = Progress::Held { until };
                    if let InvoiceStatus::Held(held) = invoice.status(at) {
                        self.announcer.announce_held(held);
                    }
                }
            }
            Record::HoldSettled { payment_hash, preimage, at, liquidity_fee } => {
                if let Some(invoice) = self.invoices.get_mut(&payment_hash) {
                    invoice.record.preimage = Some(preimage);
                }
                self.settle(payment_hash, at, liquidity_fee);
            }
            Record::HoldCancelled { payment_hash, .. } => {
                if let Some(invoice) = self.invoices.get_mut(&payment_hash) {
                    let was_held = matches!(invoice.progress, Progress::Held { .. });
                    invoice.progress = Progress::Cancelled { was_held };
                }
            }
            Record::Settled { payment_hash, at, liquidity_fee } => {
                self.settle(payment_hash, at, liquidity_fee);
            }
            Record::Expired { payment_hash, .. } => {
                if let Some(invoice) = self.invoices.get_mut(&payment_hash) {
                    invoice.progress = Progress::MadeToExpire;
                }
            }
            Record::Payment(payment) => self.record_payment(payment),
        }
    }
}

impl PaymentRecord {
    /// The amount taken from the wallet; `None` if it is out of range.
    pub fn cost(&self) -> Option<Msats> {
        self.amount.checked_add(self.fee).ok()
    }

    /// Returns true if `next` is a valid end of this payment.
    fn is_continued_by(&self, next: &Self) -> bool {
        self.outcome == Outcome::InFlight
            && next.outcome != Outcome::InFlight
            && (self.payment_hash, self.amount, self.fee) == (next.payment_hash, next.amount, next.fee)
    }

    /// Converts to the port's type.
    pub fn as_payment(&self) -> Payment {
        match &self.outcome {
            Outcome::InFlight => Payment::InFlight,
            Outcome::Succeeded { preimage } => Payment::Succeeded { preimage: *preimage, fee: self.fee },
            Outcome::Failed { reason } => Payment::Failed { reason: reason.clone() },
        }
    }
}
