//! Where a server's data is.

use crate::server::{Server, tithe};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use tithe_test_postgres::TestDatabase;

/// Each test twice: on the embedded database, and on PostgreSQL.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            use crate::test_env::TestEnv;
            $(#[test] fn $name() { super::$name(&TestEnv::sqlite()); })+
        }
        mod on_postgres {
            use crate::test_env::TestEnv;
            $(#[test] fn $name() { super::$name(&TestEnv::postgres()); })+
        }
    };
}
pub(crate) use on_both_stores;

/// Lets others have the machine for a moment, between two looks at what is awaited.
pub(crate) fn pause() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::sleep(PAUSE).await });
}

/// The time between two looks at what is awaited.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// A folder, and perhaps a database elsewhere: empty at first, removed at the end.
pub(crate) struct TestEnv {
    folder: TempDir,
    database: Option<TestDatabase>,
}

impl TestEnv {
    /// With the database in the folder.
    pub(crate) fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: None }
    }

    /// With an empty PostgreSQL database.
    pub(crate) fn postgres() -> Self {
        Self::of(TestDatabase::create_blocking("empty", async |_| Ok(())))
    }

    /// With that database.
    pub(crate) fn of(database: TestDatabase) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: Some(database) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The PostgreSQL database's URL.
    pub(crate) fn url(&self) -> &str {
        self.database.as_ref().unwrap().url()
    }

    /// The SQLite database's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("tithe-data/tithe.db")
    }

    /// A server for developers here.
    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// The same, with more settings.
    pub(crate) fn start_with(&self, settings: &[(&str, &str)]) -> Server {
        let mut all = vec![("TITHE_DEV", "1")];
        all.extend(self.database.iter().map(|database| ("DATABASE_URL", database.url())));
        Server::start(self.path(), &[&all, settings].concat())
    }

    /// The program, where the servers of this environment run.
    pub(crate) fn tithe(&self) -> Command {
        let mut command = tithe(self.path());
        command.envs(self.database.iter().map(|database| ("DATABASE_URL", database.url())));
        command
    }

    /// Runs the program here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.tithe().args(arguments).output().unwrap()
    }

    /// The audit's report, which must be sound.
    pub(crate) fn audit(&self) -> Value {
        let audited = self.run(&["audit", "--json"]);
        let told = String::from_utf8_lossy(&audited.stderr);
        let report: Value =
            serde_json::from_slice(&audited.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {told}"));
        assert_eq!(report["sound"], true, "{report:#}");
        report
    }

    /// Does something to the database behind the program's back.
    pub(crate) fn execute(&self, statements: &str) -> Result<(), String> {
        if let Some(database) = &self.database {
            return on_postgres(database.url(), statements);
        }
        let mut database = SqliteConnection::establish(&self.file().to_string_lossy()).unwrap();
        database.batch_execute(statements).map_err(|refused| refused.to_string())
    }
}

/// A test that fails shows what its servers said.
impl Drop for TestEnv {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.path().join("server.log"))
        {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the end of the server's log:\n{}",
                lines[lines.len().saturating_sub(200)..].join("\n")
            );
        }
    }
}

fn on_postgres(url: &str, statements: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let executed = client.batch_execute(statements).await;
        drop(client);
        driver.await.unwrap().unwrap();
        executed.map_err(|refused| refused.as_db_error().unwrap().message().to_owned())
    })
}
