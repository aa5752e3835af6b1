//! A running node: LDK's parts, their event loop, and the record of payments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcoin::Amount;
use lightning::events::{
    Event, EventHandler, EventsProvider, HTLCHandlingFailureType, PaymentFailureReason, ReplayEvent,
};
use lightning::ln::channelmanager::PaymentId;
use tithe_lightning::{PaymentHash, Preimage};
use tithe_money::Msats;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::book::Book;
use crate::chain::Chain;
use crate::error::Doing;
use crate::ldk::Parts;
use crate::patience::eventually;
use crate::{FailureReason, HoldState, LightningError, RoutingFee};

/// A running node.
pub struct Core {
    pub name: &'static str,
    pub parts: Parts,
    pub chain: Arc<Chain>,
    pub book: Book,
    pub address: SocketAddr,
    pub runtime: Handle,
    /// Whether incoming payments are left waiting instead of being accepted.
    pub holding: AtomicBool,
}

impl Core {
    /// Starts a node that listens on a free loopback port. Its tasks run on the current runtime.
    pub async fn start(
        name: &'static str,
        chain: &Arc<Chain>,
        fee: RoutingFee,
    ) -> Result<Arc<Self>, LightningError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.doing("binding a loopback port")?;
        let core = Arc::new(Self {
            name,
            parts: Parts::assemble(name, chain, fee)?,
            chain: Arc::clone(chain),
            book: Book::default(),
            address: listener.local_addr().doing("binding a loopback port")?,
            runtime: Handle::current(),
            holding: AtomicBool::new(false),
        });
        tokio::spawn(accept(Arc::clone(&core), listener));
        tokio::spawn(process(Arc::clone(&core)));
        Ok(core)
    }

    /// Connects to another node and waits until both have exchanged their features.
    pub async fn connect(&self, other: &Self) -> Result<(), LightningError> {
        let peers = Arc::clone(&self.parts.peers);
        let connection = lightning_net_tokio::connect_outbound(peers, other.parts.id, other.address).await;
        let connection = connection.ok_or(LightningError::TimedOut("connecting two nodes"))?;
        self.runtime.spawn(connection);
        eventually("two nodes are connected", || self.is_connected(other) && other.is_connected(self)).await
    }

    fn is_connected(&self, other: &Self) -> bool {
        self.parts.peers.peer_by_node_id(&other.parts.id).is_some()
    }

    fn handle(&self, event: Event) {
        match event {
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let transaction = self.chain.fund(output_script, Amount::from_sat(channel_value_satoshis));
                // A refusal closes the channel, and its opener waits in vain.
                let _ = self.parts.manager.funding_transaction_generated(
                    temporary_channel_id,
                    counterparty_node_id,
                    transaction,
                );
            }
            Event::PaymentClaimable { payment_hash, claim_deadline, .. } => {
                let hash = PaymentHash::from_bytes(payment_hash.0);
                if let Some(state) = self.book.hold_arrive(hash, claim_deadline) {
                    if state != HoldState::Held {
                        self.reject(hash);
                    }
                } else if self.holding.load(Ordering::SeqCst) {
                    self.book.hold(hash);
                } else {
                    self.accept(hash);
                }
            }
            Event::HTLCHandlingFailed {
                failure_type: HTLCHandlingFailureType::Receive { payment_hash },
                ..
            } => self.book.hold_return(PaymentHash::from_bytes(payment_hash.0), self.chain.tip().height),
            Event::PaymentClaimed { payment_hash, amount_msat, .. } => {
                let amount = Msats::new(amount_msat).unwrap_or(Msats::MAX);
                self.book.receive(PaymentHash::from_bytes(payment_hash.0), amount);
            }
            Event::PaymentSent { payment_id: Some(id), payment_preimage, fee_paid_msat, .. } => {
                let fee = Msats::new(fee_paid_msat.unwrap_or_default()).unwrap_or(Msats::MAX);
                self.book.succeed(uuid_of(id), Preimage::from_bytes(payment_preimage.0), fee);
            }
            Event::PaymentFailed { payment_id, reason, .. } => {
                self.book.fail(uuid_of(payment_id), failure(reason));
            }
            _ => {}
        }
    }

    /// Accepts a payment that has arrived.
    pub fn accept(&self, hash: PaymentHash) {
        match self.book.incoming(hash).and_then(|payment| payment.preimage) {
            Some(preimage) => self.claim(&preimage),
            None => self.reject(hash),
        }
    }

    /// Takes the payment of this preimage, if it has arrived.
    pub fn claim(&self, preimage: &Preimage) {
        if let Some(preimage) = preimage_bytes(preimage) {
            self.parts.manager.claim_funds(lightning::types::payment::PaymentPreimage(preimage));
        }
    }

    /// Sends a payment that has arrived back to its payer.
    pub fn reject(&self, hash: PaymentHash) {
        let hash = lightning::types::payment::PaymentHash(*hash.as_bytes());
        self.parts.manager.fail_htlc_backwards(&hash);
    }

    fn process_events(self: &Arc<Self>) {
        let handler = Handler(Arc::clone(self));
        self.parts.manager.process_pending_htlc_forwards();
        self.parts.manager.process_pending_events(&handler);
        self.parts.monitor.process_pending_events(&handler);
        self.parts.peers.process_events();
    }
}

struct Handler(Arc<Core>);

impl EventHandler for Handler {
    fn handle_event(&self, event: Event) -> Result<(), ReplayEvent> {
        self.0.handle(event);
        Ok(())
    }
}

async fn accept(core: Arc<Core>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        if let Ok(stream) = stream.into_std() {
            tokio::spawn(lightning_net_tokio::setup_inbound(Arc::clone(&core.parts.peers), stream));
        }
    }
}

async fn process(core: Arc<Core>) {
    loop {
        // Made before the events are processed, so that none is missed.
        let manager = core.parts.manager.get_event_or_persistence_needed_future();
        let monitor = core.parts.monitor.get_update_future();
        core.process_events();
        tokio::select! {
            () = manager => {},
            () = monitor => {},
        }
    }
}

/// LDK's id of a payment is twice as long as ours.
pub fn payment_id(id: Uuid) -> PaymentId {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(id.into_bytes()).for_each(|(to, from)| *to = from);
    PaymentId(bytes)
}

fn uuid_of(id: PaymentId) -> Uuid {
    let half = id.0.first_chunk::<16>().copied().unwrap_or_default();
    Uuid::from_bytes(half)
}

fn preimage_bytes(preimage: &Preimage) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(preimage.reveal(), &mut bytes).ok()?;
    Some(bytes)
}

const fn failure(reason: Option<PaymentFailureReason>) -> FailureReason {
    match reason {
        Some(PaymentFailureReason::RecipientRejected) => FailureReason::Rejected,
        Some(PaymentFailureReason::RouteNotFound) => FailureReason::NoRoute,
        Some(PaymentFailureReason::PaymentExpired) => FailureReason::Expired,
        Some(PaymentFailureReason::RetriesExhausted) => FailureReason::RetriesExhausted,
        _ => FailureReason::Other,
    }
}
