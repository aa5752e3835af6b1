//! `tithe identity`: a customer's own key. Values that scripts may use are written to standard output, everything else to
//! standard error.

pub(crate) mod key_file;

use crate::client::{Client, Failure, Me, ServerArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::SystemEntropy;

#[derive(Subcommand)]
pub(crate) enum IdentityCommand {
    /// Create a key and store it in a file
    New(KeyArgs),
    /// Show your public key and, if the server is reachable, your trust and budget there
    Show(LoginArgs),
    /// Log in and print the token, to be sent in the header `X-Nostr-Token`
    Login(LoginArgs),
}

#[derive(Args)]
pub(crate) struct KeyArgs {
    /// The key file (default: `TITHE_IDENTITY`, or else tithe/identity.nsec in your configuration folder)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command. The exit code is 0 for success, 1 for an error and 2 for wrong usage (clap's).
pub(crate) fn run(command: IdentityCommand) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        IdentityCommand::New(args) => new(args)?,
        IdentityCommand::Show(args) => runtime.block_on(show(args))?,
        IdentityCommand::Login(args) => runtime.block_on(login(args))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn new(args: KeyArgs) -> Result<(), Box<dyn std::error::Error>> {
    let path = key_file::place(args.file)?;
    let key = key_file::create(&path, &SystemEntropy)?;
    println!("{}", key.pubkey().npub());
    eprintln!(
        "This is your public key. Your secret key is in {}. Anyone who has it can act as you, and it cannot be recovered: keep a copy.",
        path.display()
    );
    Ok(())
}

async fn show(args: LoginArgs) -> Result<(), Box<dyn std::error::Error>> {
    let path = key_file::place(args.key.file)?;
    let key = key_file::read(&path)?;
    let server = &args.server.server;
    let mut client = Client::new(server)?;
    println!("npub    {}", key.pubkey().npub());
    println!("hex     {}", key.pubkey());
    println!("key     {}", path.display());
    let standing = match client.log_in(key).await {
        Ok(_) => client.me().await,
        Err(failure) => Err(failure),
    };
    match standing {
        Ok(me) => println!("server  {server}\n{}", standing_lines(&me)),
        Err(failure @ Failure::NoServer { .. }) => {
            eprintln!("{failure} Without it, your trust and budget cannot be shown.");
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(())
}

fn standing_lines(me: &Me) -> String {
    let trust = &me.trust;
    let next = match (&trust.next_tier, &trust.points_to_next_tier) {
        (Some(tier), Some(missing)) => format!("{missing} more points to {tier}"),
        _ => "the highest tier".to_owned(),
    };
    let day = &me.free_tier;
    let until = day.resets_at.as_ref().map(|at| format!(", until {at}")).unwrap_or_default();
    let today = match day.daily_budget_sats {
        0 => "none for this tier".to_owned(),
        budget => format!("{} of {budget} sats left{until}", day.remaining_today_sats),
    };
    format!("tier    {}, score {}; {next}\nbudget  {today}", trust.tier, trust.score)
}

async fn login(args: LoginArgs) -> Result<(), Box<dyn std::error::Error>> {
    let key = key_file::read(&key_file::place(args.key.file)?)?;
    let npub = key.pubkey().npub();
    let verified = Client::new(&args.server.server)?.log_in(key).await?;
    println!("{}", verified.token);
    eprintln!("{npub} has logged in; the token is valid until {}.", verified.expires_at);
    Ok(())
}
