//! What is measured on: durable clusters, databases and accounts in them.

use std::sync::Arc;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::audit::audit;
use tithe_engine::commands::{Batch, Command, Posting};
use tithe_engine::store::Store;
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Msats;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// What each session is given.
pub(crate) const FUNDS: u64 = 1_000_000_000;

/// A cluster that loses nothing, and does not stop for a checkpoint in the middle of a round.
pub(crate) fn cluster() -> Cluster {
    let settings = [("shared_buffers", "512MB"), ("max_wal_size", "4GB"), ("checkpoint_timeout", "30min")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Cluster::start(ClusterOptions { durable: true, settings, ..ClusterOptions::default() }).unwrap()
}

/// Runs statements on a database of a cluster.
pub(crate) async fn execute(url: &str, statements: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

/// Asks a database of a cluster for one number.
pub(crate) async fn number(url: &str, query: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let number = client.query_one(query, &[]).await.unwrap().get(0);
    drop(client);
    driver.await.unwrap().unwrap();
    number
}

/// The store of a database, as the server opens it.
pub(crate) async fn open(url: &str) -> Arc<dyn Store> {
    if url.starts_with("sqlite://") {
        Arc::new(SqliteStore::open(url, SqliteSettings::default()).await.unwrap())
    } else {
        Arc::new(PostgresStore::open(url, PostgresSettings::default()).await.unwrap())
    }
}

/// The account of a session.
pub(crate) fn session(number: u32) -> AccountId {
    AccountId::Session(session_id(number))
}

/// The id of a session.
pub(crate) fn session_id(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// A new id: the time, then randomness, as the engine makes them.
pub(crate) fn new_id(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let millis = u64::try_from(clock.now().unix_micros() / 1_000).unwrap();
    uuid::Builder::from_unix_timestamp_millis(millis, &entropy.bytes()).into_uuid()
}

/// The debit that is measured.
pub(crate) fn debit(number: u32, amount: Msats, clock: &dyn Clock, entropy: &dyn Entropy) -> Command {
    Command::Post(Posting {
        key: TransferKey::new(format!("charge:{}", new_id(clock, entropy))),
        debit: session(number),
        credit: AccountId::Revenue,
        amount,
        kind: TransferKind::Charge,
        reference: session_id(number),
    })
}

/// Gives every session its funds.
pub(crate) async fn fund(store: &dyn Store, sessions: u32) {
    let command = |number| {
        Command::Post(Posting {
            key: TransferKey::new(format!("fund:{}", new_id(&SystemClock, &SystemEntropy))),
            debit: AccountId::Operator,
            credit: session(number),
            amount: Msats::new(FUNDS).unwrap(),
            kind: TransferKind::Adjustment,
            reference: session_id(number),
        })
    };
    let numbers: Vec<u32> = (0..sessions).collect();
    for chunk in numbers.chunks(500) {
        let commands = chunk.iter().copied().map(command).collect();
        let committed = store.batch_commit(&Batch::new(commands, SystemClock.now())).await.unwrap();
        assert!(committed.outcomes.iter().all(Result::is_ok), "a session was not funded");
    }
}

/// Fails unless all is there that was answered for, and the books balance.
pub(crate) async fn check(store: &dyn Store, sessions: u32, charges: u64) {
    let report = audit(store).await.unwrap();
    assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
    assert_eq!(report.transfers, u64::from(sessions) + charges, "transfers, against answers of 200");
    let revenue = report.balances.iter().find(|(account, _)| *account == AccountId::Revenue);
    assert_eq!(
        revenue.map_or(0, |(_, msats)| *msats),
        i128::from(charges),
        "revenue, against answers of 200"
    );
}
