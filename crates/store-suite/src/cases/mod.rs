//! The cases. Each takes a fresh store.

pub mod audits;
pub mod invoices;
pub mod jobs;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod servers;

use std::sync::Arc;
use tithe_engine::store::Store;

/// A fresh, empty store.
pub type FreshStore = Arc<dyn Store>;

/// Fails with every finding of the audit.
async fn assert_sound(store: &FreshStore) {
    let report = tithe_engine::audit::audit(store.as_ref()).await.unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings, Vec::<String>::new());
}
