//! phoenixd's JSON.

use serde::Serialize;
use tithe_clock::{Clock, SystemClock, Timestamp};
use tithe_money::Msats;

use super::wallet::{Receipt, Wallet};
use crate::{
    Channel, FailureReason, IncomingPayment, LightningNode, OutgoingPayment, OutgoingState, PayError,
};

/// The version that we are like.
const VERSION: &str = "0.8.0-de6f8ae";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    node_id: String,
    channels: Vec<ChannelInfo>,
    chain: &'static str,
    block_height: u32,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelInfo {
    state: &'static str,
    channel_id: String,
    balance_sat: u64,
    inbound_liquidity_sat: u64,
    capacity_sat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    funding_tx_id: Option<String>,
}

impl NodeInfo {
    pub fn of(wallet: &Wallet) -> Self {
        let node = &wallet.node;
        // The first channel bears what the provider keeps.
        let mut kept = node.balance().saturating_sub(wallet.balance());
        let channels = node.channels().into_iter().map(|channel| {
            let balance = channel.balance.saturating_sub(kept);
            kept = kept.saturating_sub(channel.balance);
            ChannelInfo::of(channel, balance)
        });
        Self {
            node_id: node.id().to_string(),
            channels: channels.collect(),
            chain: "regtest",
            block_height: node.block_height(),
            version: VERSION,
        }
    }
}

impl ChannelInfo {
    fn of(channel: Channel, balance: Msats) -> Self {
        Self {
            state: if channel.usable { "Normal" } else { "Offline" },
            channel_id: channel.id,
            balance_sat: sats(balance),
            inbound_liquidity_sat: sats(channel.inbound),
            capacity_sat: sats(channel.capacity),
            funding_tx_id: channel.funding,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    balance_sat: u64,
    fee_credit_sat: u64,
}

impl Balance {
    pub fn of(wallet: &Wallet) -> Self {
        Self { balance_sat: sats(wallet.balance()), fee_credit_sat: sats(wallet.fee_credit()) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedInvoice {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_sat: Option<u64>,
    pub payment_hash: String,
    pub serialized: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentSent {
    recipient_amount_sat: u64,
    routing_fee_sat: u64,
    payment_id: String,
    payment_hash: String,
    payment_preimage: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentFailed {
    payment_hash: String,
    reason: String,
}

impl PaymentSent {
    /// The answer to a payment that has succeeded, or why it has failed.
    pub fn of(payment: &OutgoingPayment, node: &LightningNode) -> Result<Self, PaymentFailed> {
        match payment.state {
            OutgoingState::Succeeded { preimage, fee, .. } => Ok(Self {
                recipient_amount_sat: sats(payment.amount),
                routing_fee_sat: sats(fee),
                payment_id: payment.id.to_string(),
                payment_hash: payment.hash().to_string(),
                payment_preimage: preimage.reveal(),
            }),
            OutgoingState::InFlight => Err(PaymentFailed::of(payment, FailureReason::Other, node)),
            OutgoingState::Failed { reason, .. } => Err(PaymentFailed::of(payment, reason, node)),
        }
    }
}

impl PaymentFailed {
    fn of(payment: &OutgoingPayment, reason: FailureReason, node: &LightningNode) -> Self {
        let connected = node.channels().iter().any(|channel| channel.usable);
        let reason = match reason {
            _ if !connected => "channel is not connected yet, please retry when connected",
            FailureReason::InsufficientBalance => "not enough funds in wallet to afford payment",
            FailureReason::NoRoute => {
                "the recipient was offline or did not have enough liquidity to receive the payment"
            }
            FailureReason::Rejected | FailureReason::Expired => "recipient node rejected the payment",
            FailureReason::RetriesExhausted => "payment attempts exhausted without success",
            FailureReason::Other => "an unknown error occurred",
        };
        Self { payment_hash: payment.hash().to_string(), reason: reason.to_owned() }
    }

    /// The answer to a payment that was not attempted.
    pub fn refused(hash: &impl ToString, error: &PayError) -> Self {
        let reason = match error {
            PayError::AmountTooSmall => "recipient node rejected the payment".to_owned(),
            other => other.to_string(),
        };
        Self { payment_hash: hash.to_string(), reason }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Incoming {
    r#type: &'static str,
    sub_type: &'static str,
    payment_hash: String,
    preimage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    invoice: String,
    is_paid: bool,
    is_expired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_sat: Option<u64>,
    received_sat: u64,
    /// Millisats.
    fees: u64,
    expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<i64>,
    created_at: i64,
}

impl Incoming {
    pub fn of(wallet: &Wallet, payment: IncomingPayment) -> Self {
        let nothing = Receipt { received: Msats::ZERO, fee: Msats::ZERO, fee_credit: Msats::ZERO };
        let credit = wallet.credit(&payment).unwrap_or(nothing);
        Self {
            r#type: "incoming_payment",
            sub_type: "lightning",
            payment_hash: payment.hash().to_string(),
            preimage: payment.preimage.map(|preimage| preimage.reveal()).unwrap_or_default(),
            external_id: wallet.external_id(payment.hash()),
            description: payment.description,
            invoice: payment.invoice.to_string(),
            is_paid: payment.received.is_some(),
            is_expired: SystemClock.now() > payment.invoice.expires_at(),
            requested_sat: payment.invoice.amount().map(sats),
            received_sat: sats(credit.received),
            fees: credit.fee.get(),
            expires_at: unix_millis(payment.invoice.expires_at()),
            completed_at: payment.received.map(|received| unix_millis(received.at)),
            created_at: unix_millis(payment.created_at),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outgoing {
    r#type: &'static str,
    sub_type: &'static str,
    payment_id: String,
    payment_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    preimage: Option<String>,
    is_paid: bool,
    /// What has left the wallet: the amount and the fee.
    sent: u64,
    /// Millisats.
    fees: u64,
    invoice: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<i64>,
    created_at: i64,
}

impl Outgoing {
    pub fn of(payment: &OutgoingPayment) -> Self {
        let succeeded = payment.succeeded();
        let fee = succeeded.map_or(Msats::ZERO, |(_, fee)| fee);
        Self {
            r#type: "outgoing_payment",
            sub_type: "lightning",
            payment_id: payment.id.to_string(),
            payment_hash: payment.hash().to_string(),
            preimage: succeeded.map(|(preimage, _)| preimage.reveal()),
            is_paid: succeeded.is_some(),
            sent: sats(payment.amount.checked_add(fee).unwrap_or(Msats::MAX)),
            fees: fee.get(),
            invoice: payment.invoice.to_string(),
            completed_at: completed_at(payment).map(unix_millis),
            created_at: unix_millis(payment.created_at),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentReceived {
    r#type: &'static str,
    timestamp: i64,
    amount_sat: u64,
    payment_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
}

impl PaymentReceived {
    pub fn of(wallet: &Wallet, payment: &IncomingPayment) -> Option<Self> {
        Some(Self {
            r#type: "payment_received",
            timestamp: unix_millis(SystemClock.now()),
            amount_sat: sats(wallet.credit(payment)?.received),
            payment_hash: payment.hash().to_string(),
            external_id: wallet.external_id(payment.hash()),
        })
    }
}

/// When the payment succeeded or failed.
pub fn completed_at(payment: &OutgoingPayment) -> Option<Timestamp> {
    match payment.state {
        OutgoingState::InFlight => None,
        OutgoingState::Succeeded { at, .. } | OutgoingState::Failed { at, .. } => Some(at),
    }
}

/// Milliseconds since 1970.
pub const fn unix_millis(at: Timestamp) -> i64 {
    at.unix_micros().div_euclid(1_000)
}

/// phoenixd cuts off the millisats.
pub const fn sats(amount: Msats) -> u64 {
    amount.to_sats_rounding_down().get()
}
