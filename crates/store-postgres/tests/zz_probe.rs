//! PostgreSQL passes the suite.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_test_postgres::TestDatabase;

async fn open(servers: usize) -> (Vec<Arc<dyn Store>>, TestDatabase) {
    let template = format!("tithe_{}", PostgresStore::schema_version());
    let migrate = |url: String| async move {
        PostgresStore::migrate(&url, PostgresSettings::default()).await?;
        Ok(())
    };
    let database = TestDatabase::create(&template, migrate).await;
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..servers {
        let store = PostgresStore::connect(database.url(), PostgresSettings::default()).await.unwrap();
        stores.push(Arc::new(store));
    }
    (stores, database)
}


#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn probe() {
    use tithe_store_suite::model::free_tier::*;
    for seed in 1..=14 {
        let (s, _keep) = open(2).await;
        let t0 = std::time::Instant::now();
        let (_, avg) = race(&s, &Course::tight(), seed, 16, 120).await;
        let report = tithe_engine::audit::audit(s[0].as_ref()).await.unwrap();
        println!("seed {seed}: avg {avg} {:?} {:?}", t0.elapsed(), report.findings.iter().map(|f| f.to_string()).collect::<Vec<_>>());
    }
}

