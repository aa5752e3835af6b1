//! What is deleted, what is to be done, and what is measured, is found by an index that holds only that.

use diesel::prelude::*;
use diesel::sql_types::Text;
use tithe_store_sql::kept_requests::{DUE, TOTAL};
use tithe_store_sql::measurements::{IN_PROGRESS, MOVED};
use tithe_store_sql::retention::{
    CREDITS_GIVEN_BACK, EXPIRED_TEXTS, UNPAID_BOOTSTRAPS, UNPAID_JOBS, UNPAID_SESSIONS,
};
use tithe_store_sql::waiting_jobs::{HELD, ON_HOLD, RUNNABLE};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};

/// A step of a plan.
#[derive(QueryableByName)]
struct PlanStep {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[tokio::test]
async fn what_is_to_be_deleted_or_done_is_found_by_an_index_that_holds_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db").display().to_string();
    drop(SqliteStore::open(&format!("sqlite://{path}"), SqliteSettings::default()).await.unwrap());
    let mut connection = SqliteConnection::establish(&path).unwrap();
    let old = "AND updated_at < ? ORDER BY updated_at";
    let cases = [
        ("jobs", EXPIRED_TEXTS, "", "jobs_expired_texts"),
        ("jobs", UNPAID_JOBS, old, "jobs_unpaid"),
        ("sessions", UNPAID_SESSIONS, old, "sessions_unpaid"),
        ("bootstrap_jobs", UNPAID_BOOTSTRAPS, old, "bootstrap_jobs_unpaid"),
        ("credits", CREDITS_GIVEN_BACK, old, "credits_given_back"),
        ("jobs", HELD, "AND (lease_until IS NULL OR lease_until <= ?) ORDER BY updated_at", "jobs_held"),
        ("jobs", ON_HOLD, "", "jobs_held"),
        (
            "jobs",
            RUNNABLE,
            "AND (lease_until IS NULL OR lease_until <= ?) ORDER BY updated_at",
            "jobs_runnable",
        ),
    ];
    for (table, condition, order, index) in cases {
        let explain = format!("EXPLAIN QUERY PLAN SELECT id FROM {table} WHERE {condition} {order} LIMIT 9");
        let steps: Vec<PlanStep> = diesel::sql_query(explain).load(&mut connection).unwrap();
        let steps: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
        let [step] = &steps[..] else { panic!("{table}: {steps:?}") };
        assert!(step.contains(&format!(" INDEX {index}")), "{table}: {step}");
    }
}

#[tokio::test]
async fn kept_requests_are_found_by_an_index_that_holds_only_open_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db").display().to_string();
    drop(SqliteStore::open(&format!("sqlite://{path}"), SqliteSettings::default()).await.unwrap());
    let mut connection = SqliteConnection::establish(&path).unwrap();
    let due = format!(
        "SELECT session_id FROM kept_requests WHERE {DUE} AND lease_until <= ? ORDER BY updated_at LIMIT 9"
    );
    for statement in [due.as_str(), TOTAL] {
        let explain = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps: Vec<PlanStep> = explain.load(&mut connection).unwrap();
        let steps: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
        let [step] = &steps[..] else { panic!("{statement}: {steps:?}") };
        assert!(step.contains(" INDEX kept_requests_open"), "{statement}: {step}");
    }
}

#[tokio::test]
async fn what_is_measured_is_found_by_indexes_that_hold_nothing_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db").display().to_string();
    drop(SqliteStore::open(&format!("sqlite://{path}"), SqliteSettings::default()).await.unwrap());
    let mut connection = SqliteConnection::establish(&path).unwrap();
    let mut plan = |statement: &str| {
        let explain = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps: Vec<PlanStep> = explain.load(&mut connection).unwrap();
        let steps = steps.into_iter().map(|step| step.detail);
        steps.filter(|step| step.starts_with("SCAN ") || step.starts_with("SEARCH ")).collect::<Vec<_>>()
    };
    let found = plan(&IN_PROGRESS);
    let expected = [
        "jobs_runnable",
        "jobs_held",
        "holds_live",
        "free_tier_reservations_leased",
        "credits_held",
        "invoices_open",
        "payouts_in_flight",
        "obligations_payable",
        "obligations_payable",
        "bootstrap_jobs_open",
        "SEARCH accounts",
        "SEARCH accounts",
        "SEARCH transfers",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (step, index) in found.iter().zip(expected) {
        assert!(step.contains(index), "{index}: {step}");
    }
    let [transfers] = &plan(&MOVED)[..] else { panic!("one table") };
    assert!(transfers.starts_with("SEARCH transfers USING INTEGER PRIMARY KEY"), "{transfers}");
}
