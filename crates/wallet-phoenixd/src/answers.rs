//! The JSON that phoenixd answers with (`json/JsonSerializers.kt`). Absent fields are left out rather than null.

use serde::Deserialize;
use tithe_lightning::{PaymentHash, Preimage};

/// `GET /getinfo`.
#[derive(Debug, Deserialize)]
pub(crate) struct NodeInfo {
    pub chain: String,
    pub version: String,
    #[serde(default)]
    pub channels: Vec<Channel>,
}

/// A channel of [`NodeInfo`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Channel {
    /// Such as `Normal`, `Offline(Normal)` and `Syncing(Normal)`.
    pub state: String,
    #[serde(default)]
    pub balance_sat: u64,
    #[serde(default)]
    pub inbound_liquidity_sat: u64,
    #[serde(default)]
    pub capacity_sat: u64,
}

/// `GET /getbalance`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Balance {
    pub balance_sat: u64,
    #[serde(default)]
    pub fee_credit_sat: u64,
}

/// `POST /createinvoice`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GeneratedInvoice {
    pub payment_hash: PaymentHash,
    pub serialized: String,
}

/// `POST /payinvoice`: a payment that was sent, or the reason why not. Both have status 200.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PayAnswer {
    pub payment_preimage: Option<Preimage>,
    /// Rounded down.
    #[serde(default)]
    pub routing_fee_sat: u64,
    pub reason: Option<String>,
}

/// `GET /payments/incoming/{paymentHash}`, and the elements of `GET /payments/incoming`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IncomingPayment {
    pub payment_hash: PaymentHash,
    /// Known to the wallet, and listed, before the payment arrives.
    pub preimage: Option<Preimage>,
    pub is_paid: bool,
    /// Since 0.6.1.
    pub is_expired: Option<bool>,
    /// Since 0.6.1.
    pub requested_sat: Option<u64>,
    pub invoice: Option<String>,
    pub description: Option<String>,
    /// What arrived, less the fees, rounded towards zero. Negative when the payment triggered a purchase of liquidity that cost
    /// more than the payment brought.
    pub received_sat: i64,
    /// The mining and service fees of the liquidity that was bought for the payment, in millisats.
    #[serde(default)]
    pub fees: u64,
    /// Milliseconds since 1970; since 0.6.1.
    pub expires_at: Option<i64>,
    /// Milliseconds since 1970.
    pub completed_at: Option<i64>,
}

/// `GET /payments/outgoingbyhash/{paymentHash}`, and the elements of `GET /payments/outgoing`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutgoingPayment {
    /// phoenixd's own id of the attempt.
    #[serde(default)]
    pub payment_id: String,
    /// Such as `lightning`, `auto_liquidity`, `splice_out`.
    #[serde(default)]
    pub sub_type: String,
    /// Only for Lightning payments.
    pub payment_hash: Option<PaymentHash>,
    pub preimage: Option<Preimage>,
    pub is_paid: bool,
    /// What left the wallet: the amount and the fees, rounded down.
    pub sent: i64,
    /// In millisats.
    #[serde(default)]
    pub fees: u64,
    pub invoice: Option<String>,
    /// Milliseconds since 1970. Also failed payments have it.
    pub completed_at: Option<i64>,
}

/// A message of the websocket.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    pub payment_hash: Option<PaymentHash>,
}
