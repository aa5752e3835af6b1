//! Plans follow the tables.

use crate::{client, commit, database, server};
use std::time::Duration;
use tithe_ledger::{AccountId, HoldId};
use tithe_store_suite::command::Command;
use tithe_store_suite::scene::{fund, msats};
use uuid::Uuid;

const SESSION: AccountId = AccountId::Session(Uuid::from_u128(7));

/// How many batches are written, each with one hold.
const BATCHES: i64 = 1_500;

/// The plans of a server that starts on empty tables which were analysed, as after a restore, read a whole table for each row: cheap
/// then, and dearer with each row that comes.
#[tokio::test]
async fn a_table_that_was_empty_when_the_server_started_is_still_read_by_key() {
    let database = database().await;
    let watch = client(database.url()).await;
    watch.batch_execute("VACUUM ANALYZE").await.unwrap();
    let store = server(database.url()).await;
    commit(&store, fund(SESSION, msats(1_000_000))).await.unwrap().unwrap();
    for n in 0..u128::try_from(BATCHES).unwrap() {
        let hold = HoldId(Uuid::from_u128(n + 1));
        let place =
            Command::HoldPlace { hold, account: SESSION, amount: msats(1), lease: Duration::from_mins(1) };
        commit(&store, place).await.unwrap().unwrap();
    }
    // What the server's connection has counted is published when it ends.
    drop(store);
    let read = "SELECT idx_tup_read, idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'holds_pkey'";
    let waiting = async {
        loop {
            let row = watch.query_one(read, &[]).await.unwrap();
            let (read, scans): (i64, i64) = (row.get(0), row.get(1));
            if scans >= BATCHES {
                return read / scans;
            }
            tokio::task::yield_now().await;
        }
    };
    let each = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    assert!(each <= 32, "{each} rows were read for one");
}
