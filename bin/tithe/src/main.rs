//! `tithe`: parse the configuration, build the adapters, run.

mod accept;
mod adapters;
mod ask;
mod audit;
mod backup;
mod banner;
mod check;
mod client;
mod config;
mod copy;
mod credits;
mod database;
mod failure;
mod forget;
mod healthcheck;
mod identity;
mod licence;
mod log;
mod macaroon;
mod metrics;
mod migrate;
mod models;
mod operator;
mod pay;
mod payouts;
mod peers;
mod private;
mod restore;
mod routes;
mod secret;
mod secret_files;
mod selftest;
mod serve;
mod service_manager;
mod session;
mod statement;
mod traces;
mod url;
mod wallets;

use clap::{Args, Parser, Subcommand};
use config::{Config, LogFormat};
use std::path::PathBuf;
use std::process::ExitCode;

/// Gives memory back that many clients have used at once; the system's allocator keeps most of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sells AI work for sats over Bitcoin Lightning, and puts a tenth of what customers pay into a pool for free work.
#[derive(Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "First steps, on one machine, with play money:\n  \
        TITHE_DEV=1 tithe serve                      start a server; it prints what to try next\n  \
        tithe ask --dev-pay 'Why is the sky blue?'   buy a piece of work from it\n  \
        tithe identity new                           create a key; `tithe ask --identity` then earns trust\n\n\
        Settings come from defaults, then a TOML file, then environment variables:\n  \
        tithe config check                           shows all settings, and where each value comes from"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(ConfigArgs),
    /// Migrate the database's tables. `serve` does this at start, too; use it to migrate in a separate step
    Migrate(ConfigArgs),
    /// Audit the database: verify that no sat was lost or created. Exits with 0 if everything is sound, 1 if not, 2 if it could not look
    Audit {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
        /// Compare the ledger with the wallet's balance and its payments, too
        #[arg(long)]
        wallet: bool,
    },
    /// Copy the SQLite database into one file, while servers use it
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the SQLite database, which is kept under another name. Stop the servers first
    Restore(restore::RestoreArgs),
    /// Copy everything from one database into an empty one: from SQLite to PostgreSQL, or back. Stop the servers first
    Copy(copy::CopyArgs),
    /// Accept a PostgreSQL database that this machine's servers refuse, because it is in another cluster or is an old primary
    Database {
        #[command(subcommand)]
        command: DatabaseCommand,
    },
    /// Show, retry and settle what is owed to customers
    Payouts {
        #[command(subcommand)]
        command: payouts::PayoutsCommand,
    },
    /// Compare the prices of models with a file of prices, and import them
    Models {
        #[command(subcommand)]
        command: models::ModelsCommand,
    },
    /// Import, export and show the credits of apps' installs
    Credits {
        #[command(subcommand)]
        command: credits::CreditsCommand,
    },
    /// Issue, verify and revoke licences, which prove the plans of apps' installs, and manage their keys
    Licence {
        #[command(subcommand)]
        command: licence::LicenceCommand,
    },
    /// Delete the texts of one customer: an identity, a session, a job or an install. Amounts and the ledger stay
    Forget(forget::ForgetArgs),
    /// Print the books of a month: every charge and refund, with totals that are compared with the ledger. With `--url`, a customer's
    /// statement: what was charged to a session, by its receipts
    Statement(statement::StatementArgs),
    /// Check whether the server of this configuration is ready, on its own machine. Exits with 0 if it is, and with 1 if not
    Healthcheck(ConfigArgs),
    /// Inspect the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Buy a piece of work from a running server, in the terminal
    Ask(ask::AskArgs),
    /// Send a request to any server, as curl does, and pay if it answers with a 402 of L402 or `Payment`
    Pay(pay::PayArgs),
    /// Show or claim the refund of a job
    Refund(ask::RefundArgs),
    /// Manage your identity: a Nostr key that earns trust when you pay for work, so that the pool pays for work later
    Identity {
        #[command(subcommand)]
        command: identity::IdentityCommand,
    },
    /// Open a session with a prepaid balance on a running server, and spend it
    Session {
        #[command(subcommand)]
        command: session::SessionCommand,
    },
    /// Narrow the macaroon of a session, to hand it on
    Macaroon {
        #[command(subcommand)]
        command: macaroon::MacaroonCommand,
    },
    /// Check a running server against the HTTP contract, as a customer: jobs, sessions, install credits, refunds, identities, errors
    Selftest(selftest::SelftestArgs),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

#[derive(Subcommand)]
enum DatabaseCommand {
    /// Accept the configured PostgreSQL database, whichever one the servers of this machine have used before. Run it on each machine
    Accept(ConfigArgs),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the configuration and print all settings, with secrets hidden
    Check(check::CheckArgs),
    /// Print all settings with their defaults and meanings, as a Markdown table
    Settings,
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration file (default: `tithe.toml`, if it exists)
    #[arg(long, value_name = "FILE", env = "TITHE_CONFIG")]
    config: Option<PathBuf>,
}

/// Formats an error with all its causes for the terminal.
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

impl Command {
    /// The format in which the command says why it cannot go on: services' failures go where their log goes.
    fn log_format(&self) -> LogFormat {
        match self {
            Self::Serve(args) | Self::Migrate(args) | Self::Audit { config: args, .. } => {
                LogFormat::wanted(args.config.as_deref())
            }
            _ => LogFormat::Pretty,
        }
    }
}

fn main() -> ExitCode {
    private::keep_new_files_private();
    let command = Cli::parse().command;
    let format = command.log_format();
    let outcome = match command {
        Command::Serve(args) => read(&args).and_then(|config| serve::run(&config)),
        Command::Migrate(args) => load(&args).and_then(|config| migrate::run(&config)),
        Command::Audit { config, json, wallet } => {
            load(&config).and_then(|config| audit::run(&config, json, wallet)).or_else(|failure| {
                log::fatal(format, failure.as_ref());
                Ok(audit::could_not_look())
            })
        }
        Command::Backup(args) => load(&args.config).and_then(|config| backup::run(&config, &args)),
        Command::Restore(args) => load(&args.config).and_then(|config| restore::run(&config, &args)),
        Command::Copy(args) => load(&args.config).and_then(|config| copy::run(&config, &args)),
        Command::Database { command: DatabaseCommand::Accept(args) } => {
            load(&args).and_then(|config| accept::run(&config))
        }
        Command::Healthcheck(args) => load(&args).and_then(|config| healthcheck::run(&config)),
        Command::Payouts { command } => {
            load(command.config()).and_then(|config| payouts::run(&config, command))
        }
        Command::Models { command } => {
            load(command.config()).and_then(|config| models::run(&config, command))
        }
        Command::Credits { command } => {
            load(command.config()).and_then(|config| credits::run(&config, command))
        }
        Command::Licence { command } => {
            load(command.config()).and_then(|config| licence::run(&config, command))
        }
        Command::Statement(args) if args.url.is_some() => statement::run_of_customer(&args),
        Command::Statement(args) => load(&args.config).and_then(|config| statement::run(&config, &args)),
        Command::Forget(args) => load(&args.config).and_then(|config| forget::run(&config, &args)),
        Command::Config { command: ConfigCommand::Check(args) } => check::run(&args),
        Command::Config { command: ConfigCommand::Settings } => {
            print!("{}", config::table());
            Ok(ExitCode::SUCCESS)
        }
        Command::Ask(args) => ask::run(args),
        Command::Pay(args) => pay::run(args),
        Command::Refund(args) => ask::refund(&args),
        Command::Session { command } => session::run(command),
        Command::Macaroon { command } => macaroon::run(command).map(|()| ExitCode::SUCCESS),
        Command::Identity { command } => identity::run(command),
        Command::Selftest(args) => Ok(selftest::run(&args)),
        Command::Openapi => {
            print!("{}", tithe_http::openapi_json());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|failure| {
        log::fatal(format, failure.as_ref());
        ExitCode::FAILURE
    })
}

fn read(args: &ConfigArgs) -> Result<Config, Box<dyn std::error::Error>> {
    Ok(Config::load(args.config.as_deref())?)
}

/// The configuration of a command that has no log.
fn load(args: &ConfigArgs) -> Result<Config, Box<dyn std::error::Error>> {
    let config = read(args)?;
    for warning in config.warnings() {
        eprintln!("tithe: warning: {warning}");
    }
    Ok(config)
}
