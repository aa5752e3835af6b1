//! The handle to a node.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{
    Bolt11InvoiceParameters, Bolt11PaymentError, Retry, RetryableSendFailure,
};
use lightning::routing::router::RouteParametersConfig;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_lightning::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description, Sha256};
use tithe_lightning::{Bolt11, PaymentHash, Preimage};
use tithe_money::Msats;
use tokio::sync::broadcast;
use tokio::time::timeout;
use uuid::Uuid;

use crate::core::{Core, payment_id};
use crate::patience::{TIME_LIMIT, eventually};
use crate::{
    FailureReason, Hold, IncomingPayment, LightningError, OutgoingPayment, OutgoingState, PayError,
    PaymentEvent,
};

/// The attempts of a payment, each on other routes than the ones before.
const ATTEMPTS: u32 = 3;

/// A node of a [`LightningPair`](crate::LightningPair) or a [`LightningLine`](crate::LightningLine). Clones are handles
/// to the same node, which runs as long as its network.
#[derive(Clone)]
pub struct LightningNode(pub(crate) Arc<Core>);

/// The description in an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceDescription {
    /// The text itself, at most 639 bytes.
    Text(String),
    /// The SHA-256 of a longer text.
    Hash([u8; 32]),
}

impl From<&str> for InvoiceDescription {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The optional terms of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayTerms {
    /// The amount, for an invoice that has none.
    pub amount: Option<Msats>,
    /// The most that the payment may cost besides the amount. Without it, 1 % and 50 sats.
    pub max_fee: Option<Msats>,
}

/// A channel of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The id, 64 hex digits.
    pub id: String,
    /// The transaction that funded it.
    pub funding: Option<String>,
    /// What the channel holds.
    pub capacity: Msats,
    /// Our share of it.
    pub balance: Msats,
    /// The most that can be received over it.
    pub inbound: Msats,
    /// Whether payments can be made over it now.
    pub usable: bool,
}

impl LightningNode {
    /// The node's name: `merchant`, `customer` or `router`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The node's public key.
    #[must_use]
    pub fn id(&self) -> PublicKey {
        self.0.parts.id
    }

    /// The node's balance, exact to the millisat: its share of its channels, with the reserves.
    ///
    /// An outgoing payment is part of it until the node knows that it has succeeded, an incoming one from the moment at
    /// which the node has received it. When nothing is in flight, the balances of all nodes add up to the capacities of
    /// their channels: a routing fee is in the router's balance.
    #[must_use]
    pub fn balance(&self) -> Msats {
        let balances = self.channels().into_iter().map(|channel| channel.balance);
        balances.fold(Msats::ZERO, |sum, balance| sum.checked_add(balance).unwrap_or(Msats::MAX))
    }

    /// The node's channels.
    #[must_use]
    pub fn channels(&self) -> Vec<Channel> {
        self.0.parts.manager.list_channels().iter().map(|channel| self.channel(channel)).collect()
    }

    fn channel(&self, channel: &ChannelDetails) -> Channel {
        let book = &self.0.book;
        let ours = |hash: &lightning::types::payment::PaymentHash| PaymentHash::from_bytes(hash.0);
        let reserve = channel.unspendable_punishment_reserve.unwrap_or_default().saturating_mul(1_000);
        let outgoing = channel.pending_outbound_htlcs.iter();
        let outgoing = outgoing.filter(|htlc| !book.has_sent(ours(&htlc.payment_hash)));
        let incoming = channel.pending_inbound_htlcs.iter();
        let incoming = incoming.filter(|htlc| book.has_received(ours(&htlc.payment_hash)));
        let pending = outgoing.map(|htlc| htlc.amount_msat).chain(incoming.map(|htlc| htlc.amount_msat));
        let balance =
            pending.fold(channel.outbound_capacity_msat.saturating_add(reserve), u64::saturating_add);
        Channel {
            id: channel.channel_id.to_string(),
            funding: channel.funding_txo.map(|output| output.txid.to_string()),
            capacity: msats(channel.channel_value_satoshis.saturating_mul(1_000)),
            balance: msats(balance),
            inbound: msats(channel.inbound_capacity_msat),
            usable: channel.is_usable,
        }
    }

    /// Waits until no payment is in flight in the node's channels.
    pub async fn settle(&self) -> Result<(), LightningError> {
        eventually("no payment is in flight", || {
            self.0.parts.manager.list_channels().iter().all(|channel| {
                channel.pending_inbound_htlcs.is_empty() && channel.pending_outbound_htlcs.is_empty()
            })
        })
        .await
    }

    /// The height of the chain.
    #[must_use]
    pub fn block_height(&self) -> u32 {
        self.0.chain.tip().height
    }

    /// The hash of the last block, 64 hex digits.
    #[must_use]
    pub fn block_hash(&self) -> String {
        self.0.chain.tip().block_hash.to_string()
    }

    /// Creates an invoice. Without an amount, the payer chooses it.
    pub fn create_invoice(
        &self,
        amount: Option<Msats>,
        description: impl Into<InvoiceDescription>,
        expiry: Duration,
    ) -> Result<Bolt11, LightningError> {
        let (text, invoice) = self.issue(amount, description.into(), expiry, None)?;
        let hash = lightning::types::payment::PaymentHash(invoice.payment_hash().to_byte_array());
        let preimage = self.0.parts.manager.get_payment_preimage(hash, *invoice.payment_secret());
        let preimage = preimage.map_err(|error| refused("creating an invoice", &error))?;
        self.register(&invoice, text, Some(Preimage::from_bytes(preimage.0)), None)
    }

    /// Signs an invoice; for a hash of the caller's with a delta of blocks for the last hop.
    pub(crate) fn issue(
        &self,
        amount: Option<Msats>,
        description: InvoiceDescription,
        expiry: Duration,
        hash: Option<(PaymentHash, u16)>,
    ) -> Result<(Option<String>, Bolt11Invoice), LightningError> {
        let (text, description) = match description {
            InvoiceDescription::Text(text) => {
                let description = Description::new(text.clone());
                let description = description.map_err(|_| LightningError::Options("description too long"))?;
                (Some(text), Bolt11InvoiceDescription::Direct(description))
            }
            InvoiceDescription::Hash(hash) => {
                let hash = Sha256(sha256::Hash::from_byte_array(hash));
                (None, Bolt11InvoiceDescription::Hash(hash))
            }
        };
        let (payment_hash, delta) = hash.unzip();
        let invoice = self.0.parts.manager.create_bolt11_invoice(Bolt11InvoiceParameters {
            amount_msats: amount.map(Msats::get),
            description,
            invoice_expiry_delta_secs: Some(u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)),
            payment_hash: payment_hash.map(|hash| lightning::types::payment::PaymentHash(*hash.as_bytes())),
            min_final_cltv_expiry_delta: delta,
        });
        Ok((text, invoice.map_err(|error| refused("creating an invoice", &error))?))
    }

    /// Adds an invoice to the record.
    pub(crate) fn register(
        &self,
        invoice: &Bolt11Invoice,
        description: Option<String>,
        preimage: Option<Preimage>,
        hold: Option<Hold>,
    ) -> Result<Bolt11, LightningError> {
        let parsed = Bolt11::try_from(invoice)?;
        self.0.book.invoice_add(IncomingPayment {
            invoice: parsed.clone(),
            description,
            preimage,
            created_at: SystemClock.now(),
            received: None,
            hold,
        });
        Ok(parsed)
    }

    /// Pays an invoice, and waits until the payment has succeeded or failed.
    pub async fn pay(&self, invoice: &Bolt11, terms: PayTerms) -> Result<OutgoingPayment, PayError> {
        let id = self.pay_start(invoice, terms)?;
        let done = timeout(TIME_LIMIT, self.paid(id)).await;
        done.ok().flatten().ok_or(PayError::StillInFlight)
    }

    /// Starts paying an invoice, and returns the id of the attempt. An attempt that cannot even begin, for lack of balance or
    /// of a route, is recorded as failed.
    pub fn pay_start(&self, invoice: &Bolt11, terms: PayTerms) -> Result<Uuid, PayError> {
        let wanted = terms.amount.or(invoice.amount()).ok_or(PayError::AmountMissing)?;
        if invoice.amount().is_some_and(|amount| wanted < amount) {
            return Err(PayError::AmountTooSmall);
        }
        let readable: Bolt11Invoice = invoice.as_str().parse().map_err(|_| PayError::Invalid)?;
        let id = new_id();
        self.0.book.attempt(OutgoingPayment {
            id,
            invoice: invoice.clone(),
            amount: wanted,
            created_at: SystemClock.now(),
            state: OutgoingState::InFlight,
        })?;
        let route = RouteParametersConfig {
            max_total_routing_fee_msat: Some(terms.max_fee.map_or_else(|| default_fee(wanted), Msats::get)),
            max_channel_saturation_power_of_half: 0,
            ..RouteParametersConfig::default()
        };
        let retry = Retry::Attempts(ATTEMPTS);
        let affordable = self.balance() >= wanted;
        let manager = &self.0.parts.manager;
        match manager.pay_for_bolt11_invoice(
            &readable,
            payment_id(id),
            terms.amount.map(Msats::get),
            route,
            retry,
        ) {
            Ok(()) => {}
            Err(Bolt11PaymentError::InvalidAmount) => {
                self.0.book.withdraw(id);
                return Err(PayError::AmountTooSmall);
            }
            Err(Bolt11PaymentError::SendingFailed(failure)) => {
                self.0.book.fail(id, send_failure(&failure, affordable));
            }
        }
        Ok(id)
    }

    /// Waits until an attempt has succeeded or failed. Returns `None` if there is no such attempt.
    pub async fn paid(&self, id: Uuid) -> Option<OutgoingPayment> {
        let found = self.0.book.wait(|book| match book.outgoing(id) {
            Some(payment) if payment.state == OutgoingState::InFlight => None,
            other => Some(other),
        });
        found.await.flatten()
    }

    /// The attempt to pay this hash that counts: one that succeeded, else one in flight, else the last one.
    #[must_use]
    pub fn payment_status(&self, hash: PaymentHash) -> Option<OutgoingPayment> {
        self.0.book.outgoing_by_hash(hash)
    }

    /// The attempt with this id.
    #[must_use]
    pub fn outgoing(&self, id: Uuid) -> Option<OutgoingPayment> {
        self.0.book.outgoing(id)
    }

    /// All attempts to pay, in the order in which they began.
    #[must_use]
    pub fn outgoing_all(&self) -> Vec<OutgoingPayment> {
        self.0.book.outgoing_all()
    }

    /// The invoice with this hash.
    #[must_use]
    pub fn incoming(&self, hash: PaymentHash) -> Option<IncomingPayment> {
        self.0.book.incoming(hash)
    }

    /// All invoices, in the order in which they were made.
    #[must_use]
    pub fn incoming_all(&self) -> Vec<IncomingPayment> {
        self.0.book.incoming_all()
    }

    /// Waits until the invoice is paid.
    pub async fn received(&self, hash: PaymentHash) -> Result<IncomingPayment, LightningError> {
        let found = self.0.book.wait(|book| book.incoming(hash).filter(|payment| payment.received.is_some()));
        let found = timeout(TIME_LIMIT, found).await;
        found.ok().flatten().ok_or(LightningError::TimedOut("the invoice is paid"))
    }

    /// The changes from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PaymentEvent> {
        self.0.book.subscribe()
    }

    /// From now on, leaves incoming payments waiting, so that they stay in flight for their payers.
    pub fn hold(&self) {
        self.0.holding.store(true, Ordering::SeqCst);
    }

    /// Waits until the payment of an invoice has arrived and is held.
    pub async fn held(&self, hash: PaymentHash) -> Result<(), LightningError> {
        let held = self.0.book.wait(|book| book.is_held(hash).then_some(()));
        let held = timeout(TIME_LIMIT, held).await;
        held.ok().flatten().ok_or(LightningError::TimedOut("the payment has arrived"))
    }

    /// Accepts the payments that are held, and those that arrive from now on.
    pub fn release(&self) {
        self.0.holding.store(false, Ordering::SeqCst);
        self.0.book.release().into_iter().for_each(|hash| self.0.accept(hash));
    }

    /// Rejects the payments that are held, and accepts those that arrive from now on.
    pub fn reject_held(&self) {
        self.0.holding.store(false, Ordering::SeqCst);
        self.0.book.release().into_iter().for_each(|hash| self.0.reject(hash));
    }

    /// Cuts the connection to another node. Its channels stay open, and cannot be used until [`LightningNode::connect`].
    pub async fn disconnect(&self, other: &Self) -> Result<(), LightningError> {
        self.0.parts.peers.disconnect_by_node_id(other.id());
        let unusable = |node: &Self, peer: &Self| {
            let channels = node.0.parts.manager.list_channels_with_counterparty(&peer.id());
            channels.iter().all(|channel| !channel.is_usable)
        };
        eventually("the connection is cut", || unusable(self, other) && unusable(other, self)).await
    }

    /// Connects to another node, and waits until their channels can be used.
    pub async fn connect(&self, other: &Self) -> Result<(), LightningError> {
        self.0.connect(&other.0).await?;
        let usable = |node: &Self, peer: &Self| {
            let channels = node.0.parts.manager.list_channels_with_counterparty(&peer.id());
            channels.iter().all(|channel| channel.is_usable)
        };
        eventually("the channels can be used", || usable(self, other) && usable(other, self)).await
    }
}

impl fmt::Debug for LightningNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightningNode").field("name", &self.name()).field("id", &self.id()).finish()
    }
}

fn new_id() -> Uuid {
    let entropy: &dyn Entropy = &SystemEntropy;
    uuid::Builder::from_random_bytes(entropy.bytes::<16>()).into_uuid()
}

fn msats(msats: u64) -> Msats {
    Msats::new(msats).unwrap_or(Msats::MAX)
}

/// 1 % and 50 sats: what common nodes allow.
const fn default_fee(amount: Msats) -> u64 {
    amount.get() / 100 + 50_000
}

fn refused(doing: &'static str, error: &dyn fmt::Debug) -> LightningError {
    LightningError::Ldk { doing, reason: format!("{error:?}") }
}

const fn send_failure(failure: &RetryableSendFailure, affordable: bool) -> FailureReason {
    match failure {
        RetryableSendFailure::PaymentExpired => FailureReason::Expired,
        RetryableSendFailure::RouteNotFound if affordable => FailureReason::NoRoute,
        RetryableSendFailure::RouteNotFound => FailureReason::InsufficientBalance,
        _ => FailureReason::Other,
    }
}
