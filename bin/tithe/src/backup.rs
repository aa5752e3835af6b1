//! `tithe backup`.

use crate::ConfigArgs;
use crate::config::Config;
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::secret_files;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::{Entropy, SystemEntropy};
use tithe_engine::audit::{AuditReport, audit};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};

/// What `tithe backup` is given.
#[derive(Args)]
#[command(
    after_help = "The backup is one SQLite file with the database as it was at one moment. Only its owner can read it. Servers can keep running.\n\
    It gets its name when it is complete, checked, and on disk.\n\n\
    The secrets in the data directory (token.secret, licence.secret) are not in it: back them up once, or use --with-secrets.\n\
    For PostgreSQL use pg_dump or continuous archiving; docs/operating/back-up.md has the commands."
)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent options")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The file to write
    file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Copy the secrets of the data directory, too, into the folder FILE.secrets
    #[arg(long)]
    with_secrets: bool,
    /// Audit the backup. Exits with 1 if it is not sound
    #[arg(long)]
    audit: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// A number that tells one copy of a database from every other; 0 is that of a database that is no copy.
pub(crate) fn copy_number() -> u32 {
    let entropy: &dyn Entropy = &SystemEntropy;
    u32::from_be_bytes(entropy.bytes::<4>()) | 1
}

/// Copies the database into a file.
pub(crate) fn run(config: &Config, args: &BackupArgs) -> Result<ExitCode, Failure> {
    let database = Database::of(&config.storage)?;
    let (url, settings) = database.sqlite("backup")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let backing_up = SqliteStore::backup(url, &args.file, copy_number(), args.force);
    let bytes = runtime.block_on(backing_up).map_err(doing("no backup was made"))?;
    let data_dir = &config.storage.data_dir;
    let folder = secret_files::folder_of(&args.file);
    let saved = if args.with_secrets {
        let saved = secret_files::save(data_dir, &folder);
        saved.map_err(doing(format!(
            "the backup was made, but its secrets cannot be written to {}",
            folder.display()
        )))?
    } else {
        Vec::new()
    };
    let report = args.audit.then(|| runtime.block_on(audit_file(&args.file, settings))).transpose()?;
    let is_sound = report.as_ref().map(|report| report.findings.is_empty());
    let missing: Vec<_> = if args.with_secrets { Vec::new() } else { secret_files::present(data_dir) };
    if args.json {
        let names =
            |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let missing: Vec<PathBuf> = missing.into_iter().map(|(path, _)| path).collect();
        let json = serde_json::json!({
            "file": args.file.display().to_string(),
            "bytes": bytes,
            "sound": is_sound,
            "secrets": names(&saved),
            "secretsNotIncluded": names(&missing),
        });
        println!("{json:#}");
    } else {
        println!("backup: {} ({bytes} bytes), complete and on disk", args.file.display());
        if let Some(report) = &report {
            print_audit(report);
        }
        for path in &saved {
            println!("secret: {}", path.display());
        }
        for (path, lost) in &missing {
            println!("NOT in the backup: {}; without it these are lost: {lost}", path.display());
        }
    }
    Ok(if is_sound == Some(false) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Audits a file that is no server's database.
async fn audit_file(file: &std::path::Path, settings: SqliteSettings) -> Result<AuditReport, Failure> {
    let url = format!("sqlite://{}", file.display());
    let store = SqliteStore::connect_read_only(&url, settings).await?;
    Ok(audit(&store).await?)
}

/// Says in a few lines what an audit has found.
pub(crate) fn print_audit(report: &AuditReport) {
    if report.findings.is_empty() {
        println!("audit: sound: every sat is accounted for ({} transfers)", report.transfers);
        return;
    }
    println!("audit: NOT SOUND: {} findings", report.findings.len());
    for finding in &report.findings {
        println!("  {finding}");
    }
}
