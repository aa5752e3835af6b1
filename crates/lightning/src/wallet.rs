//! The port to a Lightning wallet.

use crate::{Bolt11, HeldPayment, InvoiceId, Network, PaymentHash, PaymentId, Preimage, ReceivedPayment};
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
    /// A payment for this hold invoice has arrived and waits for our decision. Nothing has been received yet.
    Held(HeldPayment),
    /// The invoice was paid.
    Settled(ReceivedPayment),
    /// The invoice expired unpaid or was cancelled, and the wallet accepts no more payments for it.
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
    /// The wallet supports hold invoices (which we settle or cancel after the payment has arrived). A wallet that has to be
    /// asked says no until it has answered.
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

/// The payments that are held for hold invoices, as the wallet reports them. The stream has the same gaps and repetitions as
/// [`ReceivedPayments`]: polling finds what it misses.
pub type HeldPayments = BoxStream<'static, HeldPayment>;

fn no_hold_invoices<T>() -> Result<T, WalletError> {
    Err(WalletError::Refused("the wallet has no hold invoices".to_owned()))
}

/// A Lightning wallet.
///
/// # Hold invoices
///
/// A wallet with [`WalletCapabilities::hold_invoices`] can make an invoice for a payment hash whose preimage only the caller
/// knows. A payment for it is held ([`InvoiceStatus::Held`]): the payer's money is locked, and nobody has it, until
/// [`Wallet::hold_invoice_settle`] takes it and gives the payer the preimage, or [`Wallet::hold_invoice_cancel`] gives it
/// back. Without either, it goes back to the payer at [`HeldPayment::held_until`], and then it cannot be settled any more.
///
/// The preimage is the payer's proof of payment and anybody's means to take the money on its way: it must not leave the
/// caller before it settles. A payment hash is used for one invoice only.
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

    /// Creates a hold invoice for `payment_hash`. A repeated call with the same hash, amount and description returns the same
    /// invoice while it can be paid.
    ///
    /// # Errors
    /// [`WalletError::Refused`] if the wallet has no hold invoices, or the hash was used before. After
    /// [`WalletError::OutcomeUnknown`] the invoice may exist, and nobody has seen it.
    async fn hold_invoice_create(
        &self,
        _request: &InvoiceRequest,
        _payment_hash: PaymentHash,
    ) -> Result<Bolt11, WalletError> {
        no_hold_invoices()
    }

    /// Takes the payment that is held for the hold invoice of this preimage. Settling it again is not an error.
    ///
    /// # Errors
    /// [`WalletError::Refused`] if nothing is held: the invoice is unknown, not paid yet, or cancelled, or the payment went
    /// back when its time ran out. Nothing has been received, and the payer does not have the preimage.
    /// After [`WalletError::OutcomeUnknown`] the payment may be settled: only [`Wallet::invoice_status`], or settling again,
    /// tells.
    async fn hold_invoice_settle(&self, _preimage: Preimage) -> Result<(), WalletError> {
        no_hold_invoices()
    }

    /// Gives the payment that is held for a hold invoice back to the payer. Afterwards nothing can be settled for this hash.
    /// Cancelling it again is not an error, nor is cancelling an invoice that can no longer be paid.
    ///
    /// # Errors
    /// [`WalletError::Refused`] if the invoice is unknown or settled. [`WalletError::Unavailable`] if no payment is held yet and
    /// the wallet can cancel only what is held: the invoice can still be paid. After [`WalletError::OutcomeUnknown`] it may be
    /// cancelled: only [`Wallet::invoice_status`], or cancelling again, tells.
    async fn hold_invoice_cancel(&self, _payment_hash: PaymentHash) -> Result<(), WalletError> {
        no_hold_invoices()
    }

    /// Subscribes to payments that are held from now on.
    async fn payments_held(&self) -> Result<HeldPayments, WalletError> {
        no_hold_invoices()
    }
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
    /// The payment of this hold invoice has arrived and is held. It may still succeed or fail.
    #[error("payment held: {0}")]
    Held(PaymentHash),
    /// The payment of this hold invoice was held and came back.
    #[error("payment returned: {0}")]
    Returned(PaymentHash),
    /// The payer's side failed.
    #[error("test payment failed")]
    Wallet(#[from] WalletError),
}

/// Pays our own invoices with play money, for tests and trials. Never available for a wallet on [`Network::Mainnet`].
#[async_trait]
pub trait TestPayer: Send + Sync {
    /// Pays the invoice and returns the preimage.
    ///
    /// A payer that pays a hold invoice does not wait for its settlement: the error is [`TestPaymentError::Held`], or
    /// [`WalletError::OutcomeUnknown`] from a real wallet, whose payment is in flight. Paying again pays nothing; a simulated
    /// payer then returns the preimage once the payment is settled.
    async fn pay(&self, invoice: &Bolt11) -> Result<Preimage, TestPaymentError>;

    /// An invoice of the payer's own wallet, to which a refund can be paid. Some wallets make one without an amount if that is zero.
    async fn invoice(&self, amount: Sats) -> Result<Bolt11, TestPaymentError>;
}
