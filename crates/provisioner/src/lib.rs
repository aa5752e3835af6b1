//! What makes nodes: the adapters of [`tithe_bootstrap::Provisioner`].
//!
//! - [`SimProvisioner`] makes no nodes and says that it did. It needs no set-up, and can be instructed to fail;
//! - [`CommandProvisioner`] runs the operator's own program, which can make anything; the [`command`] module documents the
//!   protocol;
//! - [`DigitalOcean`] makes virtual machines ("droplets") at the provider of that name.
//!
//! Each finds the node of an order again by the order's id, whatever happened to the server in the meantime. None keeps a
//! password: it is passed on to the node, and appears in no log line, error or `Debug` output.
//!
//! ```
//! use tithe_bootstrap::{BootstrapId, Order, Progress, Provisioner, RootPassword};
//! use tithe_provisioner::{SimOptions, SimProvisioner};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let provisioner = SimProvisioner::open(folder.path(), SimOptions::default())?;
//! let order = Order {
//!     id: BootstrapId(uuid::uuid!("6f2c1d1e-7a55-4c11-9d0c-0d6f6f5ad0a1")),
//!     plan: "small".to_owned(),
//!     ssh_public_key: None,
//!     root_password: Some(RootPassword::from_random([7; 16])),
//! };
//! let Progress::Ready(node) = provisioner.create(&order).await? else { panic!("not ready") };
//! assert_eq!(node.host, "6f2c1d1e.sim.invalid");
//! assert_eq!(provisioner.find(&order).await?, Some(Progress::Ready(node)));
//! # Ok(())
//! # }
//! ```

pub mod command;
mod credentials;
mod digital_ocean;
mod excerpt;
mod sim;

pub use command::{CommandProvisioner, CommandSettings};
pub use digital_ocean::{
    ApiToken, ApiTokenError, DigitalOcean, DigitalOceanError, DigitalOceanSettings, DropletPlan, SetupScript,
    SetupScriptError,
};
pub use sim::{SimError, SimFault, SimFaults, SimOptions, SimProvisioner};

pub use tithe_bootstrap;
