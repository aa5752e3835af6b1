//! What the servers share.

use crate::install;
use crate::server::Server;
use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use tithe_clock::{Clock, SystemClock, SystemEntropy};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tithe_trust::{NostrPubkey, Score};
use tokio_postgres::NoTls;

/// The database of a run.
pub(crate) enum Store {
    /// One server has a file for itself.
    Sqlite,
    /// Three servers have a database on a server that keeps what it has committed.
    Postgres(Arc<Cluster>),
    /// Two servers have a primary and its standby, by the URL of both.
    Pair(String),
}

pub(crate) const DATABASE: &str = "tithe";

/// What the pool begins with: too little for everybody at once, though paid work feeds it well.
pub(crate) const POOL_SATS: u64 = 80;

/// The scores from which the tiers begin, so that a few payments are enough to climb.
pub(crate) const TIERS: [(&str, u32); 4] = [("new", 0), ("established", 1), ("trusted", 3), ("elite", 6)];

/// Money that went into the pool, or out of it.
#[derive(Debug, QueryableByName)]
pub(crate) struct PoolTransfer {
    #[diesel(sql_type = Text)]
    pub(crate) kind: String,
    /// The job that it was for.
    #[diesel(sql_type = Text)]
    pub(crate) reference: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) amount_msats: i64,
}

/// A keyed request that is answered.
#[derive(QueryableByName)]
struct Answered {
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = Integer)]
    answer_status: i32,
}

const ANSWERED: &str = "SELECT key, answer_status FROM idempotency_keys WHERE answer_status IS NOT NULL";

const POOL_TRANSFERS: &str =
    "SELECT kind, reference, amount_msats FROM transfers WHERE debit = 'pool' OR credit = 'pool'";

impl Store {
    /// The one that `TITHE_TEST_CHAOS_STORE` names.
    pub(crate) fn chosen() -> Self {
        match std::env::var("TITHE_TEST_CHAOS_STORE").as_deref() {
            Ok("postgres") => {
                let options = ClusterOptions { durable: true, ..ClusterOptions::default() };
                let cluster = Cluster::start(options).unwrap_or_else(|error| panic!("{error}"));
                cluster.create_database(DATABASE).unwrap();
                Self::Postgres(Arc::new(cluster))
            }
            Ok("sqlite") | Err(_) => Self::Sqlite,
            Ok(other) => panic!("TITHE_TEST_CHAOS_STORE is {other:?}: neither sqlite nor postgres"),
        }
    }

    /// Starts its servers, which share a data directory.
    pub(crate) fn start_servers(&self, folder: &Path) -> Vec<Server> {
        let (count, url) = match self {
            Self::Sqlite => (1, None),
            Self::Postgres(cluster) => (3, Some(cluster.url(DATABASE))),
            Self::Pair(url) => (2, Some(url.clone())),
        };
        let pool = POOL_SATS.to_string();
        let core = format!("lifetime:{},cloud:{}", install::REQUESTS, install::CLOUD);
        let scores = TIERS.map(|(_, score)| score.to_string());
        let start = |_| {
            let listen = free_address();
            let mut settings = vec![
                ("TITHE_DEV", "1"),
                ("TITHE_LISTEN", &listen),
                ("TITHE_LEASE_SECONDS", "1"),
                ("TITHE_POLL_SECONDS", "1"),
                ("TITHE_SIM_LATENCY_MS", "40"),
                ("TITHE_SIM_DELTA_MS", "3"),
                ("TITHE_WALLET_SIM_FAULTS", "lose=20,fail=20,delay_ms=20"),
                ("TITHE_INVOICE_EXPIRY_SECONDS", "10"),
                ("TITHE_HOLD_REQUESTS", "1"),
                ("TITHE_HELD_PAYMENTS_MAX", "480"),
                // The customers share an address.
                ("TITHE_REQUESTS_PER_SECOND", "0"),
                ("TITHE_MAX_UNPAID_PER_ADDRESS", "1000"),
                ("TITHE_IDENTITY_TOKEN_SECONDS", "5"),
                ("TITHE_PLAN_CORE", &core),
                ("TITHE_HARDWARE", "sim"),
                ("FREE_TIER_POOL_INITIAL_SATS", &pool),
                ("FREE_TIER_POOL_CREDIT_PCT", "50"),
                // Work is invoiced for 29 sats, and costs three or four. What is not enough is a part.
                ("FREE_TIER_BUDGET_NEW", "0"),
                ("FREE_TIER_BUDGET_ESTABLISHED", "20"),
                ("FREE_TIER_BUDGET_TRUSTED", "40"),
                ("FREE_TIER_BUDGET_ELITE", "200"),
                ("TITHE_TRUST_ESTABLISHED", &scores[1]),
                ("TITHE_TRUST_TRUSTED", &scores[2]),
                ("TITHE_TRUST_ELITE", &scores[3]),
                ("TITHE_TRUST_FULL_PAYMENT_SATS", "3"),
                ("TITHE_TRUST_FAULT", "1"),
                ("TITHE_TRUST_DAY_GAIN_MAX", "1000"),
            ];
            settings.extend(url.iter().map(|url| ("DATABASE_URL", url.as_str())));
            Server::start(folder, &settings)
        };
        (0..count).map(start).collect()
    }

    /// Gives somebody whom no server knows yet a score that they have not earned.
    pub(crate) async fn trust(&self, folder: &Path, pubkey: NostrPubkey, score: Score) {
        let (millis, now) = (score.millis(), SystemClock.now().unix_micros());
        let known = format!(
            "INSERT INTO nostr_identities (pubkey, trust_score_millis, gained_today_millis, away_since, \
             interaction_count, absorbed_today_msats, reserved_msats, last_seen, created_at, updated_at) \
             VALUES ('{pubkey}', {millis}, 0, {now}, 0, 0, 0, {now}, {now}, {now})"
        );
        match self {
            Self::Sqlite => sqlite(folder).batch_execute(&known).unwrap(),
            Self::Postgres(_) | Self::Pair(_) => self.client().await.batch_execute(&known).await.unwrap(),
        }
    }

    /// The keyed requests that are answered, and how.
    pub(crate) async fn answers(&self, folder: &Path) -> BTreeSet<(String, i32)> {
        match self {
            Self::Sqlite => {
                let rows: Vec<Answered> = diesel::sql_query(ANSWERED).load(&mut sqlite(folder)).unwrap();
                rows.into_iter().map(|row| (row.key, row.answer_status)).collect()
            }
            Self::Postgres(_) | Self::Pair(_) => {
                let rows = self.client().await.query(ANSWERED, &[]).await.unwrap();
                rows.iter().map(|row| (row.get("key"), row.get("answer_status"))).collect()
            }
        }
    }

    async fn client(&self) -> tokio_postgres::Client {
        let url = match self {
            Self::Sqlite => unreachable!("a file has no connections"),
            Self::Postgres(cluster) => cluster.url(DATABASE),
            Self::Pair(url) => format!("{url}?target_session_attrs=read-write"),
        };
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// All that went into the pool and out of it.
    pub(crate) async fn pool_transfers(&self, folder: &Path) -> Vec<PoolTransfer> {
        match self {
            Self::Sqlite => diesel::sql_query(POOL_TRANSFERS).load(&mut sqlite(folder)).unwrap(),
            Self::Postgres(_) | Self::Pair(_) => {
                let rows = self.client().await.query(POOL_TRANSFERS, &[]).await.unwrap();
                let read = |row: &tokio_postgres::Row| PoolTransfer {
                    kind: row.get("kind"),
                    reference: row.get("reference"),
                    amount_msats: row.get("amount_msats"),
                };
                rows.iter().map(read).collect()
            }
        }
    }
}

fn sqlite(folder: &Path) -> SqliteConnection {
    let mut file =
        SqliteConnection::establish(&folder.join("tithe-data/tithe.db").to_string_lossy()).unwrap();
    file.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
    file
}

/// Below the ports that systems give to outgoing connections: while a server is dead, one of those could take its port.
fn free_address() -> String {
    loop {
        let address = format!("127.0.0.1:{}", crate::random(&SystemEntropy, 15_000, 32_000));
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
