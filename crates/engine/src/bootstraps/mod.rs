//! Bootstraps: nodes that are bought, made by a provisioner.
//!
//! Creating one is a saga (`purchases`). Once it is paid for, a worker claims it and takes these steps:
//!
//! 1. `BootstrapAdvance` (begin) is committed: from now on the provisioner may be making the node.
//! 2. The provisioner is called, with an order that carries the bootstrap's id.
//! 3. `BootstrapFinish` is committed: the node with its encrypted credentials, and the settlement of what was paid; or the failure,
//!    and the refund.
//!
//! A crash between 1 and 3 leaves a bootstrap that has begun: whoever claims it next never calls the provisioner to make a node, but
//! looks the node up. So no payment gets two nodes. Only when the provisioner says that it has certainly made nothing is the first
//! step taken back. If there is no node in time, the customer is refunded, and the provisioner is called to destroy what it may have
//! made, until it says that there is nothing.
//!
//! The credentials are encrypted at rest, shown once to the claim token, and forgotten in the commit before they are shown.

mod bootstrap_abandon;
mod bootstrap_advance;
mod bootstrap_claim;
mod bootstrap_create;
mod bootstrap_deliver;
mod bootstrap_finish;
mod create;
mod health;
mod owner;
mod plan;
mod provisioning;
mod seal;
mod service;
mod steps;
mod sweep;
mod view;
mod worker;

pub use bootstrap_abandon::BootstrapAbandon;
pub use bootstrap_advance::{BootstrapAdvance, BootstrapStep};
pub use bootstrap_claim::BootstrapClaim;
pub use bootstrap_create::BootstrapCreate;
pub use bootstrap_deliver::BootstrapDeliver;
pub use bootstrap_finish::{BootstrapFinish, BootstrapOutcome};
pub use create::{CreatedBootstrap, NewBootstrapRequest, RenderBootstrap};
pub use owner::{BootstrapOwner, BootstrapOwners};
pub use plan::BootstrapPlan;
pub use service::Bootstraps;
pub use view::{BootstrapView, NodeView};
