//! The paid provisioning of a node, as pure functions, and the port to what makes nodes.
//!
//! `awaiting_payment → provisioning → ready | failed`, or `expired`. A [`Bootstrap`] is one order with its steps. A node is never made
//! twice for one payment: the step [`Bootstrap::begun`] is stored before the provisioner is called, and whoever finds it stored
//! looks the node up instead of making one. If that does not lead to a node in time, the customer is refunded, and a node that turns up
//! later is destroyed.
//!
//! Nothing here reads a clock or a database: a function takes a value and the time, and returns the next value or the reason why
//! there is none.
//!
//! # Features
//!
//! `serde` serializes orders, nodes and everything that is stored; `ports` has the ports `Provisioner` and `BootstrapRepository`
//! (`async-trait`). Neither is on by default.

mod bootstrap;
mod node;
mod order;
#[cfg(feature = "ports")]
mod provisioner;
#[cfg(feature = "ports")]
mod repository;
mod ssh_key;
mod state;

pub use bootstrap::{Bootstrap, BootstrapError, Claim, NewBootstrap};
pub use node::{Credentials, InvalidNode, Node};
pub use order::{BootstrapId, Order, RootPassword};
#[cfg(feature = "ports")]
pub use provisioner::{CreateError, Destroyed, LookupError, NoProvisioner, Progress, Provisioner};
#[cfg(feature = "ports")]
pub use repository::BootstrapRepository;
pub use ssh_key::{InvalidSshPublicKey, SshPublicKey};
pub use state::{BootstrapState, StateName, UnknownState};

pub use tithe_clock;
pub use tithe_lightning;
pub use tithe_money;
pub use tithe_trust;
pub use uuid;
