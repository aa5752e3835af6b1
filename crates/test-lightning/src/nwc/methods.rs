//! The methods of NIP-47 over a node.

use std::time::Duration;

use serde_json::{Value, json};
use tithe_clock::{Clock, SystemClock};
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_money::{Msats, Sats};

use super::transaction::Transaction;
use crate::{
    FailureReason, InvoiceDescription, LightningNode, NwcOptions, OutgoingPayment, OutgoingState, PayError,
    PayTerms,
};

/// The methods that the service supports.
const METHODS: [&str; 9] = [
    "pay_invoice",
    "get_balance",
    "get_info",
    "make_invoice",
    "lookup_invoice",
    "list_transactions",
    "make_hold_invoice",
    "settle_hold_invoice",
    "cancel_hold_invoice",
];

/// Whether a method is one of hold invoices.
fn is_of_holds(method: &str) -> bool {
    method.ends_with("_hold_invoice")
}

/// The notifications that the service sends.
const NOTIFICATIONS: [&str; 3] = ["payment_received", "payment_sent", "hold_invoice_accepted"];

/// The expiry of invoices whose maker did not choose one.
const EXPIRY: Duration = Duration::from_hours(1);

/// A response's `error`.
#[derive(Debug, PartialEq, Eq)]
pub struct NwcError {
    pub code: &'static str,
    pub message: String,
}

impl NwcError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Carries out a request.
pub async fn carry_out(
    node: &LightningNode,
    options: &NwcOptions,
    method: &str,
    params: &Value,
) -> Result<Value, NwcError> {
    match method {
        method if is_of_holds(method) && options.without_hold_invoices => {
            Err(NwcError::new("NOT_IMPLEMENTED", format!("unknown method: {method}")))
        }
        "make_hold_invoice" => make_hold_invoice(node, params),
        "settle_hold_invoice" => settle_hold_invoice(node, params).await,
        "cancel_hold_invoice" => cancel_hold_invoice(node, params),
        "pay_invoice" => pay(node, params).await,
        "make_invoice" => make_invoice(node, params),
        "lookup_invoice" => lookup(node, params),
        "list_transactions" => Ok(list(node, params)),
        "get_balance" => Ok(json!({ "balance": node.balance().get() })),
        "get_info" => Ok(info(node, options)),
        other => Err(NwcError::new("NOT_IMPLEMENTED", format!("unknown method: {other}"))),
    }
}

/// The methods that the service offers with these options.
pub fn offered(options: &NwcOptions) -> impl Iterator<Item = &'static str> {
    let without = options.without_hold_invoices;
    METHODS.into_iter().filter(move |method| !without || !is_of_holds(method))
}

/// The notifications that the service sends with these options.
pub fn notified(options: &NwcOptions) -> impl Iterator<Item = &'static str> {
    let without = options.without_hold_invoices;
    NOTIFICATIONS.into_iter().filter(move |kind| !without || *kind != "hold_invoice_accepted")
}

fn info(node: &LightningNode, options: &NwcOptions) -> Value {
    json!({
        "alias": node.name(),
        "color": "#3399ff",
        "pubkey": node.id().to_string(),
        "network": "regtest",
        "block_height": node.block_height(),
        "block_hash": node.block_hash(),
        "methods": offered(options).collect::<Vec<_>>(),
        "notifications": notified(options).collect::<Vec<_>>(),
    })
}

async fn pay(node: &LightningNode, params: &Value) -> Result<Value, NwcError> {
    let invoice = text(params, "invoice").ok_or_else(|| NwcError::new("OTHER", "missing invoice"))?;
    let invoice: Bolt11 = invoice.parse().map_err(|_| NwcError::new("OTHER", "invalid invoice"))?;
    let amount = msats(params, "amount")?;
    let fee = match msats(params, "max_fee")? {
        Some(fee) => Some(fee),
        None => amount.or(invoice.amount()).map(fee_reserve),
    };
    let id = node.pay_start(&invoice, PayTerms { amount, max_fee: fee }).map_err(|error| refused(&error))?;
    let payment = node.paid(id).await.ok_or_else(|| NwcError::new("INTERNAL", "the node has stopped"))?;
    paid(&payment)
}

fn paid(payment: &OutgoingPayment) -> Result<Value, NwcError> {
    match payment.state {
        OutgoingState::Succeeded { preimage, fee, .. } => {
            Ok(json!({ "preimage": preimage.reveal(), "fees_paid": fee.get() }))
        }
        OutgoingState::Failed { reason: FailureReason::InsufficientBalance, .. } => {
            Err(NwcError::new("INSUFFICIENT_BALANCE", "not enough balance to make this payment"))
        }
        OutgoingState::Failed { reason, .. } => {
            Err(NwcError::new("PAYMENT_FAILED", format!("payment failed: {reason:?}")))
        }
        OutgoingState::InFlight => Err(NwcError::new("INTERNAL", "the payment is in flight")),
    }
}

fn refused(error: &PayError) -> NwcError {
    NwcError::new("OTHER", error.to_string())
}

/// The most that Alby Hub pays for a payment: 1 %, and at least 10 sats.
fn fee_reserve(amount: Msats) -> Msats {
    let least = Sats::new(10).map_or(Msats::ZERO, Sats::to_msats);
    Msats::new(amount.get().div_ceil(100)).unwrap_or(Msats::MAX).max(least)
}

fn make_invoice(node: &LightningNode, params: &Value) -> Result<Value, NwcError> {
    let (amount, description, expiry) = invoice_terms(params)?;
    let invoice = node.create_invoice(amount, description, expiry);
    let invoice = invoice.map_err(|error| NwcError::new("INTERNAL", error.to_string()))?;
    find(node, invoice.payment_hash())
}

fn make_hold_invoice(node: &LightningNode, params: &Value) -> Result<Value, NwcError> {
    let (amount, description, expiry) = invoice_terms(params)?;
    let hash = hold_hash(params)?;
    let delta = params.get("min_cltv_expiry_delta").and_then(Value::as_u64);
    let delta = delta.and_then(|delta| u16::try_from(delta).ok());
    let invoice = node.create_hold_invoice(amount, description, expiry, hash, delta);
    invoice.map_err(|error| NwcError::new("INTERNAL", error.to_string()))?;
    find(node, hash)
}

/// As Alby Hub, which finds no payment to settle after it has settled or cancelled it.
async fn settle_hold_invoice(node: &LightningNode, params: &Value) -> Result<Value, NwcError> {
    let preimage = text(params, "preimage").and_then(|text| text.parse().ok());
    let preimage = preimage.ok_or_else(|| NwcError::new("INTERNAL", "invalid preimage format"))?;
    let settled = node.settle_hold(preimage).await;
    settled.map_err(|error| NwcError::new("INTERNAL", error.to_string()))?;
    Ok(json!({}))
}

/// As Alby Hub, which cancels only what is held.
fn cancel_hold_invoice(node: &LightningNode, params: &Value) -> Result<Value, NwcError> {
    let cancelled = node.cancel_hold(hold_hash(params)?);
    cancelled.map_err(|error| NwcError::new("NOT_FOUND", error.to_string()))?;
    Ok(json!({}))
}

fn hold_hash(params: &Value) -> Result<PaymentHash, NwcError> {
    let hash = text(params, "payment_hash").and_then(|hash| hash.parse().ok());
    hash.ok_or_else(|| NwcError::new("BAD_REQUEST", "missing payment_hash"))
}

type InvoiceTerms = (Option<Msats>, InvoiceDescription, Duration);

fn invoice_terms(params: &Value) -> Result<InvoiceTerms, NwcError> {
    let description = match text(params, "description_hash") {
        Some(hash) => {
            let hash: PaymentHash =
                hash.parse().map_err(|_| NwcError::new("OTHER", "invalid description_hash"))?;
            InvoiceDescription::Hash(*hash.as_bytes())
        }
        None => text(params, "description").unwrap_or_default().into(),
    };
    let amount = msats(params, "amount")?.filter(|amount| !amount.is_zero());
    let expiry = params.get("expiry").and_then(Value::as_u64).map_or(EXPIRY, Duration::from_secs);
    Ok((amount, description, expiry))
}

fn lookup(node: &LightningNode, params: &Value) -> Result<Value, NwcError> {
    let hash = match (text(params, "payment_hash"), text(params, "invoice")) {
        (Some(hash), _) => hash.parse().ok(),
        (None, Some(invoice)) => invoice.parse().ok().map(|invoice: Bolt11| invoice.payment_hash()),
        (None, None) => None,
    };
    find(node, hash.ok_or_else(|| NwcError::new("OTHER", "missing payment_hash or invoice"))?)
}

fn find(node: &LightningNode, hash: PaymentHash) -> Result<Value, NwcError> {
    let incoming = node.incoming(hash).map(Transaction::Incoming);
    let found = incoming.or_else(|| node.payment_status(hash).map(Transaction::Outgoing));
    found
        .map(|transaction| transaction.to_json())
        .ok_or_else(|| NwcError::new("NOT_FOUND", "no transaction with this payment hash"))
}

/// The newest first.
fn list(node: &LightningNode, params: &Value) -> Value {
    let number = |name: &str| params.get(name).and_then(Value::as_i64);
    let size =
        |name: &str| params.get(name).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    let from = number("from").unwrap_or(0);
    let until =
        number("until").filter(|until| *until > 0).unwrap_or_else(|| SystemClock.now().unix_seconds());
    let unpaid = params.get("unpaid").and_then(Value::as_bool).unwrap_or(false);
    let direction = text(params, "type");

    let mut all: Vec<Transaction> = node.incoming_all().into_iter().map(Transaction::Incoming).collect();
    all.extend(node.outgoing_all().into_iter().map(Transaction::Outgoing));
    all.retain(|transaction| {
        let created = transaction.created_at().unix_seconds();
        created >= from
            && created <= until
            && (unpaid || transaction.state() == "settled")
            && direction.is_none_or(|direction| direction == transaction.direction())
    });
    all.sort_by_key(|transaction| std::cmp::Reverse(transaction.created_at()));
    let page = all.iter().skip(size("offset").unwrap_or(0));
    let page = page.take(size("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX));
    json!({ "transactions": page.map(Transaction::to_json).collect::<Vec<_>>() })
}

fn text<'a>(params: &'a Value, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn msats(params: &Value, name: &str) -> Result<Option<Msats>, NwcError> {
    let Some(value) = params.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let amount = value.as_u64().and_then(|msats| Msats::new(msats).ok());
    amount.map(Some).ok_or_else(|| NwcError::new("OTHER", format!("invalid {name}: expected millisats")))
}
