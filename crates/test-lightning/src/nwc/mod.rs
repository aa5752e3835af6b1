//! Nostr Wallet Connect: a relay, and a wallet service over a node.

mod cipher;
mod fault;
mod methods;
mod options;
mod relay;
mod relay_state;
mod service;
mod transaction;

pub use cipher::NwcEncryption;
pub use fault::{NwcFault, NwcFaults};
pub use options::NwcOptions;
pub use relay::NostrRelay;
pub use service::NwcService;
