//! The port to a Lightning wallet.

use crate::{Bolt11, InvoiceId, Network, PaymentHash, PaymentId, Preimage, ReceivedPayment};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::{Msats, Sats};

/// A request for an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceRequest {
    /// Our id for the invoice.
    pub id: InvoiceId,
    /// The amount of the invoice.
    pub amount: Sats,
    /// The description that the payer's wallet shows, at most 639 bytes (the BOLT11 limit).
    pub description: String,
    /// How long the invoice can be paid.
    pub expiry: Duration,
}

/// The state of an invoice at the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceStatus {
    /// The invoice can still be paid, or a payment may still be in flight.
    Pending,
    /// The invoice was paid.
    Settled(ReceivedPayment),
    /// The invoice expired unpaid, and the wallet accepts no more payments for it.
    Expired,
}

/// An outgoing payment to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOrder {
    /// Our id for the payment.
    pub id: PaymentId,
    /// The payment request to pay.
    pub request: Bolt11,
    /// The amount, if the payment request has none; must be `None` otherwise.
    pub amount: Option<Msats>,
    /// The maximum routing fee. The payment fails rather than exceed it.
    pub max_fee: Msats,
}

/// The state of an outgoing payment at the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// In flight: it may still succeed or fail.
    InFlight,
    /// The payment succeeded.
    Succeeded {
        /// The preimage.
        preimage: Preimage,
        /// The routing fee paid.
        fee: Msats,
    },
    /// The payment failed permanently and no money was sent.
    Failed {
        /// The reason, for the operator's log.
        reason: String,
    },
}

/// A wallet error, classified by what is known about the outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The wallet was not reached or is temporarily unavailable. Nothing has happened, and a retry is safe.
    #[error("wallet unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The wallet rejected the request. Nothing has happened, and a retry will not help.
    #[error("wallet rejected the request: {0}")]
    Refused(String),
    /// The request may or may not have been carried out (a timeout or a lost response). The outcome must be looked up;
    /// it must never be treated as a failure (invariant I6).
    #[error("unknown outcome: the wallet's response was lost")]
    OutcomeUnknown(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The wallet returned an impossible response.
    #[error("invalid wallet response: {0}")]
    Nonsense(String),
}

/// Optional wallet features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalletCapabilities {
    /// The wallet supports hold invoices (which we settle or cancel after the payment has arrived).
    pub hold_invoices: bool,
    /// The wallet can pay invoices that leave the amount to the payer.
    pub amountless_invoices: bool,
    /// The wallet is a simulation: no real money moves.
    pub simulated: bool,
}

/// The direction of a payment, seen from the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The wallet received the payment.
    Incoming,
    /// The wallet sent the payment.
    Outgoing,
}

/// A settled payment in the wallet's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletPayment {
    /// The direction.
    pub direction: Direction,
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount that the receiver was paid, without the fee.
    pub amount: Msats,
    /// Incoming: the liquidity fee that the wallet kept. Outgoing: the routing fee that was paid besides the amount.
    pub fee: Msats,
    /// When the payment was settled, as reported by the wallet.
    pub settled_at: Timestamp,
    /// Incoming: the description of the invoice, if the wallet reports it.
    pub description: Option<String>,
}

/// The payments that the wallet reports. The stream ends when the connection is lost; the listener then subscribes
/// again. A payment may be reported more than once, and some may be missed: polling with [`Wallet::invoice_status`]
/// finds those.
pub type ReceivedPayments = BoxStream<'static, ReceivedPayment>;

/// A Lightning wallet.
#[async_trait]
pub trait Wallet: Send + Sync {
    /// The network that the wallet is on.
    fn network(&self) -> Network;

    /// The wallet's optional features.
    fn capabilities(&self) -> WalletCapabilities;

    /// Creates an invoice. A repeated call with the same [`InvoiceId`], amount and description returns the same invoice
    /// if the wallet supports that, and a different one otherwise. Either is safe, because only the invoice that the
    /// caller stores is ever shown.
    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError>;

    /// The state of an invoice; `None` if the wallet does not know it.
    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError>;

    /// Subscribes to payments received from now on.
    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError>;

    /// Makes a payment. A wallet pays one payment hash at most once: a repeated call for a payment that is in flight or has
    /// succeeded returns its state. A wallet that cannot limit the fee itself refuses the payment when the fee could exceed the limit.
    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError>;

    /// The state of the outgoing payment with this hash that was sent as `id`; `None` if the wallet has no record of it. A wallet
    /// that does not know our ids looks at the hash alone. After several attempts, one that succeeded or is in flight counts.
    async fn payment_status(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError>;

    /// The wallet's balance.
    async fn balance(&self) -> Result<Msats, WalletError>;

    /// The payments in both directions that were settled at `since` or later, in any order. The list is complete, or the call fails.
    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError>;
}

/// The reason why a test payment failed.
#[derive(Debug, thiserror::Error)]
pub enum TestPaymentError {
    /// The wallet does not know the invoice.
    #[error("unknown payment hash: {0}")]
    Unknown(PaymentHash),
    /// The invoice is already paid.
    #[error("invoice already paid: {0}")]
    AlreadyPaid(PaymentHash),
    /// The invoice has expired.
    #[error("invoice expired: {0}")]
    Expired(PaymentHash),
    /// The payer's side failed.
    #[error("test payment failed")]
    Wallet(#[from] WalletError),
}

/// Pays our own invoices with play money, for tests and trials. Never available for a wallet on [`Network::Mainnet`].
#[async_trait]
pub trait TestPayer: Send + Sync {
    /// Pays the invoice and returns the preimage.
    async fn pay(&self, invoice: &Bolt11) -> Result<Preimage, TestPaymentError>;

    /// An invoice of the payer's own wallet, to which a refund can be paid. Some wallets make one without an amount if that is zero.
    async fn invoice(&self, amount: Sats) -> Result<Bolt11, TestPaymentError>;
}
