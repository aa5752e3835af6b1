//! `tithe`: parse the configuration, build the adapters, run.

mod ask;
mod audit;
mod client;
mod config;
mod database;
mod identity;
mod migrate;
mod private;
mod secret;
mod serve;

use clap::{Args, Parser, Subcommand};
use config::Config;
use std::path::PathBuf;
use std::process::ExitCode;

/// Sells AI work for sats over Bitcoin Lightning, and gives a tenth of what it earns back.
#[derive(Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "First steps, on one machine, with play money:\n  \
        TITHE_DEV=1 tithe serve                      start a server; it says what to try\n  \
        tithe ask --dev-pay 'Why is the sky blue?'   buy a piece of work from it\n  \
        tithe identity new                           make a key; with it `tithe ask --identity` earns trust\n\n\
        Settings come from defaults, then a TOML file, then environment variables:\n  \
        tithe config check                           shows what is in force, and where it comes from"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(ConfigArgs),
    /// Bring the database's tables up to date. `serve` does it too; this is for who wants it done before
    Migrate(ConfigArgs),
    /// Prove that no sat was lost or invented: check every row of the database against the rules
    Audit {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Buy a piece of work from a running server, in the terminal
    Ask(ask::AskArgs),
    /// Be somebody: a key of your own, which work earns trust for, and which the pool pays for in time
    Identity {
        #[command(subcommand)]
        command: identity::IdentityCommand,
    },
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the configuration and print what is in force, secrets hidden
    Check(ConfigArgs),
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration file; without it `tithe.toml`, if there is one
    #[arg(long, value_name = "FILE", env = "TITHE_CONFIG")]
    config: Option<PathBuf>,
}

/// An error with all its causes, for people.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str("\n  because: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => load(&args).and_then(|config| serve::run(&config)),
        Command::Migrate(args) => load(&args).and_then(|config| migrate::run(&config)),
        Command::Audit { config, json } => load(&config).and_then(|config| audit::run(&config, json)),
        Command::Config { command: ConfigCommand::Check(args) } => load(&args).and_then(|config| {
            print!("{}", config.describe());
            serve::check(&config)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Ask(args) => ask::run(args),
        Command::Identity { command } => identity::run(command),
        Command::Openapi => {
            print!("{}", tithe_http::openapi_json());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("tithe: {}", chain(failure.as_ref()));
        ExitCode::FAILURE
    })
}

fn load(args: &ConfigArgs) -> Result<Config, Box<dyn std::error::Error>> {
    Ok(Config::load(args.config.as_deref())?)
}
