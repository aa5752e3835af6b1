//! A server of an older release beside jobs whose payment is held; and how those are found.

use crate::{client, database, server};
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_sql::waiting_jobs::{HELD, ON_HOLD, RUNNABLE};
use tithe_store_suite::cases::held_jobs::{WRITTEN_BY_AN_OLDER_RELEASE, a_job_of_each_step};

#[tokio::test]
async fn a_server_of_an_older_release_can_neither_claim_nor_end_a_job_whose_payment_is_held() {
    let database = database().await;
    let store: Arc<dyn Store> = Arc::new(server(database.url()).await);
    let jobs = a_job_of_each_step(&store).await;
    let older = client(database.url()).await;
    let claimable = format!("SELECT id FROM jobs WHERE {RUNNABLE}");
    assert_eq!(older.query(&claimable, &[]).await.unwrap().len(), 0);
    let [held, settling, cancelling, waiting] = &jobs;
    for written in WRITTEN_BY_AN_OLDER_RELEASE {
        for job in [held, settling, cancelling] {
            let update = format!("UPDATE jobs SET {written} WHERE id = '{}'", job.id);
            let refused = older.batch_execute(&update).await.unwrap_err();
            assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::CHECK_VIOLATION), "{refused}");
        }
    }
    let answer = format!("UPDATE jobs SET result = NULL WHERE id = '{}'", settling.id);
    assert!(older.batch_execute(&answer).await.is_err());
    for job in &jobs {
        assert_eq!(store.job(job.id).await.unwrap().as_ref(), Some(job));
    }
    let update = format!("UPDATE jobs SET state = 'expired' WHERE id = '{}'", waiting.id);
    older.batch_execute(&update).await.unwrap();
}

#[tokio::test]
async fn held_payments_are_found_by_an_index_that_holds_only_those() {
    let database = database().await;
    let client = client(database.url()).await;
    client.batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();
    let claimed = format!(
        "SELECT * FROM jobs WHERE {HELD} AND (lease_until IS NULL OR lease_until <= 7) \
         ORDER BY updated_at LIMIT 9 FOR UPDATE SKIP LOCKED"
    );
    for statement in [claimed, format!("SELECT COUNT(*) FROM jobs WHERE {ON_HOLD}")] {
        let plan = client.query(&format!("EXPLAIN {statement}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
        assert!(plan.iter().any(|line| line.contains("jobs_held")), "{plan:#?}");
        assert!(plan.iter().all(|line| !line.contains("Sort")), "{plan:#?}");
    }
}
