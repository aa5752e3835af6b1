//! Reconciliation: what the ledger says, beside what the wallet says.
//!
//! The ledger knows only payments of this server, so a wallet may hold more than the ledger says (the operator's own money), and may
//! list payments that are none of ours. It must never hold less: that is a shortfall, stated in msats. Payments in flight may have left
//! the wallet or not; they are a tolerance. A wallet that does not answer is unknown, never empty.

mod compare;
mod service;

pub use compare::{Difference, DifferenceKind};
pub use service::{Balances, Reconciliation, Solvency, WalletReport};
