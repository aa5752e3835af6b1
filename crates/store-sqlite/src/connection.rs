//! Opening the database, and running work on its connections.

use crate::fault::Fault;
use crate::integrity::read_only;
use crate::lock::{LockError, Shared};
use diesel::connection::Connection as _;
use diesel::dsl::sql;
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_engine::log::SlowCall;
use tithe_engine::store::StoreError;
use tithe_store_sql::telemetry;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// A transaction takes a few milliseconds; one that takes this long waits for the disk, or for another program.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) type Connection = SyncConnectionWrapper<SqliteConnection>;

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// A crash of the machine. The only choice for money.
    #[default]
    Full,
    /// A crash of the program only. For tests.
    Off,
}

/// The settings of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteSettings {
    /// The number of connections that read.
    pub readers: u32,
    /// What an acknowledged write survives.
    pub synchronous: Synchronous,
    /// How long to wait for a connection, or for another program's lock.
    pub patience: Duration,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { readers: 4, synchronous: Synchronous::Full, patience: Duration::from_secs(5) }
    }
}

/// What a program does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads and writes.
    ReadWrite,
    /// It only reads: SQLite itself refuses every write.
    ReadOnly,
}

/// The reason why the database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not a SQLite URL.
    #[error("invalid SQLite URL: expected sqlite://path/to/file.db, got {0:?}")]
    Url(String),
    /// The file cannot be opened.
    #[error("cannot open the database {path}")]
    Open {
        /// The path of the file.
        path: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It must not be used now, or not as it is.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no such file, or it is empty.
    #[error("no database at {path}: expected a file that a server or `tithe migrate` has made")]
    Missing {
        /// The path of the file.
        path: String,
    },
    /// The tables are older than this program.
    #[error(
        "the tables of {path} are out of date ({pending} migrations): run `tithe migrate`, or start the server"
    )]
    Outdated {
        /// The path of the file.
        path: String,
        /// The number of missing migrations.
        pending: usize,
    },
    /// The tables cannot be migrated.
    #[error("cannot migrate the database {path}")]
    Migrate {
        /// The path of the file.
        path: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The store.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Pool<Connection>,
    readers: Pool<Connection>,
    /// Keeps others from replacing the database.
    _in_use: Arc<Shared>,
}

impl SqliteStore {
    /// The file that a `sqlite://` URL names.
    ///
    /// # Errors
    /// [`OpenError::Url`].
    pub fn path_of(url: &str) -> Result<&str, OpenError> {
        let path =
            url.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains(['?', '\0']));
        path.ok_or_else(|| OpenError::Url(url.to_owned()))
    }

    /// Creates the database of a `sqlite://` URL if it does not exist, runs the missing migrations and returns their
    /// number. If two programs try at the same time, one of them does it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate(url: &str, settings: SqliteSettings) -> Result<usize, OpenError> {
        let _in_use = Shared::enter(Self::path_of(url)?).await?;
        Self::migrate_tables(url, settings).await
    }

    /// Runs the missing migrations of a database that is kept from being replaced.
    async fn migrate_tables(url: &str, settings: SqliteSettings) -> Result<usize, OpenError> {
        let path = Self::path_of(url)?;
        let open = |cause| OpenError::Open { path: path.to_owned(), cause };
        // The first connection sets the journal mode, which the others rely on.
        let first = establish(path.to_owned(), settings, Access::ReadWrite).await;
        let mut first = first.map_err(|cause| open(cause.into()))?;
        let migrated = first
            .spawn_blocking(|connection| {
                Ok(connection.immediate_transaction(|connection| {
                    let done = connection.run_pending_migrations(MIGRATIONS);
                    done.map(|steps| steps.len()).map_err(MigrateError::Migration)
                }))
            })
            .await;
        match migrated {
            Ok(Ok(steps)) => Ok(steps),
            Ok(Err(MigrateError::Migration(cause))) => {
                Err(OpenError::Migrate { path: path.to_owned(), cause })
            }
            Ok(Err(MigrateError::Database(cause))) | Err(cause) => {
                Err(OpenError::Migrate { path: path.to_owned(), cause: cause.into() })
            }
        }
    }

    /// Runs the missing migrations and opens the database.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: &str, settings: SqliteSettings) -> Result<Self, OpenError> {
        // A large database that was not closed properly is checked once.
        let in_use = Shared::enter(Self::path_of(url)?).await?;
        Self::migrate_tables(url, settings).await?;
        Self::pools(url, settings, Access::ReadWrite, in_use).await
    }

    /// Opens a database that exists and whose tables are up to date. It creates and migrates nothing. Tables that are ahead of this
    /// program are accepted: a newer version has run.
    ///
    /// # Errors
    /// [`OpenError::Missing`], [`OpenError::Outdated`], and the others.
    pub async fn connect(url: &str, settings: SqliteSettings) -> Result<Self, OpenError> {
        let path = Self::path_of(url)?;
        if is_missing(path) && !crate::replacement::is_begun(&crate::files::real(Path::new(path))) {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        let in_use = Shared::enter(path).await?;
        Self::check_tables(path, settings).await?;
        Self::pools(url, settings, Access::ReadWrite, in_use).await
    }

    /// Like [`Self::connect`], for a program that only reads: it leaves the file exactly as it is.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_read_only(url: &str, settings: SqliteSettings) -> Result<Self, OpenError> {
        let in_use = Self::check(url, settings).await?;
        Self::pools(url, settings, Access::ReadOnly, in_use).await
    }

    /// Checks that there is a database whose tables are up to date, and keeps others from replacing it. Changes nothing.
    pub(crate) async fn check(url: &str, settings: SqliteSettings) -> Result<Shared, OpenError> {
        let in_use = Self::check_presence(url).await?;
        Self::check_tables(Self::path_of(url)?, settings).await?;
        Ok(in_use)
    }

    /// Checks that there is a database, and keeps others from replacing it. Changes nothing.
    pub(crate) async fn check_presence(url: &str) -> Result<Shared, OpenError> {
        let path = Self::path_of(url)?;
        let in_use = Shared::read(path).await?;
        // A file of no bytes is a database without tables to SQLite; somebody has lost theirs.
        if is_missing(path) {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        Ok(in_use)
    }

    /// Checks that no migration is missing. Changes nothing.
    async fn check_tables(path: &str, settings: SqliteSettings) -> Result<(), OpenError> {
        let open = |cause| OpenError::Open { path: path.to_owned(), cause };
        let first = establish(path.to_owned(), settings, Access::ReadOnly).await;
        let mut first = first.map_err(|cause| open(cause.into()))?;
        let pending = first.spawn_blocking(|connection| Ok(missing(connection))).await;
        match pending {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(pending)) => Err(OpenError::Outdated { path: path.to_owned(), pending }),
            Ok(Err(cause)) => Err(open(cause)),
            Err(cause) => Err(open(cause.into())),
        }
    }

    async fn pools(
        url: &str,
        settings: SqliteSettings,
        access: Access,
        in_use: Shared,
    ) -> Result<Self, OpenError> {
        let path = Self::path_of(url)?;
        let open = |cause| OpenError::Open { path: path.to_owned(), cause };
        let pool = |size| pool(path, size, settings, access);
        Ok(Self {
            writer: pool(1).await.map_err(|cause| open(cause.into()))?,
            readers: pool(settings.readers.max(1)).await.map_err(|cause| open(cause.into()))?,
            _in_use: Arc::new(in_use),
        })
    }

    /// Runs `work` in one writing transaction.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_as("write", work).await
    }

    /// As [`Self::write`], under a name in the metrics.
    pub(crate) async fn write_as<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _slow = SlowCall::begin("database", name, SLOW);
        measured(name, run(&self.writer, move |connection| connection.immediate_transaction(work))).await
    }

    /// Runs `work` on the writing connection, outside of a transaction.
    pub(crate) async fn outside_a_transaction<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.writer, work).await
    }

    /// Runs `work` on a consistent view.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _slow = SlowCall::begin("database", "read", SLOW);
        measured("read", run(&self.readers, move |connection| connection.transaction(work))).await
    }
}

/// Measures a transaction.
async fn measured<T>(
    name: &'static str,
    transaction: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let done = transaction.await;
    match &done {
        Ok(_) => telemetry::transaction_done(name, began.elapsed()),
        Err(StoreError::Unavailable(_)) => telemetry::transaction_failed(name, "unavailable"),
        Err(_) => telemetry::transaction_failed(name, "failed"),
    }
    done
}

async fn run<T: Send + 'static>(
    pool: &Pool<Connection>,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Fault> + Send + 'static,
) -> Result<T, StoreError> {
    let mut connection = pool.get().await.map_err(|cause| StoreError::Unavailable(Box::new(cause)))?;
    let done = connection.spawn_blocking(move |connection| Ok(work(connection))).await;
    done.map_err(store_error)?.map_err(|fault| match fault {
        Fault::Row(cause) => cause,
        Fault::Database(cause) => store_error(cause),
    })
}

async fn pool(
    path: &str,
    size: u32,
    settings: SqliteSettings,
    access: Access,
) -> Result<Pool<Connection>, diesel_async::pooled_connection::PoolError> {
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |path| establish(path.to_owned(), settings, access).boxed());
    let manager = AsyncDieselConnectionManager::<Connection>::new_with_config(path, config);
    Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .connection_timeout(settings.patience)
        .build(manager)
        .await
}

pub(crate) async fn establish(
    path: String,
    settings: SqliteSettings,
    access: Access,
) -> ConnectionResult<Connection> {
    let address = match access {
        Access::ReadWrite => path,
        Access::ReadOnly => read_only(&path),
    };
    let mut connection = Connection::establish(&address).await?;
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Off => "OFF",
    };
    let patience = settings.patience.as_millis();
    let pragmas = match access {
        Access::ReadWrite => format!(
            "PRAGMA busy_timeout = {patience};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {synchronous};
             PRAGMA foreign_keys = ON;
             PRAGMA secure_delete = ON;"
        ),
        Access::ReadOnly => format!("PRAGMA busy_timeout = {patience}; PRAGMA query_only = ON;"),
    };
    connection.batch_execute(&pragmas).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

fn is_missing(path: &str) -> bool {
    std::fs::metadata(path).map_or(0, |file| file.len()) == 0
}

/// Runs the missing migrations on a file that nobody else uses.
pub(crate) fn migrate_file(
    connection: &mut SqliteConnection,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    connection.run_pending_migrations(MIGRATIONS).map(drop)
}

/// How many of a database's migrations this program does not know; `None` if it is no database of Tithe's.
pub(crate) fn unknown_migrations(address: &str) -> Option<usize> {
    let mut connection = SqliteConnection::establish(address).ok()?;
    let tables = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations') \
        AND EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'transfers')";
    let is_ours: bool = diesel::select(sql::<Bool>(tables)).get_result(&mut connection).ok()?;
    if !is_ours {
        return None;
    }
    let applied: Vec<String> = __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(&mut connection)
        .ok()?;
    let known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS).ok()?;
    let known: Vec<String> = known.iter().map(|step| step.name().version().to_string()).collect();
    Some(applied.iter().filter(|version| !known.contains(version)).count())
}

/// The number of missing migrations. Changes nothing.
fn missing(connection: &mut SqliteConnection) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS)?;
    let remembers = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
    let remembers: bool = diesel::select(sql::<Bool>(remembers)).get_result(connection)?;
    if !remembers {
        return Ok(known.len());
    }
    let applied: Vec<String> =
        __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(connection)?;
    let versions = known.iter().map(|step| step.name().version().to_string());
    Ok(versions.filter(|version| !applied.contains(version)).count())
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
        run_on -> Timestamp,
    }
}

enum MigrateError {
    Database(diesel::result::Error),
    Migration(Box<dyn std::error::Error + Send + Sync>),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(cause: diesel::result::Error) -> Self {
        Self::Database(cause)
    }
}

pub(crate) fn store_error(cause: diesel::result::Error) -> StoreError {
    // diesel distinguishes SQLITE_BUSY only by its text.
    let busy = match &cause {
        diesel::result::Error::DatabaseError(_, info) => {
            matches!(info.message(), "database is locked" | "database table is locked" | "disk I/O error")
                || info.message().contains("disk is full")
        }
        _ => false,
    };
    if busy { StoreError::Unavailable(Box::new(cause)) } else { StoreError::Failed(Box::new(cause)) }
}
