//! The servers on one database: each says what it runs with, and compares itself with the others.
//!
//! Servers on one database know nothing of each other but what is in it. Two that do not share a secret, or a wallet, refuse what the
//! other one has signed, or look for payments where they were not made; with other prices or budgets, the answer depends on which
//! server the load balancer chooses. Nothing fails at that moment, so nobody would notice. Therefore each server keeps a record of what
//! all of them must share ([`SharedSettings`]), and reports every difference from those of the others that run.

mod service;
mod shared;

pub(crate) use service::INTERVAL;
pub use service::{JoinError, Peer, Servers};
pub use shared::{Difference, SharedSettings};
