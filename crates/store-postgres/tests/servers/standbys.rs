//! A primary and its standby: a lost standby, a promotion, and an old primary that comes back.

use crate::{client, commit};
use tithe_engine::store::{BatchStore, StoreError};
use tithe_ledger::{AccountId, LedgerRepository};
use tithe_store_postgres::{OpenError, PostgresSettings, PostgresStore, Refused, Timelines};
use tithe_store_suite::command::Reply;
use tithe_store_suite::scene::{fund, msats};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tokio::time::Duration;
use uuid::Uuid;

const COPY: &str = "pg_basebackup -d \"host=127.0.0.1 port=$PRIMARY user=postgres application_name=standby\" \
    -D \"$PGDATA\" --write-recovery-conf --checkpoint=fast --no-sync\n\
    pg_ctl start -w -l \"$PGDATA/../log\"";

/// A primary and a standby that it waits for.
fn pair() -> (Cluster, Cluster) {
    let options = ClusterOptions { replicated: true, ..ClusterOptions::default() };
    let primary = Cluster::start(options.clone()).unwrap();
    primary.create_database("tithe").unwrap();
    let standby = Cluster::empty(options).unwrap();
    standby.shell(COPY, &[("PRIMARY", &primary.port().to_string())]).unwrap();
    (primary, standby)
}

const WAIT: &str = "ALTER SYSTEM SET synchronous_standby_names = 'standby'";

/// The URL of both, the old primary first.
fn both(primary: &Cluster, standby: &Cluster) -> String {
    let (one, other) = (primary.port(), standby.port());
    format!("postgres://postgres@127.0.0.1:{one},127.0.0.1:{other}/tithe")
}

fn account(n: u128) -> AccountId {
    AccountId::Session(Uuid::from_u128(n))
}

async fn sell(store: &PostgresStore, n: u128) -> Result<(), StoreError> {
    let outcome = commit(store, fund(account(n), msats(1_000))).await?;
    assert_eq!(outcome, Ok(Reply::Done));
    Ok(())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_comes_back_is_refused_by_running_and_by_new_servers() {
    let (primary, standby) = pair();
    let folder = tempfile::tempdir().unwrap();
    let settings = PostgresSettings { patience: Duration::from_secs(2), ..PostgresSettings::default() };
    let kept = || Timelines::kept_in(folder.path().join("timelines"));
    let url = both(&primary, &standby);
    PostgresStore::migrate(&url, settings).await.unwrap();
    let store = PostgresStore::connect_after(&url, settings, &kept()).await.unwrap();
    sell(&store, 1).await.unwrap();

    primary.stop_immediate().unwrap();
    standby.shell("pg_ctl promote -w", &[]).unwrap();
    sell(&store, 2).await.unwrap();

    primary.start_again().unwrap();
    let old = client(&primary.url("tithe")).await;
    old.batch_execute("CREATE TABLE it_takes_writes ()").await.unwrap();
    sell(&store, 3).await.unwrap();
    assert!(store.account(account(3)).await.unwrap().is_some());

    // A new server that knows nothing compares the hosts; one that knows refuses the old primary even alone.
    let fresh = PostgresStore::connect(&url, settings).await.unwrap();
    assert!(fresh.account(account(3)).await.unwrap().is_some());
    let refused = PostgresStore::connect_after(&primary.url("tithe"), settings, &kept()).await.err().unwrap();
    assert!(
        matches!(&refused, OpenError::Refused(Refused::OldTimeline { expected: 2, got: 1, .. })),
        "{refused}"
    );

    // When the new primary is away, the old one is no substitute.
    standby.stop_immediate().unwrap();
    let refused = sell(&store, 4).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(with_causes(&refused).contains("old primary"), "{}", with_causes(&refused));
    let refused = store.writable().await.unwrap_err();
    assert!(with_causes(&refused).contains("old primary"), "{}", with_causes(&refused));
    standby.start_again().unwrap();
    sell(&store, 5).await.unwrap();
    let sold = old.query_one("SELECT count(*) FROM accounts", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(sold, 1, "the old primary has what was sold before the failover, and no more");

    // Another cluster, and an operator who goes back on purpose.
    let other = Cluster::start(ClusterOptions { replicated: true, ..ClusterOptions::default() }).unwrap();
    other.create_database("tithe").unwrap();
    let refused = PostgresStore::migrate_after(&other.url("tithe"), settings, &kept()).await.unwrap_err();
    assert!(matches!(&refused, OpenError::Refused(Refused::OtherSystem { .. })), "{refused}");
    let accepted = PostgresStore::accept(&primary.url("tithe"), settings, &kept()).await.unwrap();
    assert!(accepted.starts_with("timeline 1 of system"), "{accepted}");
    PostgresStore::connect_after(&primary.url("tithe"), settings, &kept()).await.unwrap();
}

/// A primary whose processes are stopped: its operating system accepts connections, and nobody answers on them.
struct Frozen<'a>(&'a Cluster);

const ALL_PROCESSES: &str = "main=$(head -n 1 \"$PGDATA/postmaster.pid\"); \
    kill -\"$SIGNAL\" \"$main\" $(ps -o pid= --ppid \"$main\") || true";

impl<'a> Frozen<'a> {
    fn freeze(cluster: &'a Cluster) -> Self {
        cluster.shell(ALL_PROCESSES, &[("SIGNAL", "STOP")]).unwrap();
        Self(cluster)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _stopped_anyway = self.0.shell(ALL_PROCESSES, &[("SIGNAL", "CONT")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_and_new_servers_leave_a_primary_that_is_frozen() {
    let (primary, standby) = pair();
    let (patience, statement_timeout) = (Duration::from_secs(15), Duration::from_secs(4));
    let settings = PostgresSettings { patience, statement_timeout, ..PostgresSettings::default() };
    let url = both(&primary, &standby);
    PostgresStore::migrate(&url, settings).await.unwrap();
    let store = PostgresStore::connect(&url, settings).await.unwrap();
    sell(&store, 1).await.unwrap();
    let _frozen = Frozen::freeze(&primary);
    standby.shell("pg_ctl promote -w", &[]).unwrap();
    sell(&store, 2).await.unwrap();
    sell(&store, 3).await.unwrap();
    let starting = PostgresStore::connect(&url, settings);
    let started = tokio::time::timeout(Duration::from_secs(30), starting).await.unwrap().unwrap();
    assert!(started.account(account(3)).await.unwrap().is_some());
}

/// It accepts connections and does not answer.
fn frozen_port() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_server_starts_beside_a_frozen_host_and_does_not_wait_for_one_alone() {
    let database = crate::database().await;
    let (_frozen, port) = frozen_port();
    let settings = PostgresSettings { patience: Duration::from_secs(2), ..PostgresSettings::default() };
    let (_, real) = database.url().split_once('@').unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{port},{real}");
    let starting = PostgresStore::connect(&url, settings);
    let store = tokio::time::timeout(Duration::from_secs(30), starting).await.unwrap().unwrap();
    sell(&store, 1).await.unwrap();

    let url = format!("postgres://postgres@127.0.0.1:{port}/tithe");
    let starting = PostgresStore::connect(&url, settings);
    let refused = tokio::time::timeout(Duration::from_secs(30), starting).await.unwrap().err().unwrap();
    assert!(with_causes(&refused).contains("does not answer"), "{}", with_causes(&refused));
}

/// While both accept writes, a connection to the old primary is cut once one to the new primary was made.
#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_old_primary_are_cut_when_the_new_one_is_seen() {
    let (primary, standby) = pair();
    let settings = PostgresSettings { patience: Duration::from_secs(2), ..PostgresSettings::default() };
    let url = both(&primary, &standby);
    let timelines = Timelines::default();
    PostgresStore::migrate(&url, settings).await.unwrap();
    let store = PostgresStore::connect_after(&url, settings, &timelines).await.unwrap();
    sell(&store, 1).await.unwrap();
    // The failover manager cannot reach the old primary, and its customers still can.
    standby.shell("pg_ctl promote -w", &[]).unwrap();
    let other = PostgresStore::connect_after(&url, settings, &timelines).await.unwrap();
    sell(&other, 2).await.unwrap();
    sell(&store, 3).await.unwrap();
    let new = client(&standby.url("tithe")).await;
    let sold = new.query_one("SELECT count(*) FROM accounts", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(sold, 3);
}

/// PostgreSQL answers a commit with success and a warning when the wait for its standby is cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_standby_has_not_is_never_acknowledged() {
    let (primary, standby) = pair();
    let url = primary.url("tithe");
    let settings = PostgresSettings { patience: Duration::from_secs(1), ..PostgresSettings::default() };
    PostgresStore::migrate(&url, settings).await.unwrap();
    let store = PostgresStore::connect(&url, settings).await.unwrap();
    let watch = client(&url).await;
    watch.batch_execute(WAIT).await.unwrap();
    watch.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    sell(&store, 1).await.unwrap();

    standby.stop_immediate().unwrap();
    let committing = tokio::spawn({
        let store = store.clone();
        async move { sell(&store, 2).await }
    });
    // Whoever waits is released by the operator, again and again.
    let release = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let mut released = 0;
    while !committing.is_finished() {
        released += watch.query_one(release, &[]).await.unwrap().get::<_, i64>(0);
        tokio::task::yield_now().await;
    }
    assert!(released > 0, "nothing has waited for the standby");
    let unknown = committing.await.unwrap().unwrap_err();
    assert!(matches!(unknown, StoreError::OutcomeUnknown(_)), "{unknown:?}");
    assert!(with_causes(&unknown).contains("warning"), "{}", with_causes(&unknown));

    // The standby comes back, and everything is found out.
    standby.start_again().unwrap();
    sell(&store, 3).await.unwrap();
    assert!(store.account(account(2)).await.unwrap().is_some(), "it was committed on the primary");
}

/// A commit waits for its standby without end, and so would every later one.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_standby_is_lost_commits_are_unknown_or_unavailable_and_do_not_pile_up() {
    let (primary, standby) = pair();
    let url = primary.url("tithe");
    let (patience, statement_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let settings = PostgresSettings { patience, statement_timeout, ..PostgresSettings::default() };
    PostgresStore::migrate(&url, settings).await.unwrap();
    let store = PostgresStore::connect(&url, settings).await.unwrap();
    let watch = client(&url).await;
    watch.batch_execute(WAIT).await.unwrap();
    watch.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    sell(&store, 1).await.unwrap();
    standby.stop_immediate().unwrap();
    let unknown = sell(&store, 2).await.unwrap_err();
    assert!(matches!(unknown, StoreError::OutcomeUnknown(_)), "{unknown:?}");
    for n in 3..=6 {
        let refused = sell(&store, n).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
        assert!(with_causes(&refused).contains("synchronous standby"), "{}", with_causes(&refused));
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waiting = watch.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
    assert!((1..=2).contains(&waiting), "{waiting}");
    standby.start_again().unwrap();
    crate::eventually("the standby", || async { sell(&store, 7).await.is_ok() }).await;
    for (n, sold) in [(2, true), (3, false), (6, false), (7, true)] {
        assert_eq!(store.account(account(n)).await.unwrap().is_some(), sold, "{n}");
    }
}
