//! What a wallet's record of an invoice or a payment means.

use serde::Deserialize;
use tithe_clock::Timestamp;
use tithe_lightning::{
    Direction, HeldPayment, InvoiceStatus, Payment, PaymentHash, Preimage, ReceivedPayment, WalletError,
    WalletPayment,
};
use tithe_money::Msats;

/// A record as `lookup_invoice` and `list_transactions` return it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Transaction {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    preimage: Option<String>,
    #[serde(default)]
    payment_hash: Option<String>,
    #[serde(default)]
    amount: Option<u64>,
    #[serde(default)]
    fees_paid: Option<u64>,
    #[serde(default)]
    created_at: Option<i64>,
    #[serde(default)]
    expires_at: Option<i64>,
    #[serde(default)]
    settled_at: Option<i64>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    invoice: Option<String>,
    /// The height at which a held payment goes back.
    #[serde(default)]
    settle_deadline: Option<u32>,
}

/// What a record says about a hold invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It can still be paid.
    Open,
    /// A payment is held, until this height if the wallet says.
    Held(HeldPayment, Option<u32>),
    /// A payment was held until this height. It may still be held, and it may have gone back: Alby Hub calls everything `expired`
    /// that is not settled when the invoice expires.
    Unclear(u32),
    /// The payment was settled.
    Settled,
    /// Nothing can be settled: the invoice was cancelled, or has expired unpaid.
    Gone,
}

/// See [`Transaction::identity`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    kind: Option<String>,
    state: Option<String>,
    payment_hash: Option<String>,
    created_at: Option<i64>,
}

/// The optional `state` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Settled,
    Pending,
    Accepted,
    Expired,
    Failed,
    /// There is none, or one that the standard does not have.
    Unstated,
}

fn nonsense<T>(what: &str) -> Result<T, WalletError> {
    Err(WalletError::Nonsense(what.to_owned()))
}

/// A number of seconds since 1970. Zero is how some wallets say that there is none.
fn time(seconds: Option<i64>) -> Option<Timestamp> {
    let micros = seconds.filter(|seconds| *seconds > 0)?.checked_mul(1_000_000)?;
    Timestamp::from_unix_micros(micros).ok()
}

impl Transaction {
    /// The direction that the record states.
    pub fn direction(&self) -> Option<Direction> {
        match self.kind.as_deref() {
            Some("incoming") => Some(Direction::Incoming),
            Some("outgoing") => Some(Direction::Outgoing),
            _ => None,
        }
    }

    pub fn payment_hash(&self) -> Option<PaymentHash> {
        self.payment_hash.as_deref()?.parse().ok()
    }

    /// What tells the records of a list apart: there may be several attempts to pay one invoice.
    pub fn identity(&self) -> Identity {
        Identity {
            kind: self.kind.clone(),
            state: self.state.clone(),
            payment_hash: self.payment_hash.clone(),
            created_at: self.created_at,
        }
    }

    fn state(&self) -> State {
        match self.state.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("settled") => State::Settled,
            Some("pending") => State::Pending,
            Some("accepted") => State::Accepted,
            Some("expired") => State::Expired,
            Some("failed") => State::Failed,
            _ => State::Unstated,
        }
    }

    fn settled_at(&self) -> Option<Timestamp> {
        time(self.settled_at)
    }

    /// The preimage, if the record has one. It must hash to `payment_hash`.
    fn preimage(&self, payment_hash: PaymentHash) -> Result<Option<Preimage>, WalletError> {
        match self.preimage.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => match text.parse::<Preimage>() {
                Ok(preimage) if preimage.payment_hash() == payment_hash => Ok(Some(preimage)),
                _ => nonsense("the preimage does not hash to the payment hash"),
            },
        }
    }

    fn amount(&self) -> Result<Msats, WalletError> {
        match self.amount.map(Msats::new) {
            Some(Ok(amount)) if !amount.is_zero() => Ok(amount),
            _ => nonsense("a settled record has no valid amount"),
        }
    }

    /// The fee, in millisats. A wallet that reports none is taken to have paid none.
    pub fn fee(&self) -> Result<Msats, WalletError> {
        Msats::new(self.fees_paid.unwrap_or(0)).or_else(|_| nonsense("the fee is more than can exist"))
    }

    /// Checks that the record is the one that was asked for.
    fn check_hash(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        match self.payment_hash() {
            Some(found) if found == payment_hash => Ok(()),
            _ => nonsense("the record has another payment hash than the one looked up"),
        }
    }

    /// The invoice itself.
    pub fn invoice(&self) -> Option<&str> {
        self.invoice.as_deref().filter(|invoice| !invoice.is_empty())
    }

    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The state of an incoming hold invoice.
    pub fn as_hold(&self, payment_hash: PaymentHash, now: Timestamp) -> Result<Standing, WalletError> {
        self.check_hash(payment_hash)?;
        Ok(match (self.state(), self.settle_deadline) {
            (State::Settled, _) => Standing::Settled,
            (State::Unstated, _) if self.settled_at().is_some() => Standing::Settled,
            (State::Accepted, deadline) => {
                let held = HeldPayment { payment_hash, amount: self.amount()?, held_until: None };
                Standing::Held(held, deadline)
            }
            (State::Expired, Some(deadline)) => Standing::Unclear(deadline),
            (State::Expired, None) | (State::Failed, _) => Standing::Gone,
            (State::Pending | State::Unstated, _) if self.as_unpaid(now) == InvoiceStatus::Expired => {
                Standing::Gone
            }
            (State::Pending | State::Unstated, _) => Standing::Open,
        })
    }

    /// Whether the record is that of a hold invoice whose payment has arrived, which is all that tells it from any other.
    pub fn was_held(&self) -> bool {
        self.settle_deadline.is_some() || self.state() == State::Accepted
    }

    /// The state of an outgoing payment.
    ///
    /// Only `failed` is a failure. `expired` is not: Alby Hub writes it on every unsettled payment whose invoice has expired,
    /// also while the payment is in flight. Without a `state`, a settlement time and the preimage prove a success, and
    /// anything else counts as in flight.
    pub fn as_payment(&self, payment_hash: PaymentHash) -> Result<Payment, WalletError> {
        self.check_hash(payment_hash)?;
        let succeeded = |preimage| Ok(Payment::Succeeded { preimage, fee: self.fee()? });
        match self.state() {
            State::Settled => match self.preimage(payment_hash)? {
                Some(preimage) => succeeded(preimage),
                None => nonsense("a settled payment has no preimage"),
            },
            State::Failed if self.settled_at().is_some() || self.preimage(payment_hash)?.is_some() => {
                nonsense("a failed payment has a settlement time or a preimage")
            }
            State::Failed => {
                Ok(Payment::Failed { reason: "the wallet reports the payment as failed".to_owned() })
            }
            State::Pending | State::Accepted | State::Expired => Ok(Payment::InFlight),
            State::Unstated => match (self.settled_at(), self.preimage(payment_hash)?) {
                (Some(_), Some(preimage)) => succeeded(preimage),
                _ => Ok(Payment::InFlight),
            },
        }
    }

    /// The state of an incoming invoice. The wallet answers for unpaid ones too, so a record alone says nothing; and the
    /// preimage of an unpaid invoice is not evidence.
    pub fn as_invoice(
        &self,
        payment_hash: PaymentHash,
        now: Timestamp,
    ) -> Result<InvoiceStatus, WalletError> {
        self.check_hash(payment_hash)?;
        let settled = match self.state() {
            State::Settled => true,
            State::Unstated => self.settled_at().is_some(),
            State::Expired => return Ok(InvoiceStatus::Expired),
            // The payment has arrived and is held: it may still be settled.
            State::Accepted => return Ok(InvoiceStatus::Pending),
            State::Pending | State::Failed => false,
        };
        if !settled {
            return Ok(self.as_unpaid(now));
        }
        let (amount, liquidity_fee) = (self.amount()?, self.fee()?);
        if liquidity_fee > amount {
            return nonsense("the fee of a received payment is more than its amount");
        }
        Ok(InvoiceStatus::Settled(ReceivedPayment {
            payment_hash,
            amount,
            liquidity_fee,
            preimage: self.preimage(payment_hash)?,
            received_at: self.settled_at().unwrap_or(now),
        }))
    }

    /// The state of an invoice that is known to be unpaid.
    pub fn as_unpaid(&self, now: Timestamp) -> InvoiceStatus {
        match time(self.expires_at) {
            Some(expires_at) if expires_at < now => InvoiceStatus::Expired,
            _ => InvoiceStatus::Pending,
        }
    }

    /// The settled payment that the record describes; `None` if it is not settled.
    pub fn as_settled(&self) -> Result<Option<WalletPayment>, WalletError> {
        let settled_at = match (self.state(), self.settled_at()) {
            (State::Settled | State::Unstated, Some(settled_at)) => settled_at,
            (State::Settled, None) => return nonsense("a settled record has no settlement time"),
            _ => return Ok(None),
        };
        let Some(direction) = self.direction() else {
            return nonsense("a record is neither incoming nor outgoing");
        };
        let Some(payment_hash) = self.payment_hash() else {
            return nonsense("a record has no valid payment hash");
        };
        let (amount, fee) = (self.amount()?, self.fee()?);
        let description = self.description.clone();
        Ok(Some(WalletPayment { direction, payment_hash, amount, fee, settled_at, description }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn preimage() -> Preimage {
        Preimage::from_bytes([7; 32])
    }

    fn hash() -> PaymentHash {
        preimage().payment_hash()
    }

    fn record(fields: Value) -> Transaction {
        let mut all = json!({ "payment_hash": hash().to_string(), "amount": 21_000, "fees_paid": 3 });
        let Value::Object(fields) = fields else { panic!("an object is needed") };
        all.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(all).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000).unwrap()
    }

    fn is_nonsense<T>(result: &Result<T, WalletError>) -> bool {
        matches!(result, Err(WalletError::Nonsense(_)))
    }

    #[test]
    fn the_state_of_a_payment_decides() {
        let shown = preimage().reveal();
        let fee = Msats::new(3).unwrap();
        let succeeded = Payment::Succeeded { preimage: preimage(), fee };
        for (fields, payment) in [
            (json!({ "state": "settled", "preimage": shown }), Some(succeeded.clone())),
            (json!({ "state": "SETTLED", "preimage": shown, "settled_at": 5 }), Some(succeeded.clone())),
            (json!({ "state": "pending" }), Some(Payment::InFlight)),
            (json!({ "state": "accepted" }), Some(Payment::InFlight)),
            (json!({ "state": "expired" }), Some(Payment::InFlight)),
            (json!({ "state": "new" }), Some(Payment::InFlight)),
            (json!({}), Some(Payment::InFlight)),
            (json!({ "settled_at": 5 }), Some(Payment::InFlight)),
            (json!({ "settled_at": 0, "preimage": shown }), Some(Payment::InFlight)),
            (json!({ "settled_at": 5, "preimage": "" }), Some(Payment::InFlight)),
            (json!({ "settled_at": 5, "preimage": shown }), Some(succeeded)),
            // Impossible, so neither a success nor a failure.
            (json!({ "state": "settled" }), None),
            (json!({ "state": "settled", "preimage": "00".repeat(32) }), None),
            (json!({ "state": "failed", "preimage": shown }), None),
            (json!({ "state": "failed", "settled_at": 5 }), None),
            (json!({ "state": "settled", "preimage": shown, "payment_hash": "00".repeat(32) }), None),
            (json!({ "state": "failed", "payment_hash": "" }), None),
        ] {
            let found = record(fields.clone()).as_payment(hash());
            match payment {
                Some(payment) => assert_eq!(found.unwrap(), payment, "{fields}"),
                None => assert!(is_nonsense(&found), "{fields}"),
            }
        }
        let failed = record(json!({ "state": "failed", "preimage": "" })).as_payment(hash()).unwrap();
        assert!(matches!(failed, Payment::Failed { .. }), "{failed:?}");
    }

    #[test]
    fn the_state_of_an_invoice_decides_and_the_preimage_of_an_unpaid_one_counts_for_nothing() {
        let shown = preimage().reveal();
        let paid = |received_at| {
            InvoiceStatus::Settled(ReceivedPayment {
                payment_hash: hash(),
                amount: Msats::new(21_000).unwrap(),
                liquidity_fee: Msats::new(3).unwrap(),
                preimage: Some(preimage()),
                received_at,
            })
        };
        let now = at(1_000);
        for (fields, status) in [
            (json!({ "state": "settled", "preimage": shown, "settled_at": 5 }), Some(paid(at(5)))),
            (json!({ "state": "settled", "preimage": shown }), Some(paid(now))),
            (json!({ "preimage": shown, "settled_at": 5 }), Some(paid(at(5)))),
            (json!({ "preimage": shown }), Some(InvoiceStatus::Pending)),
            (json!({ "state": "pending", "preimage": shown }), Some(InvoiceStatus::Pending)),
            (json!({ "state": "pending", "settled_at": 5 }), Some(InvoiceStatus::Pending)),
            (json!({ "state": "pending", "expires_at": 1_000 }), Some(InvoiceStatus::Pending)),
            (json!({ "state": "pending", "expires_at": 999 }), Some(InvoiceStatus::Expired)),
            (json!({ "expires_at": 999 }), Some(InvoiceStatus::Expired)),
            (json!({ "state": "expired" }), Some(InvoiceStatus::Expired)),
            (json!({ "state": "accepted", "expires_at": 999 }), Some(InvoiceStatus::Pending)),
            (json!({ "state": "settled", "preimage": "00".repeat(32) }), None),
            (json!({ "state": "settled", "amount": 0 }), None),
            (json!({ "state": "settled", "amount": null }), None),
            (json!({ "state": "settled", "fees_paid": 21_001 }), None),
            (json!({ "state": "settled", "payment_hash": null }), None),
        ] {
            let found = record(fields.clone()).as_invoice(hash(), now);
            match status {
                Some(status) => assert_eq!(found.unwrap(), status, "{fields}"),
                None => assert!(is_nonsense(&found), "{fields}"),
            }
        }
    }

    #[test]
    fn a_list_of_settled_payments_has_no_others_and_no_gaps() {
        let settled = |fields| record(fields).as_settled();
        let outgoing =
            settled(json!({ "type": "outgoing", "state": "settled", "settled_at": 5 })).unwrap().unwrap();
        assert_eq!(outgoing.direction, Direction::Outgoing);
        assert_eq!((outgoing.amount.get(), outgoing.fee.get(), outgoing.settled_at), (21_000, 3, at(5)));
        assert!(settled(json!({ "type": "incoming", "settled_at": 5 })).unwrap().is_some());
        for state in ["pending", "failed", "expired", "accepted"] {
            assert_eq!(
                settled(json!({ "type": "outgoing", "state": state, "settled_at": 5 })).unwrap(),
                None
            );
        }
        assert_eq!(settled(json!({ "type": "incoming" })).unwrap(), None);
        for broken in [
            json!({ "type": "incoming", "state": "settled" }),
            json!({ "state": "settled", "settled_at": 5 }),
            json!({ "type": "incoming", "state": "settled", "settled_at": 5, "amount": 0 }),
            json!({ "type": "incoming", "state": "settled", "settled_at": 5, "payment_hash": "x" }),
        ] {
            assert!(is_nonsense(&settled(broken.clone())), "{broken}");
        }
    }
}
