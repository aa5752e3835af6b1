//! Bringing tables up to date.

use diesel::dsl::sql;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tracing::info;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Names the lock that only one program at a time holds while it changes tables: "tithe" in ASCII.
const LOCK: i64 = 0x74_69_74_68_65;

/// What the database, or a step, said.
pub(crate) struct MigrateError(pub(crate) Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for MigrateError {
    fn from(cause: E) -> Self {
        Self(cause.into())
    }
}

/// Runs the steps that are missing; says how many. The lock goes with the connection, also when the program dies.
pub(crate) async fn run(mut connection: AsyncPgConnection) -> Result<usize, MigrateError> {
    // Servers start more often than tables change, and need no right to change them then.
    if missing(&mut connection).await? == 0 {
        return Ok(0);
    }
    info!("the tables are to be brought up to date; waiting for whoever else may be doing that");
    connection.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
    let migrated = on_blocking_thread(connection, |harness| {
        let done = harness.run_pending_migrations(MIGRATIONS)?;
        Ok(done.into_iter().map(|version| version.to_string()).collect::<Vec<_>>())
    });
    let done = migrated.await?;
    for version in &done {
        info!(version, "the tables were brought up to date");
    }
    Ok(done.len())
}

/// The steps that there are.
fn known() -> Result<Vec<String>, MigrateError> {
    let steps = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
    Ok(steps.iter().map(|step| step.name().version().to_string()).collect())
}

/// The last step there is.
pub(crate) fn version() -> String {
    known().unwrap_or_default().into_iter().max().unwrap_or_default()
}

/// How many steps are missing. Changes nothing.
pub(crate) async fn pending(mut connection: AsyncPgConnection) -> Result<usize, MigrateError> {
    missing(&mut connection).await
}

async fn missing(connection: &mut AsyncPgConnection) -> Result<usize, MigrateError> {
    let known = known()?;
    let remembers: bool =
        diesel::select(sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL"))
            .get_result(connection)
            .await?;
    if !remembers {
        return Ok(known.len());
    }
    let applied: Vec<String> = __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(connection)
        .await?;
    Ok(known.iter().filter(|step| !applied.contains(step)).count())
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
        run_on -> Timestamp,
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Migrations are synchronous code on an asynchronous connection: they wait on a thread that may be blocked.
async fn on_blocking_thread<T: Send + 'static>(
    connection: AsyncPgConnection,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Outcome<T> + Send + 'static,
) -> Result<T, MigrateError> {
    let working = tokio::task::spawn_blocking(move || work(&mut AsyncMigrationHarness::new(connection)));
    Ok(working.await??)
}
