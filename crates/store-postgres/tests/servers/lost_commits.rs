//! A commit whose answer was lost is looked up, not guessed.

use crate::proxy::{Plan, Proxy};
use crate::{PATIENCE, client, commit, database, eventually, impatient_server, server};
use tithe_engine::store::StoreError;
use tithe_ledger::{AccountId, HoldId, LedgerRepository};
use tithe_store_postgres::{OpenError, PostgresSettings, PostgresStore};
use tithe_store_suite::command::{Command, Reply};
use tithe_store_suite::scene::{fund, msats};
use uuid::Uuid;

const SESSION: AccountId = AccountId::Session(Uuid::from_u128(7));

/// Twice is refused, so that doing it again by mistake shows.
fn place(hold: u128) -> Command {
    let hold = HoldId(Uuid::from_u128(hold));
    let lease = std::time::Duration::from_mins(1);
    Command::HoldPlace { hold, account: SESSION, amount: msats(10), lease }
}

async fn held(store: &PostgresStore) -> u64 {
    store.account(SESSION).await.unwrap().unwrap().held().get()
}

async fn funded(proxy: &Proxy) -> PostgresStore {
    let store = server(proxy.url()).await;
    assert_eq!(commit(&store, fund(SESSION, msats(1_000))).await.unwrap(), Ok(Reply::Done));
    store
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_to_have_happened() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = funded(&proxy).await;
    for n in 1..=3 {
        proxy.plan(Plan::LoseAnswer);
        let outcome = commit(&store, place(n.into())).await.unwrap();
        assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
        assert_eq!(held(&store).await, 10 * n);
    }
}

#[tokio::test]
async fn a_commit_that_was_lost_is_made_again() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = funded(&proxy).await;
    for n in 1..=3 {
        proxy.plan(Plan::LoseCommit);
        let outcome = commit(&store, place(n.into())).await.unwrap();
        assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
        assert_eq!(held(&store).await, 10 * n);
    }
}

#[tokio::test]
async fn the_very_first_commit_may_be_lost_too() {
    for plan in [Plan::LoseAnswer, Plan::LoseCommit] {
        let database = database().await;
        let proxy = Proxy::to(database.url()).await;
        let store = server(proxy.url()).await;
        proxy.plan(plan);
        let outcome = commit(&store, fund(SESSION, msats(1_000))).await.unwrap();
        assert_eq!(outcome, Ok(Reply::Done), "{plan:?}: not `AlreadyDone`");
    }
}

/// The network keeps what the old connection sent, the server goes on, and then it is delivered.
#[tokio::test]
async fn a_commit_that_arrives_late_is_refused() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = funded(&proxy).await;
    let watch = client(database.url()).await;
    proxy.plan(Plan::DeliverLate);
    let committing = tokio::spawn({
        let store = store.clone();
        async move { commit(&store, place(1)).await.unwrap() }
    });
    // The second try waits for the account, which the first one's transaction still holds.
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("the second try", || async {
        watch.query_one(blocked, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    proxy.deliver().await;
    let outcome = committing.await.unwrap();
    assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
    assert_eq!(held(&store).await, 10);
}

#[tokio::test]
async fn when_the_database_stays_away_the_outcome_is_told_to_be_unknown() {
    for (plan, happened) in [(Plan::LoseAnswer, true), (Plan::LoseCommit, false)] {
        let database = database().await;
        let proxy = Proxy::to(database.url()).await;
        let store = impatient_server(proxy.url()).await;
        commit(&store, fund(SESSION, msats(1_000))).await.unwrap().unwrap();
        proxy.plan_then_close(plan);
        let lost = commit(&store, place(1)).await;
        assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
        // Nothing was sent: that it did not happen is known.
        let refused = commit(&store, place(2)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        proxy.close(false);
        let outcome = commit(&store, place(3)).await.unwrap();
        assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
        assert_eq!(store.hold(HoldId(Uuid::from_u128(1))).await.unwrap().is_some(), happened);
        assert_eq!(held(&store).await, if happened { 20 } else { 10 });
    }
}

#[tokio::test]
async fn reads_wait_for_a_database_that_comes_back_and_give_up_on_one_that_does_not() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = impatient_server(proxy.url()).await;
    proxy.close(true);
    let watch = client(database.url()).await;
    let end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    watch.query_one(end_all, &[]).await.unwrap();
    let gone = store.account(SESSION).await;
    assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    proxy.close(false);
    assert_eq!(store.account(SESSION).await.unwrap(), None);
    watch.query_one(end_all, &[]).await.unwrap();
    assert_eq!(store.account(SESSION).await.unwrap(), None, "a lost connection is replaced");
}

#[tokio::test]
async fn a_database_that_is_just_starting_is_waited_for_and_one_that_refuses_is_not() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    proxy.close(true);
    let opening = tokio::spawn({
        let url = proxy.url().to_owned();
        async move { PostgresStore::connect(&url, PostgresSettings::default()).await.map(drop) }
    });
    proxy.refused().await;
    proxy.close(false);
    opening.await.unwrap().unwrap();
    let nobody = database.url().replace("postgres://postgres@", "postgres://nobody@");
    let began = std::time::Instant::now();
    let refused = PostgresStore::connect(&nobody, PostgresSettings::default()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Connect { .. }), "{refused}");
    assert!(began.elapsed() < PostgresSettings::default().patience, "a refusal is final");
}

/// Nobody has heard of this server for a month, and another one has started meanwhile.
#[tokio::test]
async fn a_server_that_was_idle_for_long_still_finds_its_lost_commit() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = funded(&proxy).await;
    let watch = client(database.url()).await;
    watch.batch_execute("UPDATE committers SET seen_at = now() - interval '31 days'").await.unwrap();
    let other = server(database.url()).await;
    commit(&other, fund(AccountId::Pool, msats(5))).await.unwrap().unwrap();
    assert_eq!(watch.query_one("SELECT count(*) FROM committers", &[]).await.unwrap().get::<_, i64>(0), 1);
    proxy.plan(Plan::LoseAnswer);
    let outcome = commit(&store, place(1)).await.unwrap();
    assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
    assert_eq!(held(&store).await, 10);
}

/// The fence is put up, its answer is lost, and the server gives up: the next batch must not run into the fence.
#[tokio::test]
async fn after_an_unknown_outcome_the_next_batch_is_written_whatever_the_fence_says() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = impatient_server(proxy.url()).await;
    commit(&store, fund(SESSION, msats(1_000))).await.unwrap().unwrap();
    proxy.plan_then_close(Plan::LoseCommit);
    assert!(matches!(commit(&store, place(1)).await, Err(StoreError::OutcomeUnknown(_))));
    let watch = client(database.url()).await;
    watch.batch_execute("UPDATE committers SET batch = batch + 2").await.unwrap();
    proxy.close(false);
    let outcome = commit(&store, place(2)).await.unwrap();
    assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
}

/// It takes longer than the store's patience to notice that nobody answers.
#[tokio::test]
async fn a_commit_whose_loss_is_noticed_late_is_looked_up_all_the_same() {
    let database = database().await;
    let proxy = Proxy::to(database.url()).await;
    let store = impatient_server(proxy.url()).await;
    commit(&store, fund(SESSION, msats(1_000))).await.unwrap().unwrap();
    proxy.plan(Plan::LoseAnswerLate(PATIENCE * 2));
    let outcome = commit(&store, place(1)).await.unwrap();
    assert!(matches!(outcome, Ok(Reply::Hold(_))), "{outcome:?}");
    assert_eq!(held(&store).await, 10);
}

/// A row of a customer's may hold what is nobody's business: what the database says of it is not told.
#[tokio::test]
async fn what_a_constraint_says_of_a_row_is_not_told() {
    let database = database().await;
    let store = server(database.url()).await;
    let watch = client(database.url()).await;
    watch
        .batch_execute("ALTER TABLE accounts ADD CONSTRAINT poor CHECK (balance_msats < 500)")
        .await
        .unwrap();
    let failed = commit(&store, fund(SESSION, msats(777))).await.unwrap_err();
    let mut told = failed.to_string();
    let mut cause = std::error::Error::source(&failed);
    while let Some(inner) = cause {
        told = format!("{told}: {inner}");
        cause = inner.source();
    }
    assert!(told.contains("poor") && !told.contains("777") && !told.contains(&SESSION.to_string()), "{told}");
    assert!(!format!("{failed:?}").contains("777"), "{failed:?}");
}
