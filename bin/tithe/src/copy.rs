//! `tithe copy`.

use crate::ConfigArgs;
use crate::config::Config;
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::private;
use crate::url::without_password;
use clap::Args;
use std::process::ExitCode;
use tithe_engine::audit::{AuditReport, audit};
use tithe_store_postgres::PostgresTables;
use tithe_store_sql::copy::{Copied, Tables, copy};
use tithe_store_sqlite::{Exclusive, SqliteStore, SqliteTables};

/// What `tithe copy` is given.
#[derive(Args)]
#[command(
    after_help = "Both are URLs as in DATABASE_URL; the one that is not given is the configured database, so that a password \
    need not be on the command line. The target's tables are made, and must be empty. Everything is copied in one transaction: ids, \
    numbers, idempotency keys, unpaid invoices. It is compared row by row before it is committed, and then both databases are \
    audited.\n\n\
    Stop the servers first. The secrets of the data directory and the simulated wallet are in no database: servers on the copy need \
    the same ones.\n\nExits with 0 if the copy is complete and sound, and 1 if not."
)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database to read (default: the configured one)
    #[arg(long, value_name = "URL", required_unless_present = "to")]
    from: Option<String>,
    /// The empty database to fill (default: the configured one)
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Copies one database into another.
pub(crate) fn run(config: &Config, args: &CopyArgs) -> Result<ExitCode, Failure> {
    let storage = &config.storage;
    let configured = storage.database();
    let url = |given: &Option<String>| given.clone().unwrap_or_else(|| storage.configured_url().to_owned());
    let (from, to) =
        (Database::of_url(storage, &url(&args.from))?, Database::of_url(storage, &url(&args.to))?);
    if from.url() == to.url() {
        let shown = without_password(&configured).unwrap_or(configured);
        return Err(
            format!("the source and the target are the same: expected two databases, got {shown}").into()
        );
    }
    let (copied, audits) = tokio::runtime::Runtime::new()?.block_on(async {
        check_exists(&from)?;
        let source_alone = alone(&from)?;
        let mut source = source(&from).await?;
        if let Database::Sqlite { .. } = to {
            private::make_folder(&storage.data_dir)?;
        }
        // The target is another database than the one that this machine's servers know.
        to.forget_timelines().migrate().await.map_err(doing("cannot prepare the target"))?;
        let target_alone = alone(&to)?;
        let mut target = target(&to).await?;
        let copied = copy(source.as_mut(), target.as_mut()).await.map_err(doing("nothing was copied"))?;
        drop((source, target, source_alone, target_alone));
        let audits = (audited(&from).await?, audited(&to).await?);
        Ok::<_, Failure>((copied, audits))
    })?;
    let (theirs, ours) = &audits;
    let agree = theirs == ours;
    let is_sound = agree && ours.findings.is_empty();
    if args.json {
        print_json(&copied, agree, is_sound);
    } else {
        print_text(&copied, theirs, ours);
        println!(
            "not copied, because it is in no database: the data directory {} (token.secret, licence.secret, the simulated \
             wallet); servers on the copy need the same files, or the same TITHE_TOKEN_SECRET, TITHE_CLAIM_SECRET and \
             TITHE_LICENCE_SECRET",
            storage.data_dir.display()
        );
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nobody else may use a SQLite database meanwhile. A PostgreSQL database is looked at when it is opened.
fn alone(database: &Database) -> Result<Option<Exclusive>, Failure> {
    match database {
        Database::Sqlite { url, .. } => {
            let taken = Exclusive::take(SqliteStore::path_of(url)?).map_err(doing("nothing was copied"))?;
            Ok(Some(taken.for_reading()))
        }
        Database::Postgres { .. } => Ok(None),
    }
}

/// SQLite takes a file that is not there for a new database.
fn check_exists(database: &Database) -> Result<(), Failure> {
    let Database::Sqlite { url, .. } = database else { return Ok(()) };
    let path = SqliteStore::path_of(url)?;
    if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return Err(format!("no database at {path}: expected one that a server has made").into());
    }
    Ok(())
}

async fn source(database: &Database) -> Result<Box<dyn Tables>, Failure> {
    Ok(match database {
        Database::Sqlite { url, settings } => {
            let path = SqliteStore::path_of(url)?;
            Box::new(SqliteTables::of_source(path, *settings).await.map_err(doing("cannot read the source"))?)
        }
        Database::Postgres { url, settings, .. } => Box::new(
            PostgresTables::of_source(url, *settings).await.map_err(doing("cannot read the source"))?,
        ),
    })
}

async fn target(database: &Database) -> Result<Box<dyn Tables>, Failure> {
    Ok(match database {
        Database::Sqlite { url, settings } => {
            let path = SqliteStore::path_of(url)?;
            Box::new(
                SqliteTables::of_target(path, *settings).await.map_err(doing("cannot write the target"))?,
            )
        }
        Database::Postgres { url, settings, .. } => Box::new(
            PostgresTables::of_target(url, *settings).await.map_err(doing("cannot write the target"))?,
        ),
    })
}

async fn audited(database: &Database) -> Result<AuditReport, Failure> {
    let store = database.connect_to_read().await?;
    Ok(audit(store.as_ref()).await.map_err(doing("the copy was made, but cannot be audited"))?)
}

fn print_text(copied: &Copied, theirs: &AuditReport, ours: &AuditReport) {
    for table in &copied.tables {
        println!("  {:<24} {:>12} rows  sha256 {}", table.name, table.rows, table.sha256);
    }
    println!("copied: {} rows; every table has the same rows on both sides", copied.rows());
    for (side, report) in [("source", theirs), ("target", ours)] {
        print!("{side}: ");
        crate::backup::print_audit(report);
    }
    if theirs != ours {
        println!("the two audits DIFFER: do not use the target");
    }
}

fn print_json(copied: &Copied, agree: bool, is_sound: bool) {
    let tables: Vec<_> = copied
        .tables
        .iter()
        .map(|table| serde_json::json!({ "name": table.name, "rows": table.rows, "sha256": table.sha256 }))
        .collect();
    let json = serde_json::json!({
        "rows": copied.rows(),
        "tables": tables,
        "auditsAgree": agree,
        "sound": is_sound,
    });
    println!("{json:#}");
}
