//! Macaroons, without a server.

use clap::{Args, Subcommand};
use tithe_paywall::{Caveat, Macaroon};

#[derive(Subcommand)]
pub(crate) enum MacaroonCommand {
    /// Narrow a macaroon: whoever gets the new one can do less with the session, and cannot take the limits off again
    Narrow(NarrowArgs),
}

#[derive(Args)]
pub(crate) struct NarrowArgs {
    /// The macaroon
    #[arg(env = "TITHE_MACAROON", hide_env_values = true)]
    macaroon: String,
    /// A limit to add: `expires=<unix seconds>`, `model=<name>[,<name>]`, `max_spend_msats=<n>`, `max_spend_msats_per_hour=<n>` (or
    /// `_per_day`, `_per_month`), `max_requests=<n>`. Repeat it for more
    #[arg(long = "caveat", value_name = "CAVEAT", required = true)]
    caveats: Vec<Caveat>,
}

/// Prints the narrowed macaroon.
pub(crate) fn run(command: MacaroonCommand) -> Result<(), Box<dyn std::error::Error>> {
    let MacaroonCommand::Narrow(NarrowArgs { macaroon, caveats }) = command;
    let mut narrowed: Macaroon = macaroon.trim().parse()?;
    for caveat in &caveats {
        narrowed = narrowed.narrow(caveat)?;
    }
    println!("{}", narrowed.encode());
    Ok(())
}
