//! The port to a Lightning wallet.

use crate::{Bolt11, Network, OwnerId, PaymentHash, Preimage, Purpose, Settlement};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use tithe_money::{Msats, Sats};
use uuid::Uuid;

/// Our own name for an invoice that we want, chosen before the wallet is asked, so that asking twice is harmless and
/// a lost answer can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvoiceId(pub Uuid);

impl InvoiceId {
    /// The name of the one invoice that `owner` has for `purpose`: the same each time, on every server.
    #[must_use]
    pub fn of(purpose: Purpose, owner: OwnerId) -> Self {
        let digest = Sha256::new().chain_update(purpose.name()).chain_update(owner.0.as_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for InvoiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Our own name for a payment that we make, chosen and written down before the wallet is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaymentId(pub Uuid);

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An invoice that we want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceRequest {
    /// Our name for it.
    pub id: InvoiceId,
    /// What it asks for.
    pub amount: Sats,
    /// What the payer's wallet shows, at most 639 bytes (BOLT11's limit).
    pub description: String,
    /// How long it can be paid.
    pub expiry: Duration,
}

/// Where an invoice stands at the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceStatus {
    /// It can still be paid, or a payment may still be under way.
    Pending,
    /// It was paid.
    Settled(Settlement),
    /// It lapsed unpaid, and the wallet will take no more money for it.
    Expired,
}

/// A payment that we want made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOrder {
    /// Our name for it.
    pub id: PaymentId,
    /// Whom to pay.
    pub request: Bolt11,
    /// How much, when the request leaves it open; it must be `None` when the request names an amount.
    pub amount: Option<Msats>,
    /// The most that routing may cost. Paying fails rather than cost more.
    pub max_fee: Msats,
}

/// Where a payment of ours stands at the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// Under way: it may still succeed or fail.
    InFlight,
    /// Made.
    Succeeded {
        /// The proof.
        preimage: Preimage,
        /// What routing cost.
        fee: Msats,
    },
    /// It failed for good and no money has left.
    Failed {
        /// Why, for the operator's log.
        reason: String,
    },
}

/// What went wrong at the wallet, told apart by what is known of the outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The wallet was not reached, or said that it could not serve now: nothing has happened, and asking again later is
    /// safe.
    #[error("the wallet cannot be reached")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The wallet understood and refused: nothing has happened, and asking again will not help.
    #[error("the wallet refused: {0}")]
    Refused(String),
    /// The request may or may not have been carried out (a time-out, a lost answer). It must be looked up; it is never
    /// to be taken for a failure (invariant I6).
    #[error("the wallet's answer was lost: the outcome is unknown")]
    OutcomeUnknown(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The wallet answered with something that cannot be true.
    #[error("the wallet's answer makes no sense: {0}")]
    Nonsense(String),
}

/// What a wallet can do beyond the basics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalletCapabilities {
    /// It can make hold invoices (settled or cancelled by us after the payment has arrived).
    pub hold_invoices: bool,
    /// No money moves in it: it is a simulation.
    pub simulated: bool,
}

/// Settlements as the wallet reports them. It ends when the connection is lost; whoever listens asks again. Settlements
/// may come more than once, and some may be missed: polling with [`Wallet::invoice_status`] catches those.
pub type SettlementStream = BoxStream<'static, Settlement>;

/// A Lightning wallet.
#[async_trait]
pub trait Wallet: Send + Sync {
    /// The chain that its money is on.
    fn network(&self) -> Network;

    /// What it can do.
    fn capabilities(&self) -> WalletCapabilities;

    /// Makes an invoice. Asking again with the same [`InvoiceId`], amount and description gives the same invoice where
    /// the wallet can do that, and otherwise another one; either way nothing is lost, because only the one that the
    /// caller stores is ever shown.
    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError>;

    /// Where an invoice stands; `None` when the wallet does not know it.
    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError>;

    /// Settlements from now on.
    async fn settlements(&self) -> Result<SettlementStream, WalletError>;

    /// Pays. Asking again with the same [`PaymentId`] pays at most once and tells where that payment stands.
    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError>;

    /// Where the payment of this hash, sent as `id`, stands; `None` when the wallet has never heard of it.
    async fn payment_status(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError>;

    /// The money that it holds.
    async fn balance(&self) -> Result<Msats, WalletError>;
}

/// Why a test payment was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestPaymentError {
    /// Nobody can pay this invoice here.
    #[error("no invoice has the payment hash {0}")]
    Unknown(PaymentHash),
    /// It has been paid before.
    #[error("the invoice {0} has been paid already")]
    AlreadyPaid(PaymentHash),
    /// It can no longer be paid.
    #[error("the invoice {0} has expired")]
    Expired(PaymentHash),
    /// The payer's side failed.
    #[error("the test payment failed")]
    Wallet(#[from] WalletError),
}

/// Pays our own invoices with play money, for tests and first steps. Never with a wallet on [`Network::Mainnet`].
#[async_trait]
pub trait TestPayer: Send + Sync {
    /// Pays the invoice and returns the proof.
    async fn pay(&self, invoice: &Bolt11) -> Result<Preimage, TestPaymentError>;
}
