//! Outgoing payments.

use crate::api::{Api, Checked};
use crate::failure::Lost;
use crate::record::{Record, Status};
use crate::settings::FundingFee;
use crate::verdict::{NoPayment, Verdict};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{Network, Payment, PaymentHash, PaymentId, PaymentOrder, WalletError};
use tithe_money::Msats;

/// The age from which LNbits is made to query its funding source about a pending payment. A funding source that has not accepted the
/// payment yet may report it as unknown, and LNbits would mark it as failed.
const CHECK_AFTER: Duration = Duration::from_secs(30);

/// The rules that an order is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub network: Network,
    pub funding_fee: Option<FundingFee>,
}

/// Makes a payment.
pub(crate) async fn send(api: &Api, rules: Rules, order: &PaymentOrder) -> Result<Payment, WalletError> {
    let hash = order.request.payment_hash();
    let amount = acceptable(rules.network, order)?;
    if let Some(payment) = under_way(api, hash).await? {
        return Ok(payment);
    }
    let fee_max = fee_max(api, rules, order, amount).await?;
    if fee_max > order.max_fee {
        return Err(WalletError::Refused(format!(
            "fee limit: expected at least {fee_max}, which LNbits may spend on routing, got {}",
            order.max_fee
        )));
    }
    // From here on, nothing may be reported as failed before LNbits' own record has been looked at.
    let reply = api.pay(order.id, &order.request).await.map_err(Lost::of_payment)?;
    let payment = match Verdict::of(&reply, hash) {
        Verdict::Made(record) => match judge(&record) {
            Ok(payment) => payment,
            Err(error) => return Err(WalletError::OutcomeUnknown(Some(error.into()))),
        },
        // Also for a reason that an earlier attempt has caused: "already paid", or too little money left.
        Verdict::NotMade(reason) => match under_way(api, hash).await {
            Ok(payment) => payment.unwrap_or(Payment::Failed { reason }),
            Err(error) => return Err(WalletError::OutcomeUnknown(Some(error.into()))),
        },
        Verdict::LookUp(reply) => match under_way(api, hash).await {
            Ok(Some(payment)) => payment,
            Ok(None) => return Err(WalletError::OutcomeUnknown(Some(reply.into()))),
            Err(error) => return Err(WalletError::OutcomeUnknown(Some(error.into()))),
        },
        Verdict::Refused(reason) => return Err(WalletError::Refused(reason)),
        Verdict::Busy(reply) => return Err(WalletError::Unavailable(Some(reply.into()))),
        Verdict::Unknown(reply) => return Err(WalletError::OutcomeUnknown(Some(reply.into()))),
    };
    if let Payment::Succeeded { fee, .. } = &payment
        && *fee > order.max_fee
    {
        tracing::warn!(payment_hash = %hash, fee_msats = fee.get(), fee_limit_msats = order.max_fee.get(), "LNbits spent more on routing than its reserve");
    }
    Ok(payment)
}

/// The amount to pay, if LNbits can pay this order.
fn acceptable(network: Network, order: &PaymentOrder) -> Result<Msats, WalletError> {
    if order.request.network() != network {
        return Err(WalletError::Refused(format!(
            "wrong network: expected {network}, got {}",
            order.request.network()
        )));
    }
    match (order.request.amount(), order.amount) {
        (Some(amount), None) => Ok(amount),
        (Some(_), Some(_)) => Err(WalletError::Refused(
            "unexpected amount: the payment request has an amount of its own".to_owned(),
        )),
        (None, _) => Err(WalletError::Refused(
            "missing amount: LNbits pays no request that leaves the amount to the payer".to_owned(),
        )),
    }
}

/// The most that a payment of `amount` may cost.
async fn fee_max(api: &Api, rules: Rules, order: &PaymentOrder, amount: Msats) -> Result<Msats, WalletError> {
    let reserve = api.fee_reserve(&order.request).await?;
    let Some(funding_fee) = rules.funding_fee else { return Ok(reserve) };
    let funding_fee =
        funding_fee.of(amount).map_err(|error| WalletError::Refused(format!("fee: {error}")))?;
    Ok(reserve.max(funding_fee))
}

/// The payment with this hash, if it is in flight or has succeeded.
async fn under_way(api: &Api, hash: PaymentHash) -> Result<Option<Payment>, WalletError> {
    match decisive(api.records_of(hash).await?) {
        Some(record) if record.status != Status::Failed => judge(&record).map(Some),
        _ => Ok(None),
    }
}

/// The state of the payment that was sent as `id`; `None` if the wallet has no record of it.
pub(crate) async fn status(
    api: &Api,
    id: PaymentId,
    hash: PaymentHash,
    now: Timestamp,
) -> Result<Option<Payment>, WalletError> {
    let Some(mut record) = decisive(api.records_of(hash).await?) else { return Ok(None) };
    if record.status == Status::Pending && now >= record.created_at + CHECK_AFTER {
        match api.check(hash).await? {
            Checked::Record(checked) if checked.is_outgoing() => record = *checked,
            Checked::Record(_) | Checked::NotOurs => {}
        }
    }
    let of_another_attempt = record.our_id.as_ref().is_some_and(|of| *of != id.to_string());
    if record.status == Status::Failed && of_another_attempt {
        return Ok(None);
    }
    judge(&record).map(Some)
}

/// The record that says most about the payment: one that succeeded, or else one in flight.
fn decisive(records: Vec<Record>) -> Option<Record> {
    records.into_iter().filter(Record::is_outgoing).max_by_key(|record| match record.status {
        Status::Success => 2,
        Status::Pending => 1,
        Status::Failed => 0,
    })
}

/// What the record of an outgoing payment says.
fn judge(record: &Record) -> Result<Payment, WalletError> {
    match record.status {
        Status::Success => match record.preimage()? {
            Some(preimage) => Ok(Payment::Succeeded { preimage, fee: record.fee()? }),
            None => Err(WalletError::Nonsense(format!(
                "missing preimage of payment {}, which succeeded",
                record.payment_hash
            ))),
        },
        Status::Pending => Ok(Payment::InFlight),
        // LNbits does this to invoices only. It would say what the clock says, and nothing of the node.
        Status::Failed if record.is_labelled_expired() => Ok(Payment::InFlight),
        Status::Failed => Ok(Payment::Failed { reason: NoPayment::RECORDED.to_owned() }),
    }
}
