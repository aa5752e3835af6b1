//! Whether the services behind mounted routes can be reached. They are not called: a call may cost something.

use super::probe::Probe;
use crate::adapters::mount;
use crate::chain;
use crate::config::{Config, MountConfig};
use futures_util::future::join_all;

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    ("mounts", async move { join_all(config.mounts.iter().map(probe_one)).await })
}

async fn probe_one(config: &MountConfig) -> Probe {
    let (subject, path, upstream) = ("mount", &config.path, &config.upstream);
    match mount(config) {
        Ok(mount) if mount.upstream.is_reachable().await => Probe::ok(subject, format!("{path}: {upstream}")),
        Ok(_) => Probe::failed(
            subject,
            format!("{path}: no connection to {upstream}; until there is one, nothing is sold here (503)"),
        ),
        Err(wrong) => Probe::failed(subject, format!("{path}: {}", chain(wrong.as_ref()))),
    }
}
