//! The audit sees everything.

use super::{FreshStore, assert_sound};
use crate::model;
use crate::scene::{START, Stage, accepted, fund, job_at, msats};
use futures_util::StreamExt;
use tithe_engine::commands::Command;
use tithe_engine::store::AuditRow;
use tithe_ledger::{AccountId, HoldId};
use uuid::Uuid;

/// Jobs at every stage.
pub async fn a_sound_store_has_no_findings(store: FreshStore) {
    assert_sound(&store).await;
    for (n, stage) in
        (0..).zip([Stage::Invoiced, Stage::Evaluating, Stage::Accepted, Stage::Executing, Stage::Complete])
    {
        job_at(store.as_ref(), n, stage, START).await;
        assert_sound(&store).await;
    }
}

/// Each row of each table, once, also beyond the first page.
pub async fn every_row_is_seen_once(store: FreshStore) {
    accepted(store.as_ref(), fund(AccountId::Pool, msats(1_000_000)), START).await;
    for n in 0..3_u8 {
        job_at(store.as_ref(), n, Stage::Complete, START).await;
    }
    let holds = 1_100;
    let place = |n| {
        let hold = HoldId(Uuid::from_u128(n));
        let lease = std::time::Duration::from_mins(1);
        Command::HoldPlace { hold, account: AccountId::Pool, amount: msats(1), lease }
    };
    crate::scene::commit(store.as_ref(), (0..holds).map(place).collect(), START).await;
    let mut counts = [0_u128; 5];
    let mut rows = store.audit_rows().await.unwrap();
    while let Some(row) = rows.next().await {
        let kind = match row.unwrap() {
            AuditRow::Transfer(_) => 0,
            AuditRow::Account(_) => 1,
            AuditRow::Hold(_) => 2,
            AuditRow::Invoice(_) => 3,
            AuditRow::Job(_) => 4,
            AuditRow::Unreadable { subject, problem } => panic!("{subject}: {problem}"),
        };
        counts[kind] += 1;
    }
    // For each job: two payments, two charges, a refund, and (the amounts are odd) a rounding.
    assert_eq!(counts, [1 + 3 * 6, 4, holds, 6, 3]);
}

/// Whatever is asked in whatever order, the store, the books and a naive reference agree, and the audit finds nothing.
pub async fn random_commands_match_the_reference(store: FreshStore) {
    for seed in 0..6 {
        model::drive(store.clone(), seed, 60).await;
    }
    assert_sound(&store).await;
}
