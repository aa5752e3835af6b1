//! Networks of nodes whose channels are ready.

use std::fmt;
use std::sync::Arc;

use tithe_money::{Msats, Sats};

use crate::background::Background;
use crate::chain::Chain;
use crate::core::Core;
use crate::patience::eventually;
use crate::{LightningError, LightningNode, RoutingFee};

/// The confirmations that a channel gets.
const CONFIRMATIONS: usize = 6;

/// The shares of a channel when it opens. Each is more than the reserve that its owner cannot spend, 1 % of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelShares {
    /// The share of the node that is nearer to the customer, which opens the channel and pays for its transactions.
    pub customer_side: Sats,
    /// The share of the node that is nearer to the merchant.
    pub merchant_side: Sats,
}

impl Default for ChannelShares {
    /// 6 million and 4 million sats.
    fn default() -> Self {
        let sats = |sats| Sats::new(sats).unwrap_or(Sats::MAX);
        Self { customer_side: sats(6_000_000), merchant_side: sats(4_000_000) }
    }
}

/// Two real Lightning nodes, `merchant` and `customer`, with one channel between them: payments cost no routing fee.
///
/// Everything is in memory, in this process, and ends when the pair is dropped.
pub struct LightningPair {
    merchant: LightningNode,
    customer: LightningNode,
    chain: Arc<Chain>,
    _background: Background,
}

impl LightningPair {
    /// Starts a pair with balance on both sides. It takes well under a second.
    pub async fn start() -> Result<Self, LightningError> {
        Self::start_with(ChannelShares::default()).await
    }

    /// Starts a pair with the given shares.
    pub async fn start_with(shares: ChannelShares) -> Result<Self, LightningError> {
        let background = Background::start()?;
        let chain = Chain::start();
        let ours = Arc::clone(&chain);
        let nodes = background.run(async move {
            let merchant = Core::start("merchant", &ours, RoutingFee::NONE).await?;
            let customer = Core::start("customer", &ours, RoutingFee::NONE).await?;
            open(&customer, &merchant, shares).await?;
            Ok((LightningNode(merchant), LightningNode(customer)))
        });
        let (merchant, customer) = nodes.await?;
        Ok(Self { merchant, customer, chain, _background: background })
    }

    /// The node that sells.
    #[must_use]
    pub const fn merchant(&self) -> &LightningNode {
        &self.merchant
    }

    /// The node that buys.
    #[must_use]
    pub const fn customer(&self) -> &LightningNode {
        &self.customer
    }

    /// The chain of both nodes.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Waits until no payment is in flight. The balances of both nodes then add up to the channel's capacity.
    pub async fn settle(&self) -> Result<(), LightningError> {
        self.merchant.settle().await?;
        self.customer.settle().await
    }
}

/// Three real Lightning nodes in a line: `customer`, `router`, `merchant`. The router charges for forwarding payments.
/// Its channels are not announced: invoices contain the last hop, as those of phoenixd do.
///
/// Everything is in memory, in this process, and ends when the line is dropped.
pub struct LightningLine {
    merchant: LightningNode,
    router: LightningNode,
    customer: LightningNode,
    chain: Arc<Chain>,
    _background: Background,
}

impl LightningLine {
    /// Starts a line whose router charges the fee. It takes about a second.
    pub async fn start(fee: RoutingFee) -> Result<Self, LightningError> {
        Self::start_with(fee, ChannelShares::default()).await
    }

    /// Starts a line whose two channels have the given shares.
    pub async fn start_with(fee: RoutingFee, shares: ChannelShares) -> Result<Self, LightningError> {
        let background = Background::start()?;
        let chain = Chain::start();
        let ours = Arc::clone(&chain);
        let nodes = background.run(async move {
            let merchant = Core::start("merchant", &ours, RoutingFee::NONE).await?;
            let router = Core::start("router", &ours, fee).await?;
            let customer = Core::start("customer", &ours, RoutingFee::NONE).await?;
            open(&customer, &router, shares).await?;
            open(&router, &merchant, shares).await?;
            Ok((LightningNode(merchant), LightningNode(router), LightningNode(customer)))
        });
        let (merchant, router, customer) = nodes.await?;
        Ok(Self { merchant, router, customer, chain, _background: background })
    }

    /// The node that sells.
    #[must_use]
    pub const fn merchant(&self) -> &LightningNode {
        &self.merchant
    }

    /// The node between the other two.
    #[must_use]
    pub const fn router(&self) -> &LightningNode {
        &self.router
    }

    /// The node that buys.
    #[must_use]
    pub const fn customer(&self) -> &LightningNode {
        &self.customer
    }

    /// The chain of all nodes.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Waits until no payment is in flight. The balances of all nodes then add up to the channels' capacities.
    pub async fn settle(&self) -> Result<(), LightningError> {
        self.merchant.settle().await?;
        self.router.settle().await?;
        self.customer.settle().await
    }
}

impl fmt::Debug for LightningPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightningPair").finish_non_exhaustive()
    }
}

impl fmt::Debug for LightningLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightningLine").finish_non_exhaustive()
    }
}

/// Opens a channel from a node to the one that is nearer to the merchant, and waits until it can be used.
async fn open(from: &Arc<Core>, to: &Arc<Core>, shares: ChannelShares) -> Result<(), LightningError> {
    from.connect(to).await?;
    let capacity = shares.customer_side.to_msats().checked_add(shares.merchant_side.to_msats())?;
    from.parts
        .manager
        .create_channel(
            to.parts.id,
            capacity.to_sats_rounding_down().get(),
            shares.merchant_side.to_msats().get(),
            0,
            None,
            None,
        )
        .map_err(|error| LightningError::Ldk { doing: "opening a channel", reason: format!("{error:?}") })?;
    eventually("the channel's funding is broadcast", || {
        let channels = from.parts.manager.list_channels_with_counterparty(&to.parts.id);
        let funding = channels.iter().find_map(|channel| channel.funding_txo);
        funding.is_some_and(|output| from.chain.mempool_has(output.txid))
    })
    .await?;
    from.chain.mine(CONFIRMATIONS);
    // Invoices contain the terms of forwarding, because the channels are not announced.
    let usable = |node: &Core, peer: &Core| {
        let channels = node.parts.manager.list_channels_with_counterparty(&peer.parts.id);
        channels.iter().any(|channel| channel.is_usable && channel.counterparty.forwarding_info.is_some())
    };
    eventually("the channel can be used", || usable(from, to) && usable(to, from)).await?;
    let balance_known = |node: &Arc<Core>, share: Sats| {
        let channels = LightningNode(Arc::clone(node)).channels();
        channels.iter().any(|channel| channel.balance == share.to_msats())
    };
    // A share below the reserve would be reported as the reserve.
    let exact = balance_known(from, shares.customer_side) && balance_known(to, shares.merchant_side);
    if exact { Ok(()) } else { Err(LightningError::Options("a share is below the channel's reserve")) }
}

/// The balances of some nodes together.
#[must_use]
pub fn total_balance(nodes: &[&LightningNode]) -> Msats {
    nodes.iter().fold(Msats::ZERO, |sum, node| sum.checked_add(node.balance()).unwrap_or(Msats::MAX))
}
