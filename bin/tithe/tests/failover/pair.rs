//! A primary and its standby, set up by the procedures of the operating chapter.

use crate::operating::procedure;
use std::time::{Duration, Instant};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tokio_postgres::{Client, NoTls};

const DATABASE: &str = "tithe";

/// Two database servers. `one` is the primary at first.
pub(crate) struct Pair {
    pub(crate) one: Cluster,
    pub(crate) two: Cluster,
}

impl Pair {
    /// A primary and a standby; with `waits`, commits wait for the standby.
    pub(crate) fn start(waits: bool) -> Self {
        let options = ClusterOptions { replicated: true, ..ClusterOptions::default() };
        let one = Cluster::start(options.clone()).unwrap_or_else(|error| panic!("{error}"));
        one.create_database(DATABASE).unwrap();
        let two = Cluster::empty(options).unwrap();
        let pair = Self { one, two };
        pair.run(&pair.one, "standby-primary");
        pair.run(&pair.two, "standby-copy");
        if waits {
            pair.run(&pair.one, "standby-wait");
            pair.await_standby(&pair.one, "db2");
        }
        pair
    }

    /// Runs a procedure on one of the two machines, as it is written; returns what it prints.
    pub(crate) fn run(&self, on: &Cluster, name: &str) -> String {
        let conninfo = |cluster: &Cluster| format!("host=127.0.0.1 port={}", cluster.port());
        let variables = [("DB1", &*conninfo(&self.one)), ("DB2", &*conninfo(&self.two))];
        on.shell(&procedure(name), &variables).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Waits until the primary waits for a standby.
    pub(crate) fn await_standby(&self, primary: &Cluster, standby: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let state = self.run(primary, "standby-look");
            let words: Vec<&str> = state.split_whitespace().collect();
            if words.join(" ").contains(&format!("{standby} | streaming | quorum")) {
                return;
            }
            assert!(Instant::now() < deadline, "{state}");
        }
    }

    /// The URL of both, the first primary first.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{DATABASE}", self.one.port(), self.two.port())
    }

    pub(crate) fn url_of(cluster: &Cluster) -> String {
        cluster.url(DATABASE)
    }
}

/// A connection to one of them.
pub(crate) async fn client(cluster: &Cluster) -> Client {
    let (client, connection) = tokio_postgres::connect(&cluster.url(DATABASE), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What shows whether anything was written by a server.
pub(crate) async fn written(cluster: &Cluster) -> String {
    let look = "SELECT concat_ws(' ', (SELECT count(*) FROM jobs), (SELECT count(*) FROM transfers),
        (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM committers), (SELECT sum(batch) FROM committers),
        (SELECT max(seen_at) FROM committers))";
    client(cluster).await.query_one(look, &[]).await.unwrap().get(0)
}
