//! Several servers, lost connections, and a database that goes away.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod deadlocks;
mod held;
mod listening;
mod lost_commits;
mod migrations;
mod plans;
mod poolers;
mod proxy;
mod standbys;
mod tls;

use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::store::{BatchStore, StoreError};
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_store_suite::command::{Command, Outcome, batch, outcomes};
use tithe_test_postgres::TestDatabase;

/// A database with its tables.
async fn database() -> TestDatabase {
    let template = format!("tithe_{}", PostgresStore::schema_version());
    let migrate = |url: String| async move {
        PostgresStore::migrate(&url, PostgresSettings::default()).await?;
        Ok(())
    };
    TestDatabase::create(&template, migrate).await
}

/// A server's store.
async fn server(url: &str) -> PostgresStore {
    PostgresStore::connect(url, PostgresSettings::default()).await.unwrap()
}

/// The patience of a server that has little.
const PATIENCE: Duration = Duration::from_millis(800);

/// A server's store that soon gives up.
async fn impatient_server(url: &str) -> PostgresStore {
    let settings = PostgresSettings { patience: PATIENCE, ..PostgresSettings::default() };
    PostgresStore::connect(url, settings).await.unwrap()
}

async fn commit(store: &PostgresStore, command: Command) -> Result<Outcome, StoreError> {
    let batch = batch(vec![command], Timestamp::UNIX_EPOCH);
    Ok(outcomes(store.batch_commit(&batch).await?.outcomes).remove(0))
}

/// A plain connection beside the stores.
async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Asks again until `done` says yes.
async fn eventually<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let waiting = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"));
}
