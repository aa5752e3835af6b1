//! A server of an older release beside jobs whose payment is held.

use diesel::prelude::*;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_sql::waiting_jobs::RUNNABLE;
use tithe_store_sqlite::{SqliteSettings, SqliteStore};
use tithe_store_suite::cases::held_jobs::{WRITTEN_BY_AN_OLDER_RELEASE, a_job_of_each_step};

#[tokio::test]
async fn a_server_of_an_older_release_can_neither_claim_nor_end_a_job_whose_payment_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db").display().to_string();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&format!("sqlite://{path}"), SqliteSettings::default()).await.unwrap());
    let jobs = a_job_of_each_step(&store).await;
    let mut connection = SqliteConnection::establish(&path).unwrap();
    let claimable = diesel::sql_query(format!("UPDATE jobs SET claims = claims WHERE {RUNNABLE}"));
    assert_eq!(claimable.execute(&mut connection).unwrap(), 0);
    let [held, settling, cancelling, waiting] = &jobs;
    for written in WRITTEN_BY_AN_OLDER_RELEASE {
        for job in [held, settling, cancelling] {
            let update = format!("UPDATE jobs SET {written} WHERE id = '{}'", job.id);
            let refused = diesel::sql_query(update).execute(&mut connection).unwrap_err();
            assert!(refused.to_string().contains("CHECK constraint failed"), "{refused}");
        }
    }
    let answer = format!("UPDATE jobs SET result = NULL WHERE id = '{}'", settling.id);
    assert!(diesel::sql_query(answer).execute(&mut connection).is_err());
    for job in &jobs {
        assert_eq!(store.job(job.id).await.unwrap().as_ref(), Some(job));
    }
    let update = format!("UPDATE jobs SET state = 'expired' WHERE id = '{}'", waiting.id);
    assert_eq!(diesel::sql_query(update).execute(&mut connection).unwrap(), 1);
}
