//! The wallet's decisions: each operation's result, with the journal record that makes it durable.

use crate::network::{preimage_for, preimage_of};
use crate::node::{Node, Terms};
use crate::record::{InvoiceRecord, Outcome, PaymentRecord, Record};
use crate::state::State;
use std::time::Duration;
use tithe_clock::{Entropy, Timestamp};
use tithe_lightning::{
    Bolt11, InvoiceId, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId, PaymentOrder,
    Preimage, TestPaymentError, WalletError,
};
use tithe_money::{Msats, Sats};

/// The BOLT11 limit.
const DESCRIPTION_BYTES_MAX: usize = 639;
/// How long an invoice for tests can be paid.
const OUTSIDE_EXPIRY: Duration = Duration::from_hours(1);
/// The same of one without an amount, which is named long before it is paid.
const RETURN_EXPIRY: Duration = Duration::from_hours(24 * 60);
const EXPIRY_MAX: Duration = Duration::from_hours(366 * 24);

pub(crate) type Decision<T, E> = (Option<Record>, Result<T, E>);

pub(crate) fn refused<T>(why: impl Into<String>) -> Result<T, WalletError> {
    Err(WalletError::Refused(why.into()))
}

/// Rejects requests that can never become an invoice, before anything is looked up.
pub(crate) fn check_invoice_request(request: &InvoiceRequest) -> Result<(), WalletError> {
    if request.amount.is_zero() {
        return refused("an invoice must ask for more than nothing");
    }
    if request.description.len() > DESCRIPTION_BYTES_MAX {
        return refused(format!("a description can have at most {DESCRIPTION_BYTES_MAX} bytes"));
    }
    if request.expiry.is_zero() || request.expiry > EXPIRY_MAX {
        return refused("an invoice must expire after more than nothing and within 366 days");
    }
    Ok(())
}

/// Creates an invoice, or returns the one that was created for the same request and is paid or still payable.
pub(crate) fn create_invoice(
    state: &State,
    node: &Node,
    entropy: &dyn Entropy,
    now: Timestamp,
    request: &InvoiceRequest,
) -> Decision<Bolt11, WalletError> {
    if let Some(invoice) = state.invoice_of(request.id) {
        let record = &invoice.record;
        if (record.amount, &record.description) != (request.amount, &request.description) {
            return (None, refused("another invoice was made under this id"));
        }
        if invoice.status(now) != InvoiceStatus::Expired {
            let known = record.bolt11.parse().map_err(|error| WalletError::Nonsense(format!("{error}")));
            return (None, known);
        }
    }
    let Some(payment_secret) = unused_secret(state, entropy) else {
        return (None, refused("the random bytes repeat"));
    };
    let preimage = preimage_of(&payment_secret);
    match sign_invoice(node, now, request, preimage.payment_hash(), payment_secret) {
        Ok(bolt11) => {
            let record = Record::Invoice(record_of(request, &bolt11, Some(preimage)));
            (Some(record), Ok(bolt11))
        }
        Err(error) => (None, Err(error)),
    }
}

pub(crate) fn record_of(
    request: &InvoiceRequest,
    bolt11: &Bolt11,
    preimage: Option<Preimage>,
) -> InvoiceRecord {
    InvoiceRecord {
        id: request.id.0,
        payment_hash: bolt11.payment_hash(),
        preimage,
        amount: request.amount,
        description: request.description.clone(),
        bolt11: bolt11.as_str().to_owned(),
        expires_at: bolt11.expires_at(),
    }
}

/// A payment secret that no invoice has. Only a seeded source, which repeats after a restart, needs more than one draw.
fn unused_secret(state: &State, entropy: &dyn Entropy) -> Option<[u8; 32]> {
    (0..=state.invoice_count())
        .map(|_| entropy.bytes())
        .find(|secret| state.invoice(preimage_of(secret).payment_hash()).is_none())
}

/// An invoice of somebody else's simulated wallet, which this wallet can pay and does not know. Of an amount of zero, the payer chooses how
/// much is paid.
pub(crate) fn outside_invoice(
    node: &Node,
    entropy: &dyn Entropy,
    now: Timestamp,
    amount: Sats,
) -> Result<Bolt11, WalletError> {
    let request = InvoiceRequest {
        id: InvoiceId(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid()),
        amount,
        description: "an invoice for tests".to_owned(),
        expiry: if amount.is_zero() { RETURN_EXPIRY } else { OUTSIDE_EXPIRY },
    };
    if !amount.is_zero() {
        check_invoice_request(&request)?;
    }
    let payment_secret = entropy.bytes();
    let payment_hash = preimage_of(&payment_secret).payment_hash();
    sign_invoice(node, now, &request, payment_hash, payment_secret)
}

pub(crate) fn sign_invoice(
    node: &Node,
    now: Timestamp,
    request: &InvoiceRequest,
    payment_hash: PaymentHash,
    payment_secret: [u8; 32],
) -> Result<Bolt11, WalletError> {
    let Ok(since_epoch) = u64::try_from(now.unix_micros()).map(Duration::from_micros) else {
        return refused("the clock stands before 1970");
    };
    // BOLT11 has whole seconds only. The start is rounded down and the end up, so the time is never shorter than
    // requested.
    let created_at = Duration::from_secs(since_epoch.as_secs());
    let end = since_epoch.saturating_add(request.expiry);
    let end_seconds = end.as_secs().saturating_add(u64::from(end.subsec_nanos() > 0));
    let invoice = node
        .sign(Terms {
            payment_hash,
            payment_secret,
            amount: request.amount,
            description: request.description.clone(),
            created_at,
            expiry: Duration::from_secs(end_seconds).saturating_sub(created_at),
        })
        .map_err(|error| WalletError::Refused(error.to_string()))?;
    Bolt11::try_from(&invoice).map_err(|error| WalletError::Nonsense(error.to_string()))
}

/// Pays an invoice of this wallet with simulated money.
pub(crate) fn test_pay(
    state: &State,
    now: Timestamp,
    request: &Bolt11,
    liquidity_fee: Msats,
) -> Decision<Preimage, TestPaymentError> {
    let payment_hash = request.payment_hash();
    // A different request with the same hash is another node's invoice.
    let Some(invoice) = state.invoice(payment_hash).filter(|known| known.record.bolt11 == request.as_str())
    else {
        return (None, Err(TestPaymentError::Unknown(payment_hash)));
    };
    let Some(preimage) = invoice.record.preimage else {
        return (None, Err(TestPaymentError::Unknown(payment_hash)));
    };
    match invoice.status(now) {
        InvoiceStatus::Settled(_) => (None, Err(TestPaymentError::AlreadyPaid(payment_hash))),
        InvoiceStatus::Expired | InvoiceStatus::Held(_) => {
            (None, Err(TestPaymentError::Expired(payment_hash)))
        }
        InvoiceStatus::Pending if !state.can_receive(invoice.record.amount.to_msats()) => {
            (None, refused("the wallet would hold more than can exist").map_err(TestPaymentError::from))
        }
        InvoiceStatus::Pending => {
            let liquidity_fee = liquidity_fee.min(invoice.record.amount.to_msats());
            (Some(Record::Settled { payment_hash, at: now, liquidity_fee }), Ok(preimage))
        }
    }
}

/// Expires an unpaid invoice now.
pub(crate) fn expire(state: &State, now: Timestamp, payment_hash: PaymentHash) -> Decision<(), WalletError> {
    match state.invoice(payment_hash).map(|invoice| invoice.status(now)) {
        None => (None, refused("no such invoice")),
        Some(InvoiceStatus::Settled(_)) => (None, refused("the invoice has been paid")),
        Some(InvoiceStatus::Held(_)) => (None, refused("a payment of the invoice is held")),
        Some(InvoiceStatus::Expired) => (None, Ok(())),
        Some(InvoiceStatus::Pending) => (Some(Record::Expired { payment_hash, at: now }), Ok(())),
    }
}

/// The invoice and amount that an order pays, or the reason why this wallet rejects it.
pub(crate) fn amount_of(order: &PaymentOrder) -> Result<Msats, WalletError> {
    if order.request.network() != Network::Regtest {
        return refused(format!("wrong network: expected regtest, got {}", order.request.network()));
    }
    match (order.request.amount(), order.amount) {
        (Some(_), Some(_)) => refused("the invoice names its amount, and so does the order"),
        (None, None) => refused("neither the invoice nor the order names an amount"),
        (Some(amount), None) | (None, Some(amount)) if amount.is_zero() => refused("nothing to pay"),
        (Some(amount), None) | (None, Some(amount)) => Ok(amount),
    }
}

/// How a new payment is made.
pub(crate) struct Sending {
    pub amount: Msats,
    pub fee: Msats,
    /// A payment that would succeed stays in flight.
    pub stay_in_flight: bool,
}

/// Makes a payment, or returns the result of the earlier one with the same id.
pub(crate) fn send(
    state: &State,
    now: Timestamp,
    order: &PaymentOrder,
    sending: &Sending,
) -> Decision<Payment, WalletError> {
    let payment_hash = order.request.payment_hash();
    if let Some(known) = state.payment(order.id) {
        let same = (known.payment_hash, known.amount) == (payment_hash, sending.amount);
        let answer =
            if same { Ok(known.as_payment()) } else { refused("another payment was made under this id") };
        return (None, answer);
    }
    let mut payment = PaymentRecord {
        id: order.id.0,
        payment_hash,
        amount: sending.amount,
        fee: sending.fee,
        at: now,
        preimage: preimage_for(&order.request),
        outcome: Outcome::InFlight,
    };
    payment.outcome = match obstacle(state, now, order, &payment) {
        Some(reason) => Outcome::Failed { reason: reason.to_owned() },
        None if sending.stay_in_flight => Outcome::InFlight,
        None => delivered(state, &payment),
    };
    let answer = payment.as_payment();
    (Some(Record::Payment(payment)), Ok(answer))
}

/// The reason why a payment cannot be made.
fn obstacle(
    state: &State,
    now: Timestamp,
    order: &PaymentOrder,
    payment: &PaymentRecord,
) -> Option<&'static str> {
    if let Some(other) = state.payer(payment.payment_hash) {
        return Some(match other.outcome {
            Outcome::InFlight => "another payment of this invoice is under way",
            Outcome::Succeeded { .. } | Outcome::Failed { .. } => "invoice already paid by another payment",
        });
    }
    if now >= order.request.expires_at() {
        return Some("the invoice has expired");
    }
    if payment.fee > order.max_fee {
        return Some("no route within the fee limit");
    }
    if payment.cost().is_none_or(|cost| cost > state.spendable()) {
        return Some("the balance does not cover the amount and the fee");
    }
    let own = state.invoice(payment.payment_hash)?;
    if own.record.bolt11 != order.request.as_str() {
        return Some("the payment hash is that of another invoice");
    }
    own_obstacle(state, now, payment.payment_hash)
}

/// The reason why an invoice of this wallet cannot be paid.
fn own_obstacle(state: &State, now: Timestamp, payment_hash: PaymentHash) -> Option<&'static str> {
    let own = state.invoice(payment_hash)?;
    if own.is_hold {
        return Some("the invoice is a hold invoice of the same wallet");
    }
    match own.status(now) {
        InvoiceStatus::Settled(_) | InvoiceStatus::Held(_) => Some("the invoice has been paid"),
        InvoiceStatus::Expired => Some("the invoice has expired"),
        InvoiceStatus::Pending if state.can_receive(own.record.amount.to_msats()) => None,
        InvoiceStatus::Pending => Some("the wallet would hold more than can exist"),
    }
}

/// A successful payment. The preimage is the invoice's own.
fn delivered(state: &State, payment: &PaymentRecord) -> Outcome {
    let own = state.invoice(payment.payment_hash).and_then(|own| own.record.preimage);
    match own.or(payment.preimage) {
        Some(preimage) => Outcome::Succeeded { preimage },
        None => Outcome::Failed { reason: NO_ROUTE.to_owned() },
    }
}

const NO_ROUTE: &str = "no route: the invoice is of a real wallet, and this one is simulated";

/// The outcome of a payment in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentEnd {
    /// It succeeds, if the invoice is still payable.
    Succeed,
    /// It fails permanently.
    Fail,
}

/// Ends a payment in flight.
pub(crate) fn finish(
    state: &State,
    now: Timestamp,
    id: PaymentId,
    end: PaymentEnd,
) -> Decision<Payment, WalletError> {
    let Some(payment) = state.payment(id).filter(|known| known.outcome == Outcome::InFlight) else {
        return (None, refused("no payment of this id is under way"));
    };
    let reason = match end {
        PaymentEnd::Fail => Some("the payment did not arrive"),
        PaymentEnd::Succeed => own_obstacle(state, now, payment.payment_hash),
    };
    let outcome = match reason {
        Some(reason) => Outcome::Failed { reason: reason.to_owned() },
        None => delivered(state, payment),
    };
    let ended = PaymentRecord { outcome, at: now, ..payment.clone() };
    let answer = ended.as_payment();
    (Some(Record::Payment(ended)), Ok(answer))
}
