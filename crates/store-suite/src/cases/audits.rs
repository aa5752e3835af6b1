//! The audit sees everything.

use super::{FreshStore, assert_sound};
use crate::command::Command;
use crate::people::{charge, pubkey, raise, reserve};
use crate::scene::{START, Stage, accepted, commit, fund, job_at, msats};
use futures_util::StreamExt;
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

/// Each row of each table, once, also beyond the first page; and those that say what grants should be before the first
/// grant.
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
    commit(store.as_ref(), (0..holds).map(place).collect(), START).await;
    let people = 1_050_u32;
    raise(store.as_ref(), 0..people, 10, START).await;
    let granted = (0..people).map(|who| charge(who.into(), who, 1, 1)).collect();
    let reserved = (0..people).map(|who| reserve(who.into(), who, 1)).collect();
    for outcomes in
        [commit(store.as_ref(), granted, START).await, commit(store.as_ref(), reserved, START).await]
    {
        assert!(outcomes.iter().all(Result::is_ok));
    }
    let mut seen = std::collections::HashSet::new();
    let mut counts = [0_u128; 10];
    let mut rows = store.audit_rows().await.unwrap();
    while let Some(row) = rows.next().await {
        let row = row.unwrap();
        assert!(seen.insert(format!("{row:?}")), "{row:?} is seen twice");
        let kind = match row {
            AuditRow::Transfer(_) => 0,
            AuditRow::Account(_) => 1,
            AuditRow::Hold(_) => 2,
            AuditRow::Invoice(_) => 3,
            AuditRow::Job(_) => 4,
            AuditRow::Identity(_) => 5,
            AuditRow::Reservation(_) => 6,
            AuditRow::PoolCounters(_) => 7,
            AuditRow::Grant(_) => 8,
            AuditRow::Obligation(_) => 9,
            AuditRow::Payout(row) => panic!("{row:?}"),
            AuditRow::Session(row) => panic!("{row:?}"),
            AuditRow::KeptRequest(row) => panic!("{row:?}"),
            AuditRow::SessionRequest(row) => panic!("{row:?}"),
            AuditRow::Bootstrap(row) => panic!("{row:?}"),
            AuditRow::Install(row) => panic!("{row:?}"),
            AuditRow::Credit(row) => panic!("{row:?}"),
            AuditRow::Unreadable { subject, problem } => panic!("{subject}: {problem}"),
        };
        assert!(
            counts[8] == 0 || !(5..8).contains(&kind),
            "a grant is seen before all that it is checked against"
        );
        counts[kind] += 1;
    }
    let people = u128::from(people);
    // For each job: two payments, two charges, a tithe, a refund, and (the amounts are odd) a rounding.
    // For each person: what is in their account, its charge, a grant.
    let transfers = 1 + 3 * 7 + 3 * people;
    assert_eq!(counts, [transfers, 4 + people, holds, 6, 3, people, people, 1, people, 3]);
    assert_sound(&store).await;
    assert_eq!(store.identity(pubkey(1_049)).await.unwrap().unwrap().window.absorbed, msats(1));
}
