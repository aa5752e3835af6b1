//! What LNbits' response to a payment request says about the payment.

use crate::api::Reply;
use crate::failure::{ErrorBody, UnexpectedReply};
use crate::record::{Record, Status};
use tithe_lightning::PaymentHash;

/// Reasons of our own for a payment that was not made.
pub(crate) struct NoPayment;

impl NoPayment {
    /// LNbits does not keep the reason.
    pub const RECORDED: &str = "LNbits has recorded the payment as failed";
    /// LNbits answers with the payee's record if an invoice of one of its own wallets has expired.
    const PAYEES_RECORD: &str = "the invoice belongs to a wallet of this LNbits and can no longer be paid";
}

/// LNbits' message for the invoice key in a request to pay.
const KEY_TOO_WEAK: &str = "Invoice (or Admin) key required.";

/// Messages without a status that LNbits returns before it looks at the payment. The same HTTP status also follows errors that
/// occur after a payment.
const REFUSALS: [&str; 3] = [
    "Daily withdrawal limit of ",
    "It is not allowed to spend funds from this server.",
    "Missing BOLT11 invoice",
];

/// What a response says.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The payment was made or is in flight.
    Made(Box<Record>),
    /// This request has sent no payment, for this reason. An earlier one may have.
    NotMade(String),
    /// LNbits did not accept the request at all, for this reason.
    Refused(String),
    /// There are too many requests. LNbits did not accept this one.
    Busy(UnexpectedReply),
    /// The payment may have been made, and LNbits has a record of it if so.
    LookUp(UnexpectedReply),
    /// LNbits did not answer: something in front of it did. The payment may be made yet.
    Unknown(UnexpectedReply),
}

impl Verdict {
    /// What `reply` says about the payment with this hash.
    pub fn of(reply: &Reply, hash: PaymentHash) -> Self {
        if reply.status.is_success() {
            return Self::of_record(reply, hash);
        }
        let unexpected = || UnexpectedReply::new(reply.status, &reply.body);
        let Some(error) = ErrorBody::parse(&reply.body) else {
            return match reply.status.as_u16() {
                429 => Self::Busy(unexpected()),
                300..=399 | 401 | 403 | 404 | 405 | 413 => Self::Refused(unexpected().to_string()),
                _ => Self::Unknown(unexpected()),
            };
        };
        let message = error.message();
        match (reply.status.as_u16(), error.status.as_deref()) {
            (_, Some("failed")) => Self::NotMade(message),
            (_, Some(_)) => Self::LookUp(unexpected()),
            (403, None) if message == KEY_TOO_WEAK => Self::Refused(
                "wrong key: paying needs the wallet's admin key, got its invoice key".to_owned(),
            ),
            (401 | 403 | 404 | 405, None) => Self::Refused(message),
            (400 | 422, None) if error.is_invalid_field() => Self::Refused(message),
            (400, None) if REFUSALS.iter().any(|refusal| message.starts_with(refusal)) => {
                Self::Refused(message)
            }
            (429, None) => Self::Busy(unexpected()),
            (502..=504, None) => Self::Unknown(unexpected()),
            (_, None) => Self::LookUp(unexpected()),
        }
    }

    fn of_record(reply: &Reply, hash: PaymentHash) -> Self {
        let unexpected = || UnexpectedReply::new(reply.status, &reply.body);
        match reply.json::<Box<Record>>() {
            Ok(record) if record.payment_hash != hash => Self::LookUp(unexpected()),
            Ok(record) if record.is_outgoing() => match record.status {
                Status::Success | Status::Pending => Self::Made(record),
                Status::Failed => Self::NotMade(NoPayment::RECORDED.to_owned()),
            },
            Ok(record) if record.status == Status::Failed => {
                Self::NotMade(NoPayment::PAYEES_RECORD.to_owned())
            }
            Ok(_) | Err(_) => Self::LookUp(unexpected()),
        }
    }
}
