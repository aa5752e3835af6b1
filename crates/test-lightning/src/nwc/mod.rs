//! Nostr Wallet Connect: a relay, and a wallet service over a node.

mod cipher;
mod fault;
mod methods;
mod relay;
mod relay_state;
mod service;
mod transaction;

pub use cipher::NwcEncryption;
pub use fault::{NwcFault, NwcFaults};
pub use relay::NostrRelay;
pub use service::{NwcOptions, NwcService};
