//! A Lightning node put together from LDK's parts: in memory, on our chain.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, RwLock};

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use lightning::chain::chaininterface::{ConfirmationTarget, FeeEstimator};
use lightning::chain::chainmonitor::{ChainMonitor, Persist};
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::{BestBlock, ChannelMonitorUpdateStatus, Filter, Listen};
use lightning::ln::channelmanager::{ChainParameters, ChannelManager};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::FixedPenaltyScorer;
use lightning::routing::utxo::UtxoLookup;
use lightning::sign::{InMemorySigner, KeysManager, NodeSigner, Recipient};
use lightning::util::config::{ChannelConfig, ChannelHandshakeConfig, MaxDustHTLCExposure, UserConfig};
use lightning::util::logger::{Level, Logger, Record};
use lightning::util::persist::MonitorName;
use lightning_net_tokio::SocketDescriptor;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};

use crate::chain::Chain;
use crate::{LightningError, RoutingFee};

/// Set to anything, it lets LDK's warnings and errors through to standard error; `debug` lets everything through.
const LOG_VARIABLE: &str = "TITHE_TEST_LIGHTNING_LOG";

/// The least fee rate that the network relays. Nobody competes for the space in our blocks.
const SATS_PER_KILOWEIGHT: u32 = 253;

/// The most payments that a channel may have in flight in one direction (BOLT 2).
const MOST_IN_FLIGHT: u16 = 483;

/// Small payments are outputs too small to claim ("dust"). A node limits what they may amount to; ours trust each other.
const DUST_LIMIT_MSATS: u64 = 10_000_000_000;

/// A channel's reserve in millionths of its capacity.
const RESERVE_MILLIONTHS: u32 = 10_000;

type Graph = NetworkGraph<Arc<Log>>;
type Pathfinder = DefaultRouter<
    Arc<Graph>,
    Arc<Log>,
    Arc<KeysManager>,
    Arc<RwLock<FixedPenaltyScorer>>,
    (),
    FixedPenaltyScorer,
>;
type OnionRouter = DefaultMessageRouter<Arc<Graph>, Arc<Log>, Arc<KeysManager>>;
type Gossip = P2PGossipSync<Arc<Graph>, Arc<dyn UtxoLookup + Send + Sync>, Arc<Log>>;

/// Watches the chain for a node's channels.
pub type Monitor = ChainMonitor<
    InMemorySigner,
    Arc<dyn Filter + Send + Sync>,
    Arc<Chain>,
    Arc<FixedFees>,
    Arc<Log>,
    Arc<Memory>,
    Arc<KeysManager>,
>;

/// A node's channels and payments.
pub type Manager = ChannelManager<
    Arc<Monitor>,
    Arc<Chain>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<FixedFees>,
    Arc<Pathfinder>,
    Arc<OnionRouter>,
    Arc<Log>,
>;

/// A node's connections.
pub type Peers = PeerManager<
    SocketDescriptor,
    Arc<Manager>,
    Arc<Gossip>,
    IgnoringMessageHandler,
    Arc<Log>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    IgnoringMessageHandler,
>;

/// The parts of a node.
pub struct Parts {
    pub id: PublicKey,
    pub monitor: Arc<Monitor>,
    pub manager: Arc<Manager>,
    pub peers: Arc<Peers>,
}

impl Parts {
    /// A new node on the chain. It forwards payments for the fee.
    pub fn assemble(name: &'static str, chain: &Arc<Chain>, fee: RoutingFee) -> Result<Self, LightningError> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let now = u32::try_from(SystemClock.now().unix_seconds()).unwrap_or(u32::MAX);
        let keys = Arc::new(KeysManager::new(&entropy.bytes::<32>(), u64::from(now), 0, true));
        let id = keys.get_node_id(Recipient::Node).map_err(|()| LightningError::Ldk {
            doing: "deriving a node's key",
            reason: "no key".to_owned(),
        })?;
        let log = Arc::new(Log::of(name));
        let fees = Arc::new(FixedFees);
        let monitor = Arc::new(Monitor::new(
            None,
            Arc::clone(chain),
            Arc::clone(&log),
            Arc::clone(&fees),
            Arc::new(Memory),
            Arc::clone(&keys),
            keys.get_peer_storage_key(),
        ));
        let graph = Arc::new(Graph::new(Network::Regtest, Arc::clone(&log)));
        let pathfinder = Pathfinder::new(
            Arc::clone(&graph),
            Arc::clone(&log),
            Arc::clone(&keys),
            Arc::new(RwLock::new(FixedPenaltyScorer::with_penalty(0))),
            (),
        );
        let onion_router = OnionRouter::new(Arc::clone(&graph), Arc::clone(&keys));
        let manager = |best_block: BestBlock| {
            Manager::new(
                Arc::clone(&fees),
                Arc::clone(&monitor),
                Arc::clone(chain),
                Arc::new(pathfinder),
                Arc::new(onion_router),
                Arc::clone(&log),
                Arc::clone(&keys),
                Arc::clone(&keys),
                Arc::clone(&keys),
                user_config(fee),
                ChainParameters { network: Network::Regtest, best_block },
                now,
            )
        };
        let manager = chain.listen(|best_block| {
            let manager = Arc::new(manager(best_block));
            let listeners: [Arc<dyn Listen + Send + Sync>; 2] = [manager.clone(), monitor.clone()];
            (manager, listeners.iter().map(Arc::downgrade).collect())
        });
        let handlers = MessageHandler {
            chan_handler: Arc::clone(&manager),
            route_handler: Arc::new(Gossip::new(Arc::clone(&graph), None, Arc::clone(&log))),
            onion_message_handler: IgnoringMessageHandler {},
            custom_message_handler: IgnoringMessageHandler {},
            send_only_message_handler: IgnoringMessageHandler {},
        };
        let peers = Arc::new(Peers::new(handlers, now, &entropy.bytes::<32>(), log, keys));
        Ok(Self { id, monitor, manager, peers })
    }
}

fn user_config(fee: RoutingFee) -> UserConfig {
    UserConfig {
        channel_handshake_config: ChannelHandshakeConfig {
            minimum_depth: 1,
            max_inbound_htlc_value_in_flight_percent_of_channel: 100,
            their_channel_reserve_proportional_millionths: RESERVE_MILLIONTHS,
            our_max_accepted_htlcs: MOST_IN_FLIGHT,
            // An anchor is an output that belongs to nobody's balance, and would be missing from the sum.
            negotiate_anchors_zero_fee_htlc_tx: false,
            negotiate_anchor_zero_fee_commitments: false,
            ..ChannelHandshakeConfig::default()
        },
        accept_forwards_to_priv_channels: true,
        channel_config: ChannelConfig {
            forwarding_fee_base_msat: fee.base_msats,
            forwarding_fee_proportional_millionths: fee.millionths,
            max_dust_htlc_exposure: MaxDustHTLCExposure::FixedLimitMsat(DUST_LIMIT_MSATS),
            ..ChannelConfig::default()
        },
        ..UserConfig::default()
    }
}

/// Fees for transactions that are never in a hurry.
pub struct FixedFees;

impl FeeEstimator for FixedFees {
    fn get_est_sat_per_1000_weight(&self, _: ConfirmationTarget) -> u32 {
        SATS_PER_KILOWEIGHT
    }
}

/// Keeps channels in memory only: no node is ever restarted.
pub struct Memory;

impl Persist<InMemorySigner> for Memory {
    fn persist_new_channel(
        &self,
        _: MonitorName,
        _: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _: MonitorName,
        _: Option<&ChannelMonitorUpdate>,
        _: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _: MonitorName) {}
}

/// Writes LDK's log to standard error, if the variable is set.
pub struct Log {
    node: &'static str,
    least: Option<Level>,
}

impl Log {
    fn of(node: &'static str) -> Self {
        let wanted = std::env::var_os(LOG_VARIABLE).filter(|wanted| !wanted.is_empty());
        let least = wanted.map(|wanted| if wanted == "debug" { Level::Trace } else { Level::Warn });
        Self { node, least }
    }
}

impl Logger for Log {
    fn log(&self, record: Record<'_>) {
        if self.least.is_some_and(|least| record.level >= least) {
            let _ = writeln!(std::io::stderr(), "{} {} {}", self.node, record.level, record.args);
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("id", &self.id).finish_non_exhaustive()
    }
}
