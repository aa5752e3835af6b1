//! A test has a database of its own, whoever else makes one at the same time.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::env;
use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tithe_test_postgres::{Cluster, ClusterOptions, TestDatabase, URL_VARIABLE};
use tokio_postgres::{Client, NoTls};

/// Set for the child processes of these tests: what the child is to do.
const ROLE: &str = "TITHE_TEST_ROLE";

type Prepared = Result<(), Box<dyn Error + Send + Sync>>;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(url: &str, query: &str) -> i64 {
    connect(url).await.query_one(query, &[]).await.unwrap().get(0)
}

async fn prepare_things(url: String) -> Prepared {
    let client = connect(&url).await;
    client
        .batch_execute("CREATE TABLE things (n int PRIMARY KEY); INSERT INTO things VALUES (1), (2)")
        .await?;
    Ok(())
}

async fn must_not_run(_: String) -> Prepared {
    Err("the template was there already".into())
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what} has not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_database_is_a_copy_that_nobody_else_sees() {
    let one = TestDatabase::create("things", prepare_things).await;
    let other = TestDatabase::create("things", prepare_things).await;
    connect(one.url()).await.batch_execute("DELETE FROM things").await.unwrap();
    assert_eq!(count(one.url(), "SELECT count(*) FROM things").await, 0);
    assert_eq!(count(other.url(), "SELECT count(*) FROM things").await, 2);
}

#[tokio::test]
async fn a_dropped_database_is_removed_also_while_it_is_in_use() {
    let kept = TestDatabase::create("things", prepare_things).await;
    let dropped = TestDatabase::create("things", prepare_things).await;
    let name = dropped.url().rsplit('/').next().unwrap().to_owned();
    let user = connect(dropped.url()).await;
    drop(dropped);
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    eventually("the removal of the database", async || count(kept.url(), &left).await == 0).await;
    assert!(user.batch_execute("SELECT 1").await.is_err());
}

#[test]
fn sixteen_threads_prepare_one_template_once() {
    static PREPARED: AtomicUsize = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let database = TestDatabase::create_blocking("once", async |url| {
                    PREPARED.fetch_add(1, Ordering::Relaxed);
                    prepare_things(url).await
                });
                assert!(database.url().contains("/t_"));
            });
        }
    });
    // None, if these tests have run on this server before.
    assert!(PREPARED.load(Ordering::Relaxed) <= 1);
}

#[tokio::test]
async fn a_template_whose_preparation_fails_is_prepared_anew() {
    let failing = async |url: String| -> Prepared {
        connect(&url).await.batch_execute("CREATE TABLE half (n int)").await?;
        Err("the second half is missing".into())
    };
    let failed = tokio::spawn(async move { TestDatabase::create("halves", failing).await }).await;
    let message = failed.unwrap_err().into_panic();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("halves") && message.contains("the second half is missing"), "{message}");
    let panicking = async |_: String| -> Prepared { panic!("it panics") };
    assert!(tokio::spawn(async move { TestDatabase::create("halves", panicking).await }).await.is_err());

    let whole = TestDatabase::create("halves", prepare_things).await;
    assert_eq!(count(whole.url(), "SELECT count(*) FROM pg_class WHERE relname = 'half'").await, 0);
    assert_eq!(count(whole.url(), "SELECT count(*) FROM things").await, 2);
}

#[tokio::test]
async fn what_the_preparation_leaves_connected_does_not_keep_the_template_from_being_copied() {
    let mut left = None;
    let database = TestDatabase::create("connected", async |url| {
        let client = connect(&url).await;
        client.batch_execute("CREATE TABLE things (n int)").await?;
        left = Some(client);
        Ok(())
    })
    .await;
    assert_eq!(count(database.url(), "SELECT count(*) FROM things").await, 0);
    let template = database.url().rsplit_once('/').unwrap().0.to_owned() + "/connected";
    assert!(tokio_postgres::connect(&template, NoTls).await.is_err(), "nobody may use a template");
    if let Some(left) = left {
        assert!(left.batch_execute("SELECT 1").await.is_err());
    }
}

#[tokio::test]
#[should_panic(expected = "a template's name is 1 to 54 letters, digits, _ and -")]
async fn a_name_that_postgresql_would_cut_is_refused() {
    TestDatabase::create(&"x".repeat(55), must_not_run).await;
}

/// Not a test but what the tests below run.
#[tokio::test]
async fn a_process_with_a_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let admin = env::var(URL_VARIABLE).unwrap();
    match role.as_str() {
        "race" => {
            let prepare = async |url: String| {
                connect(&admin).await.batch_execute("INSERT INTO prepared VALUES (1)").await?;
                prepare_things(url).await
            };
            let database = TestDatabase::create("raced", prepare).await;
            assert_eq!(count(database.url(), "SELECT count(*) FROM things").await, 2);
        }
        "lose the connections" => {
            let cut_off = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE application_name LIKE 'tithe-test-postgres %'";
            for _ in 0..5 {
                let database = TestDatabase::create("things", prepare_things).await;
                assert!(count(&admin, cut_off).await > 0);
                assert_eq!(count(database.url(), "SELECT count(*) FROM things").await, 2);
            }
        }
        "die in the preparation" => {
            TestDatabase::create("things", async |url| {
                prepare_things(url).await?;
                std::process::abort()
            })
            .await;
        }
        "die" => {
            let _database = TestDatabase::create("things", prepare_things).await;
            std::process::abort();
        }
        "sweep" => {
            let database = TestDatabase::create("things", must_not_run).await;
            let left = "SELECT count(*) FROM pg_database WHERE datname ~ '^t_'";
            eventually("the sweep", async || count(database.url(), left).await == 1).await;
        }
        role => panic!("{role} is no role"),
    }
}

fn process(role: &str, cluster: &Cluster) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_process_with_a_role", "--quiet"])
        .env(ROLE, role)
        .env(URL_VARIABLE, cluster.url("postgres"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn processes_that_race_prepare_one_template_once() {
    let cluster = Cluster::start(ClusterOptions::shared()).unwrap();
    connect(&cluster.url("postgres")).await.batch_execute("CREATE TABLE prepared (n int)").await.unwrap();
    let children: Vec<Child> = (0..6).map(|_| process("race", &cluster)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(count(&cluster.url("postgres"), "SELECT count(*) FROM prepared").await, 1);
}

#[tokio::test]
async fn what_dead_processes_leave_is_removed_or_made_anew_by_the_next() {
    let cluster = Cluster::start(ClusterOptions::shared()).unwrap();
    assert!(!process("die in the preparation", &cluster).wait().unwrap().success());
    assert!(!process("die", &cluster).wait().unwrap().success());
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^tithe-test-postgres '";
    let admin = cluster.url("postgres");
    eventually("the end of the dead", async || count(&admin, connected).await == 0).await;
    assert!(process("sweep", &cluster).wait().unwrap().success());
}

#[test]
fn lost_connections_are_made_anew() {
    let cluster = Cluster::start(ClusterOptions::shared()).unwrap();
    assert!(process("lose the connections", &cluster).wait().unwrap().success());
}

#[test]
#[ignore = "a measurement: --ignored --nocapture --test-threads=1"]
fn how_long_a_database_takes() {
    let started = Instant::now();
    drop(TestDatabase::create_blocking("things", prepare_things));
    println!("the first one, with its server: {:?}", started.elapsed());
    for threads in [1, 4, 16] {
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..20 {
                        TestDatabase::create_blocking("things", must_not_run);
                    }
                });
            }
        });
        println!("{threads} threads: {:?} for each database", started.elapsed() / (20 * threads));
    }
}
