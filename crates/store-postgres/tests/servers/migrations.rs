//! Tables are brought up to date once, by whoever comes first.

use crate::server;
use std::path::Path;
use tithe_engine::store::BatchStore;
use tithe_store_postgres::{OpenError, PostgresSettings, PostgresStore};
use tithe_test_postgres::TestDatabase;

/// A database without tables.
async fn empty() -> TestDatabase {
    TestDatabase::create("empty", |_| async { Ok(()) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_bring_the_tables_up_to_date_once() {
    let database = empty().await;
    let mut servers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = database.url().to_owned();
        servers
            .spawn(async move { PostgresStore::migrate(&url, PostgresSettings::default()).await.unwrap() });
    }
    let steps: Vec<usize> = servers.join_all().await;
    assert_eq!(steps.iter().filter(|steps| **steps > 0).count(), 1, "{steps:?}");
    server(database.url()).await.ready().await.unwrap();
    assert_eq!(PostgresStore::migrate(database.url(), PostgresSettings::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_without_tables_is_not_opened_and_not_changed_unless_asked() {
    let database = empty().await;
    let refused = PostgresStore::connect(database.url(), PostgresSettings::default()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Outdated { pending: 1.., .. }), "{refused}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let count: i64 = crate::client(database.url()).await.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(count, 0);
}

#[tokio::test]
async fn tables_that_a_newer_program_has_changed_are_opened() {
    let database = crate::database().await;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')";
    crate::client(database.url()).await.batch_execute(newer).await.unwrap();
    server(database.url()).await.ready().await.unwrap();
    assert_eq!(PostgresStore::migrate(database.url(), PostgresSettings::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn all_steps_back_leave_nothing_behind() {
    let database = crate::database().await;
    let client = crate::client(database.url()).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/postgres");
    let mut steps: Vec<_> = std::fs::read_dir(folder).unwrap().map(|step| step.unwrap().path()).collect();
    steps.sort();
    for step in steps.iter().rev() {
        client.batch_execute(&std::fs::read_to_string(step.join("down.sql")).unwrap()).await.unwrap();
    }
    let left =
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_\\_diesel%'";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname NOT LIKE 'diesel%'";
    assert_eq!(client.query_one(functions, &[]).await.unwrap().get::<_, i64>(0), 0);
}
