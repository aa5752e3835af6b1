//! A payment as NIP-47 describes it.

use serde_json::{Map, Value, json};
use tithe_clock::{Clock, SystemClock, Timestamp};
use tithe_money::Msats;

use crate::{Hold, HoldState, IncomingPayment, OutgoingPayment, OutgoingState};

/// A payment in either direction.
pub enum Transaction {
    Incoming(IncomingPayment),
    Outgoing(OutgoingPayment),
}

impl Transaction {
    pub const fn direction(&self) -> &'static str {
        match self {
            Self::Incoming(_) => "incoming",
            Self::Outgoing(_) => "outgoing",
        }
    }

    /// `pending`, `accepted`, `settled`, `expired` or `failed`, as Alby Hub says it: whatever is not settled when the invoice expires
    /// is `expired`, and a held payment that the node gave back because its time had run out is still `accepted`.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Incoming(payment) if payment.received.is_some() => "settled",
            Self::Incoming(payment) if payment.invoice.expires_at() < SystemClock.now() => "expired",
            Self::Incoming(payment) => match payment.hold.map(|hold| hold.state) {
                None | Some(HoldState::Open) => "pending",
                Some(HoldState::Held | HoldState::Settling | HoldState::TimedOut) => "accepted",
                Some(HoldState::Cancelled) => "failed",
            },
            Self::Outgoing(payment) => match payment.state {
                OutgoingState::InFlight => "pending",
                OutgoingState::Succeeded { .. } => "settled",
                OutgoingState::Failed { .. } => "failed",
            },
        }
    }

    pub const fn created_at(&self) -> Timestamp {
        match self {
            Self::Incoming(payment) => payment.created_at,
            Self::Outgoing(payment) => payment.created_at,
        }
    }

    fn settled_at(&self) -> Option<Timestamp> {
        match self {
            Self::Incoming(payment) => payment.received.map(|received| received.at),
            Self::Outgoing(payment) => match payment.state {
                OutgoingState::Succeeded { at, .. } => Some(at),
                OutgoingState::InFlight | OutgoingState::Failed { .. } => None,
            },
        }
    }

    pub fn to_json(&self) -> Value {
        let (invoice, amount, fee, preimage, description) = match self {
            Self::Incoming(payment) => {
                let received = payment.received.map(|received| received.amount);
                let amount = received.or(payment.invoice.amount()).unwrap_or(Msats::ZERO);
                let preimage = received.and(payment.preimage);
                (&payment.invoice, amount, Msats::ZERO, preimage, payment.description.clone())
            }
            Self::Outgoing(payment) => {
                let (preimage, fee) = payment.succeeded().unzip();
                (&payment.invoice, payment.amount, fee.unwrap_or(Msats::ZERO), preimage, None)
            }
        };
        let mut json = Map::new();
        let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
        put("type", json!(self.direction()));
        put("state", json!(self.state()));
        put("invoice", json!(invoice.as_str()));
        put("payment_hash", json!(invoice.payment_hash().to_string()));
        put("amount", json!(amount.get()));
        put("fees_paid", json!(fee.get()));
        put("created_at", json!(self.created_at().unix_seconds()));
        put("expires_at", json!(invoice.expires_at().unix_seconds()));
        if let Some(description) = description {
            put("description", json!(description));
        }
        if let Some(preimage) = preimage {
            put("preimage", json!(preimage.reveal()));
        }
        if let Self::Incoming(IncomingPayment {
            hold: Some(Hold { claim_deadline: Some(height), .. }), ..
        }) = self
        {
            put("settle_deadline", json!(height));
        }
        if let Some(at) = self.settled_at() {
            put("settled_at", json!(at.unix_seconds()));
        }
        Value::Object(json)
    }
}
