//! What the servers share.

use crate::server::Server;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use tithe_clock::SystemEntropy;
use tithe_test_postgres::{Cluster, ClusterOptions};

/// The database of a run.
pub(crate) enum Store {
    /// One server has a file for itself.
    Sqlite,
    /// Three servers have a database on a server that keeps what it has committed.
    Postgres(Arc<Cluster>),
}

const DATABASE: &str = "tithe";

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
        };
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
            ];
            settings.extend(url.iter().map(|url| ("DATABASE_URL", url.as_str())));
            Server::start(folder, &settings)
        };
        (0..count).map(start).collect()
    }
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
