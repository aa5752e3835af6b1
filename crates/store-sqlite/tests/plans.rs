//! What is deleted is found by an index that holds only that.

use diesel::prelude::*;
use diesel::sql_types::Text;
use tithe_store_sql::retention::{
    CREDITS_GIVEN_BACK, EXPIRED_TEXTS, UNPAID_BOOTSTRAPS, UNPAID_JOBS, UNPAID_SESSIONS,
};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};

/// A step of a plan.
#[derive(QueryableByName)]
struct PlanStep {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[tokio::test]
async fn what_is_to_be_deleted_is_found_by_an_index_that_holds_only_that() {
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
    ];
    for (table, condition, order, index) in cases {
        let explain = format!("EXPLAIN QUERY PLAN SELECT id FROM {table} WHERE {condition} {order} LIMIT 9");
        let steps: Vec<PlanStep> = diesel::sql_query(explain).load(&mut connection).unwrap();
        let steps: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
        let [step] = &steps[..] else { panic!("{table}: {steps:?}") };
        assert!(step.contains(&format!(" INDEX {index}")), "{table}: {step}");
    }
}
