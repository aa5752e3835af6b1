//! A primary and its standby, set up by the procedures of the operating chapters.

use crate::operating::procedure;
use std::time::{Duration, Instant};
use tithe_test_postgres::{Cluster, ClusterError, ClusterOptions};
use tokio_postgres::{Client, NoTls};

const DATABASE: &str = "tithe";

/// Stands in for what the chapter on installing has of Debian: here the shell's user is the server's, and nothing else starts the server.
const DEBIAN: &str = r#"
apt-get() { :; }
runuser() { shift 3; "$@"; }
systemctl() { pg_ctl "$1" -w -l "$PGDATA.log"; }
"#;

/// The first machine in that chapter, to be replaced by the operator's. The servers here have no certificates.
const FIRST_MACHINE: &str = "host=10.0.0.11 sslmode=require channel_binding=require";

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
        let two = Cluster::start(options).unwrap_or_else(|error| panic!("{error}"));
        let pair = Self { one, two };
        for machine in [&pair.one, &pair.two] {
            pair.run(machine, "install-standby-access");
        }
        pair.run(&pair.one, "install-standby-primary");
        pair.check_that_replication_needs_the_password();
        pair.run(&pair.two, "install-standby-copy");
        if waits {
            pair.run(&pair.one, "install-standby-wait");
            pair.await_standby(&pair.one, "db2");
        }
        pair
    }

    /// Runs a procedure on one of the two machines, as it is written; returns what it prints.
    pub(crate) fn run(&self, on: &Cluster, name: &str) -> String {
        self.script(on, &procedure(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Makes the new primary wait for the old one, by the procedure with the machines exchanged.
    pub(crate) fn wait_for_the_old_primary(&self) {
        let exchanged = procedure("install-standby-wait").replace("db2", "db1");
        self.script(&self.two, &exchanged).unwrap_or_else(|error| panic!("{exchanged}: {error}"));
        self.await_standby(&self.two, "db1");
    }

    fn script(&self, on: &Cluster, script: &str) -> Result<String, ClusterError> {
        let conninfo = |cluster: &Cluster| format!("host=127.0.0.1 port={}", cluster.port());
        let (one, two) = (conninfo(&self.one), conninfo(&self.two));
        // The files that the operator copies are on both machines. Whatever changes the user has set HOME to that user's.
        let home = format!("export HOME={}\n", self.one.folder().display());
        let script = home + DEBIAN + &script.replace(FIRST_MACHINE, &one);
        on.shell(&script, &[("DB1", &one), ("DB2", &two)])
    }

    /// The line of `pg_hba.conf` is in force, though another one trusts everybody. Puts the password where the administrator has it.
    fn check_that_replication_needs_the_password(&self) {
        let connect = "psql --no-password \"$DB1 user=replicator replication=true\" -c IDENTIFY_SYSTEM";
        let refused = self.script(&self.two, connect).unwrap_err().to_string();
        assert!(refused.contains("no password supplied"), "{refused}");
        let password = "(umask 077 && echo \"*:*:*:replicator:$(cat ~/replicator.password)\" > ~/.pgpass)\n";
        self.script(&self.two, &(password.to_owned() + connect)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the primary waits for a standby.
    pub(crate) fn await_standby(&self, primary: &Cluster, standby: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let state = self.run(primary, "install-standby-look");
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
