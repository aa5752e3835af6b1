//! The floor: the minimal debit or grant in PostgreSQL, driven by pgbench.

use crate::figures::Figures;
use crate::fixture;
use std::path::Path;
use std::process::Command;
use tithe_test_postgres::Cluster;

const TABLES: &str = "
    CREATE TABLE sessions (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 50);
    CREATE TABLE audit (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        session INTEGER NOT NULL,
        amount BIGINT NOT NULL,
        balance_after BIGINT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    CREATE TABLE days (id INTEGER PRIMARY KEY, granted BIGINT NOT NULL, budget BIGINT NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE pool (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 10);";

/// The operation that is measured.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    /// Updates a balance if it suffices, and writes an audit row.
    Debit,
    /// Additionally updates an identity's grants within its budget, and the shared pool if it suffices.
    Grant,
}

impl Operation {
    /// The operation as one statement.
    const fn statement(self) -> &'static str {
        match self {
            Self::Debit => {
                "WITH debited AS (UPDATE sessions SET balance = balance - 1 WHERE id = :session AND balance >= 1 \
                 RETURNING id, balance) \
                 INSERT INTO audit (session, amount, balance_after) SELECT id, 1, balance FROM debited;"
            }
            Self::Grant => {
                "WITH debited AS (UPDATE sessions SET balance = balance - 1 WHERE id = :session AND balance >= 1 \
                 RETURNING id, balance), \
                 day AS (UPDATE days SET granted = granted + 1 WHERE id = :session AND granted + 1 <= budget \
                 RETURNING id), \
                 pool AS (UPDATE pool SET balance = balance - 1 WHERE id = 1 AND balance >= 1 RETURNING id) \
                 INSERT INTO audit (session, amount, balance_after) \
                 SELECT debited.id, 1, debited.balance FROM debited, day, pool;"
            }
        }
    }
}

/// The floor's database.
pub(crate) struct Floor<'a> {
    cluster: &'a Cluster,
    folder: &'a Path,
    sessions: u32,
}

const DATABASE: &str = "floor";

impl<'a> Floor<'a> {
    /// Creates the floor's database in a cluster, with scripts and logs in a folder.
    pub(crate) async fn make(
        cluster: &'a Cluster,
        folder: &'a Path,
        sessions: u32,
        operation: Operation,
    ) -> Self {
        cluster.create_database(DATABASE).unwrap();
        let script = format!("\\set session random(0, {})\n{}\n", sessions - 1, operation.statement());
        std::fs::write(folder.join("operation.sql"), script).unwrap();
        let rows = format!(
            "{TABLES} INSERT INTO sessions SELECT n, {funds} FROM generate_series(0, {last}) n; \
             INSERT INTO days SELECT n, 0, {funds} FROM generate_series(0, {last}) n; \
             INSERT INTO pool VALUES (1, {funds});",
            funds = fixture::FUNDS,
            last = sessions - 1
        );
        let url = cluster.url(DATABASE);
        fixture::execute(&url, &rows).await;
        fixture::execute(&url, "VACUUM ANALYZE").await;
        Self { cluster, folder, sessions }
    }

    /// Runs one side of a round.
    pub(crate) fn round(&self, connections: u32, seconds: u64) -> Figures {
        for old in logs(self.folder) {
            std::fs::remove_file(old).unwrap();
        }
        // pgbench's time includes connecting.
        let seconds = seconds + u64::from(connections / 100);
        // Logging every transaction slows pgbench down; a sample of a tenth is enough.
        let sampling = if connections == 1 { "1.0" } else { "0.1" };
        let output = Command::new(self.cluster.bin().join("pgbench"))
            .args(["-h", "127.0.0.1", "-p", &self.cluster.port().to_string(), "-U", "postgres"])
            .args([
                "-n",
                "-M",
                "prepared",
                "-f",
                "operation.sql",
                "-j",
                "2",
                "-l",
                "--sampling-rate",
                sampling,
            ])
            .args(["-c", &connections.to_string(), "-T", &seconds.to_string(), DATABASE])
            .current_dir(self.folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "pgbench: {said}{}", String::from_utf8_lossy(&output.stderr));
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let micros = logs(self.folder).into_iter().flat_map(|log| {
            let text = std::fs::read_to_string(log).unwrap();
            text.lines().map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect::<Vec<u32>>()
        });
        Figures {
            rate: rate.unwrap_or_else(|| panic!("no rate in the output of pgbench: {said}")),
            ..Figures::of(0, 1.0, micros.collect())
        }
    }

    /// Panics unless every debit of the floor has its audit row.
    pub(crate) async fn check(&self) {
        let url = self.cluster.url(DATABASE);
        let spent = format!(
            "SELECT {}::bigint * {} - sum(balance)::bigint FROM sessions",
            self.sessions,
            fixture::FUNDS
        );
        let (spent, rows) =
            (fixture::number(&url, &spent).await, fixture::number(&url, "SELECT count(*) FROM audit").await);
        assert_eq!(spent, rows, "what the floor's sessions spent, against its audit rows");
    }
}

fn logs(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("pgbench_log."));
    logs.map(|entry| entry.path()).collect()
}
