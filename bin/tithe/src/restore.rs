//! `tithe restore`.

use crate::ConfigArgs;
use crate::backup::{copy_number, print_audit};
use crate::config::Config;
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::private;
use crate::secret_files::{self, PutBack};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::{Clock, SystemClock};
use tithe_engine::audit::audit;
use tithe_store_sqlite::{Exclusive, SqliteStore, Staged};

/// What `tithe restore` is given.
#[derive(Args)]
#[command(
    after_help = "The backup is checked, copied, brought up to date and audited before anything is changed.\n\
    Then it takes the place of the database, whose files are kept beside it (tithe.db.before-restore-…).\n\
    An interruption at any moment leaves the former or the new database whole.\n\n\
    What happened after the backup is not in it. `tithe audit --wallet` lists the payments that the wallet received since."
)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The backup, a file that `tithe backup` has made
    file: PathBuf,
    /// Restore the backup although its audit finds something
    #[arg(long)]
    force: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What has happened when a restore fails.
const NOTHING: &str = "nothing was restored";

/// Puts a backup in the place of the database.
pub(crate) fn run(config: &Config, args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let database = Database::of(&config.storage)?;
    let (url, settings) = database.sqlite("restore")?;
    let data_dir = &config.storage.data_dir;
    private::make_folder_for_owner(data_dir)
        .map_err(doing(format!("cannot use the data directory {}", data_dir.display())))?;
    let alone = Exclusive::take(SqliteStore::path_of(url)?).map_err(doing(NOTHING))?;
    let number = copy_number();
    let name = format!("{}-{number:08x}", SystemClock.now().unix_seconds());
    let runtime = tokio::runtime::Runtime::new()?;
    let (staged, report) = runtime.block_on(async {
        let staged = Staged::of(&args.file, alone, number, &name).await.map_err(doing(NOTHING))?;
        let store = SqliteStore::connect_read_only(&staged.url(), settings).await.map_err(doing(NOTHING))?;
        let report = audit(&store).await?;
        Ok::<_, Failure>((staged, report))
    })?;
    let is_sound = report.findings.is_empty();
    if !is_sound && !args.force {
        print_audit(&report);
        return Err("nothing was restored: expected a sound backup; --force restores it all the same".into());
    }
    // A server that waits for the database generates the secrets that are missing when it starts. So they come first.
    let folder = secret_files::folder_of(&args.file);
    let secrets = secret_files::put_back(&folder, data_dir);
    let secrets =
        secrets.map_err(doing(format!("{NOTHING}: cannot put back the secrets of {}", folder.display())))?;
    let former = staged.put_in_place(&name)?;
    if args.json {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|(path, outcome)| {
                serde_json::json!({ "file": path.display().to_string(), "outcome": format!("{outcome:?}").to_lowercase() })
            })
            .collect();
        let json = serde_json::json!({
            "restored": args.file.display().to_string(),
            "former": former.as_ref().map(|former| former.display().to_string()),
            "sound": is_sound,
            "transfers": report.transfers,
            "secrets": secrets,
        });
        println!("{json:#}");
    } else {
        println!("restored: {}", args.file.display());
        print_audit(&report);
        match &former {
            Some(former) => println!("the former database is kept: {}", former.display()),
            None => println!("there was no database before"),
        }
        for (path, outcome) in &secrets {
            match outcome {
                PutBack::Restored => println!("secret restored: {}", path.display()),
                PutBack::Same => println!("secret unchanged: {}", path.display()),
                PutBack::Differs => println!(
                    "secret NOT restored: {} is another one, and was left; configure the one in {} besides (TITHE_TOKEN_SECRET)",
                    path.display(),
                    folder.display()
                ),
            }
        }
        println!("what happened after the backup is not in it: run `tithe audit --wallet`");
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
