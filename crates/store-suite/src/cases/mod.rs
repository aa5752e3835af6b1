//! The cases. Each takes a fresh store.

pub mod ask_servers;
pub mod asks;
pub mod audits;
pub mod bootstraps;
pub mod credits;
pub mod declarations;
pub mod deposits;
pub mod free_tier;
pub mod growth;
pub mod held_jobs;
pub mod identities;
pub mod imports;
pub mod invoices;
pub mod jobs;
pub mod kept_requests;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod measurements;
pub mod one_request;
mod owing;
pub mod payout_audits;
pub mod payout_servers;
pub mod payouts;
pub mod pool;
pub mod pool_jobs;
pub mod random;
pub mod registry;
pub mod retention;
pub mod servers;
pub mod sessions;
pub mod texts;
pub mod totals;
pub mod vocabulary;
mod watch;

use futures_util::StreamExt;
use std::sync::Arc;
use tithe_engine::store::{AuditRow, Store};

/// A fresh, empty store.
pub type FreshStore = Arc<dyn Store>;

/// Fails with every finding of the audit.
async fn assert_sound(store: &FreshStore) {
    let report = tithe_engine::audit::audit(store.as_ref()).await.unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings, Vec::<String>::new());
}

/// Everything that the audit sees, in an order that is the same for every store.
async fn rows(store: &FreshStore) -> Vec<AuditRow> {
    let rows = store.audit_rows().await.unwrap();
    let mut rows: Vec<AuditRow> = rows.map(Result::unwrap).collect().await;
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    rows
}
