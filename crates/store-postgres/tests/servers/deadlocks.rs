//! Others get in the way.

use crate::{client, commit, database, eventually, server};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tithe_engine::books::Posting;
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_store_suite::command::{Command, Reply};
use tithe_store_suite::scene::{fund, msats};
use uuid::Uuid;

const SESSION: AccountId = AccountId::Session(Uuid::from_u128(7));

/// Somebody locks the pool first and the session then, which no server does, until the database ends one of the two.
#[tokio::test(flavor = "current_thread")]
async fn a_deadlock_is_tried_again_and_counted_by_name() {
    let recorder = DebuggingRecorder::new();
    let counters = recorder.snapshotter();
    // The counters of this thread, which runs everything.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let database = database().await;
    let store = server(database.url()).await;
    for account in [SESSION, AccountId::Pool] {
        commit(&store, fund(account, msats(1_000))).await.unwrap().unwrap();
    }
    let (stranger, watch) = (client(database.url()).await, client(database.url()).await);
    // The stranger has more patience than we: the database ends our transaction.
    stranger
        .batch_execute(
            "SET deadlock_timeout = '1min'; BEGIN; SELECT * FROM accounts WHERE id = 'pool' FOR UPDATE",
        )
        .await
        .unwrap();
    let posting = Command::Post(Posting {
        key: TransferKey::new("grant"),
        debit: SESSION,
        credit: AccountId::Pool,
        amount: msats(1),
        kind: TransferKind::Adjustment,
        reference: Uuid::nil(),
    });
    let committing = commit(&store, posting);
    let in_the_way = async {
        let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        eventually("our wait", || async {
            watch.query_one(blocked, &[]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
        let session = format!("SELECT * FROM accounts WHERE id = '{SESSION}' FOR UPDATE");
        stranger.batch_execute(&session).await.unwrap();
        stranger.batch_execute("COMMIT").await.unwrap();
    };
    let (outcome, ()) = futures_util::future::join(committing, in_the_way).await;
    assert_eq!(outcome.unwrap(), Ok(Reply::Done));
    let count = |name: &str, label: &str| -> u64 {
        let counted = counters.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
            let wanted = key.name() == name && labels.contains(&"batch_commit") && labels.contains(&label);
            match value {
                DebugValue::Counter(count) if wanted => Some(count),
                _ => None,
            }
        });
        counted.sum()
    };
    // A snapshot empties the counters: one look for each.
    // More than one if we had the row again before the stranger woke up.
    assert!(count("tithe_store_retries_total", "conflict") >= 1);
}
