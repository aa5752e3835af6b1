//! A real `PgBouncer` before the database: `just test-pgbouncer`.

use std::net::TcpListener;
use tithe_store_postgres::{OpenError, PostgresSettings, PostgresStore};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tokio::time::Duration;

const START: &str = r#"
mkdir "$NAME" && cd "$NAME"
cat > pgbouncer.ini <<INI
[databases]
* = host=127.0.0.1 port=$DATABASE_PORT user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $PORT
unix_socket_dir =
auth_type = any
admin_users = postgres
$SETTINGS
INI
timeout 120 "$PGBOUNCER" pgbouncer.ini </dev/null >log 2>&1 &
echo $!
until psql -p "$PORT" -h 127.0.0.1 -U postgres pgbouncer -c 'SHOW VERSION' >/dev/null 2>&1; do kill -0 $!; done
"#;

/// Opens the database behind a `PgBouncer` with these settings.
async fn open(cluster: &Cluster, name: &str, settings: &str) -> Result<(), OpenError> {
    let pgbouncer = std::env::var("TITHE_TEST_PGBOUNCER").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let variables = [
        ("NAME", name),
        ("DATABASE_PORT", &cluster.port().to_string()),
        ("PORT", &free),
        ("PGBOUNCER", &pgbouncer),
        ("SETTINGS", settings),
    ];
    let process = cluster.shell(START, &variables).unwrap();
    let patience = Duration::from_secs(2);
    let patient = PostgresSettings { patience, connections: 4, ..PostgresSettings::default() };
    let url = format!("postgres://postgres@127.0.0.1:{free}/postgres?sslmode=disable");
    // Twice: the second time, there are connections in the pool.
    let opened = match PostgresStore::open(&url, patient).await {
        Ok(_) => PostgresStore::open(&url, patient).await.map(drop),
        Err(refused) => Err(refused),
    };
    cluster.shell(&format!("kill {process}"), &[]).unwrap();
    opened
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: just test-pgbouncer"]
async fn a_pooler_that_shares_sessions_is_refused_with_the_reason() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    for (name, settings) in [
        ("transaction", "pool_mode = transaction"),
        ("one", "pool_mode = transaction\ndefault_pool_size = 1"),
        ("turns", "pool_mode = transaction\nmin_pool_size = 5\nserver_round_robin = 1"),
        ("reset", "pool_mode = transaction\nserver_reset_query = DISCARD ALL\nserver_reset_query_always = 1"),
        ("statement", "pool_mode = statement"),
    ] {
        let refused = open(&cluster, name, settings).await.unwrap_err();
        assert!(matches!(refused, OpenError::Pooled(_)), "{name}: {refused:?}");
        let told = refused.to_string();
        assert!(told.starts_with("connection pooler at 127.0.0.1:"), "{name}: {told}");
        assert!(told.contains("pool_mode = session"), "{name}: {told}");
    }
    open(&cluster, "session", "pool_mode = session").await.unwrap();
}
