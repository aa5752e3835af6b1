//! `tithe identity`: a customer's own key. What one may want to pipe goes to standard output, everything else to standard
//! error.

pub(crate) mod key_file;

use crate::client::{Client, Failure, Me, ServerArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::SystemEntropy;

#[derive(Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a key of your own, and keep it in a file
    New(KeyArgs),
    /// Show who you are and, if the server answers, where you stand there
    Show(LoginArgs),
    /// Log in, and print the token, which is sent as `X-Nostr-Token`
    Login(LoginArgs),
}

#[derive(Args)]
pub(crate) struct KeyArgs {
    /// The file of your key; without it `TITHE_IDENTITY`, or else tithe/identity.nsec in your configuration folder
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

/// How it ended, as an exit code: 0 done, 1 an error, 2 wrong usage (clap's).
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
        "This is your name. Your key is in {}: whoever has it is you, and nobody can replace it, so keep a copy.",
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
            eprintln!("{failure} It would say where you stand.");
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(())
}

fn standing_lines(me: &Me) -> String {
    let trust = &me.trust;
    let next = match (&trust.next_tier, &trust.points_to_next_tier) {
        (Some(tier), Some(missing)) => format!("{tier} needs {missing} more"),
        _ => "there is none above".to_owned(),
    };
    let day = &me.free_tier;
    let until = day.resets_at.as_ref().map(|at| format!(", until {at}")).unwrap_or_default();
    let today = match day.daily_budget_sats {
        0 => "the pool pays nothing for this tier".to_owned(),
        budget => format!("{} of {budget} sats of the pool are left{until}", day.remaining_today_sats),
    };
    format!("tier    {}, with {} points; {next}\ntoday   {today}", trust.tier, trust.score)
}

async fn login(args: LoginArgs) -> Result<(), Box<dyn std::error::Error>> {
    let key = key_file::read(&key_file::place(args.key.file)?)?;
    let npub = key.pubkey().npub();
    let verified = Client::new(&args.server.server)?.log_in(key).await?;
    println!("{}", verified.token);
    eprintln!("{npub} has logged in; the token is valid until {}.", verified.expires_at);
    Ok(())
}
