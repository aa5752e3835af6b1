//! Real Lightning nodes on a private chain, for tests.
//!
//! - [`LightningPair`] is a merchant and a customer with a channel between them. [`LightningLine`] has a router between the
//!   two, which charges for its service. The nodes are LDK's; they speak the Lightning protocol to each other over loopback
//!   connections, on a regtest chain in memory. A pair is ready in a tenth of a second, so every test can have its own.
//! - [`PhoenixdApi`] is the HTTP API of phoenixd over a node, and [`LnbitsServer`] a real LNbits over that.
//! - [`NwcService`] is a wallet service of Nostr Wallet Connect over a node, and [`NostrRelay`] the relay for it.
//! - Hold invoices are LDK's own: [`LightningNode::create_hold_invoice`]. Their payments are held until they are settled or
//!   cancelled, or until so many blocks are mined that LDK gives them back.
//! - Faults are switched on and off while a test runs: see [`FaultSwitch`], [`NwcFaults`] and [`LightningNode::hold`].
//! - The program `lightning-lab` runs all of it for another process.
//!
//! Everything runs on threads of its own and ends when it is dropped. `TITHE_TEST_LIGHTNING_LOG=1` in the environment shows the nodes'
//! warnings, and `debug` everything they log.
//!
//! ```
//! use std::time::Duration;
//! use tithe_money::Msats;
//! use tithe_test_lightning::{LightningPair, PayTerms};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = LightningPair::start().await?;
//! let before = pair.merchant().balance();
//! let price = Msats::new(21_001)?;
//! let invoice = pair.merchant().create_invoice(Some(price), "a cup of coffee", Duration::from_mins(10))?;
//! let payment = pair.customer().pay(&invoice, PayTerms::default()).await?;
//! let (preimage, _fee) = payment.succeeded().ok_or("it failed")?;
//! assert_eq!(preimage.payment_hash(), invoice.payment_hash());
//!
//! pair.settle().await?;
//! assert_eq!(pair.merchant().balance(), before.checked_add(price)?);
//! # Ok(())
//! # }
//! ```

mod background;
mod book;
mod chain;
mod core;
mod error;
mod fault;
mod fee;
mod guardian;
mod hold;
mod http;
mod ldk;
mod lnbits;
mod loopback;
mod network;
mod node;
mod nwc;
mod patience;
mod payment;
mod phoenixd;

pub use chain::Chain;
pub use error::{HoldError, LightningError, PayError};
pub use fault::{Fault, FaultSwitch, RequestKind};
pub use fee::RoutingFee;
pub use lnbits::{LnbitsError, LnbitsServer, LnbitsWallet};
pub use network::{ChannelShares, LightningLine, LightningPair, total_balance};
pub use node::{Channel, InvoiceDescription, LightningNode, PayTerms};
pub use nwc::{NostrRelay, NwcEncryption, NwcFault, NwcFaults, NwcOptions, NwcService};
pub use payment::{
    FailureReason, Hold, HoldState, IncomingPayment, OutgoingPayment, OutgoingState, PaymentEvent, Received,
};
pub use phoenixd::{Keep, PhoenixdApi};
