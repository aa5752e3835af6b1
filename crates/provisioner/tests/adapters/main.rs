//! The adapters: the simulation in a folder, the command with real scripts, and `DigitalOcean` with a server on this machine.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod command;
mod digital_ocean;
mod sim;

use tithe_bootstrap::{BootstrapId, Node, Order, Progress, RootPassword};

const ID: &str = "6f2c1d1e-7a55-4c11-9d0c-0d6f6f5ad0a1";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+3KZ3Zq2B1n2l8tKk1k5m3wYcV0x0u8n6lq7m8Qm0a";
const PASSWORD: &str = "07070707070707070707070707070707";

/// An order whose customer gave no key.
fn order() -> Order {
    Order {
        id: ID.parse().unwrap(),
        plan: "small".to_owned(),
        ssh_public_key: None,
        root_password: Some(RootPassword::from_random([7; 16])),
    }
}

/// An order whose customer gave a key.
fn order_with_key() -> Order {
    Order { ssh_public_key: Some(KEY.parse().unwrap()), root_password: None, ..order() }
}

fn id() -> BootstrapId {
    order().id
}

/// The host and the credentials, as `host name=value …`.
fn shown(node: &Node) -> String {
    let credentials = node.credentials.0.iter().map(|(name, value)| format!(" {name}={value}"));
    format!("{}{}", node.host, credentials.collect::<String>())
}

fn ready(progress: Progress) -> String {
    let Progress::Ready(node) = progress else { panic!("not ready: {progress:?}") };
    shown(&node)
}
