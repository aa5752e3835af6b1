//! `tithe forget`: deletes the texts of one customer.

use crate::ConfigArgs;
use crate::config::Config;
use crate::database::Database;
use crate::failure::Failure;
use crate::operator::operator_engine;
use clap::Args;
use std::process::ExitCode;
use tithe_engine::records::{TextOwner, TextsFound};
use tithe_engine::texts::Forgotten;

#[derive(Args)]
pub(crate) struct ForgetArgs {
    /// The owner of the texts: identity:NPUB (or its hex form), session:ID, job:ID or install:ID
    owner: TextOwner,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Only count what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(config: &Config, args: &ForgetArgs) -> Result<ExitCode, Failure> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let engine = operator_engine(config, database.connect().await?).await?;
        if args.dry_run {
            show(args, &engine.texts.found(args.owner).await?, None);
        } else {
            let forgotten = engine.texts.forget(args.owner).await?;
            show(args, &forgotten.now, Some(&forgotten));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn show(args: &ForgetArgs, texts: &TextsFound, forgotten: Option<&Forgotten>) {
    let TextsFound { jobs, session_requests, responses, running } = texts;
    if args.json {
        let mut shown = serde_json::json!({
            "owner": args.owner.to_string(),
            "dryRun": args.dry_run,
            "jobs": jobs,
            "sessionRequests": session_requests,
            "responses": responses,
            "running": running,
        });
        if let (Some(forgotten), Some(fields)) = (forgotten, shown.as_object_mut()) {
            let finished_at = forgotten.deletion.finished_at.map(|at| at.to_string());
            fields.insert("requestedAt".to_owned(), forgotten.deletion.requested_at.to_string().into());
            fields.insert("finishedAt".to_owned(), finished_at.into());
            fields.insert("overwritten".to_owned(), forgotten.overwritten.into());
        }
        println!("{shown:#}");
        return;
    }
    let verb = if args.dry_run { "would be deleted" } else { "deleted" };
    println!(
        "{}: texts {verb}: {jobs} jobs, {session_requests} requests of sessions, {responses} stored responses",
        args.owner
    );
    if *running > 0 {
        println!("{running} still run: the servers delete their texts when they have ended");
    }
    if forgotten.is_some_and(|forgotten| !forgotten.overwritten) {
        println!(
            "the database has not overwritten all of it yet, and backups keep what they have: see \"Customers' texts\" in \
             docs/operating/size.md"
        );
    }
}
