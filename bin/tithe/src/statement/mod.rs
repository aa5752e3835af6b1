//! `tithe statement`: the operator's books of a month, from the database; or a customer's, from the server.

mod customer;
mod month;
mod output;
mod totals;

use crate::ConfigArgs;
use crate::config::Config;
use crate::database::Database;
use crate::failure::Failure;
use clap::Args;
pub(crate) use customer::run as run_of_customer;
use month::Month;
use output::{Format, Writer};
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::{Clock, SystemClock};
use tithe_engine::receipts::{Statement, StatementLine};
use tithe_engine::store::TimeRange;
use tithe_ledger::credits::InstallId;
use tithe_sessions::SessionId;
use tithe_trust::NostrPubkey;
use totals::Totals;

#[derive(Args)]
pub(crate) struct StatementArgs {
    /// The month, in UTC: 2026-11. The running month ends now. Without it, a customer's statement is of all requests
    #[arg(long, value_name = "YYYY-MM", required_unless_present = "url")]
    month: Option<Month>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Only the lines of this session
    #[arg(long, value_name = "ID", group = "customer")]
    session: Option<SessionId>,
    /// Only the lines of this identity: npub1… or 64 hex digits
    #[arg(long, value_name = "NPUB", group = "customer")]
    identity: Option<NostrPubkey>,
    /// Only the lines of this install
    #[arg(long, value_name = "ID", group = "customer")]
    install: Option<InstallId>,
    /// Print a customer's statement, which needs no database: what this server has charged to the session of a macaroon, newest first, by
    /// its receipts
    #[arg(long, value_name = "URL", conflicts_with = "customer")]
    pub(crate) url: Option<String>,
    /// The file with the session's macaroon, `-` for the standard input (default: the macaroon in `TITHE_MACAROON`)
    #[arg(long, value_name = "FILE", requires = "url")]
    macaroon_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

impl StatementArgs {
    fn is_wanted(&self, line: &StatementLine) -> bool {
        self.session.is_none_or(|wanted| line.session == Some(wanted))
            && self.identity.is_none_or(|wanted| line.identity == Some(wanted))
            && self.install.is_none_or(|wanted| line.install == Some(wanted))
    }

    const fn is_of_one_customer(&self) -> bool {
        self.session.is_some() || self.identity.is_some() || self.install.is_some()
    }
}

/// Runs the command. Whoever is listed, all lines of the month are read and compared with the ledger.
pub(crate) fn run(config: &Config, args: &StatementArgs) -> Result<ExitCode, Failure> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let store = database.connect().await?;
        let now = SystemClock.now();
        let month = args.month.ok_or("missing --month")?;
        let TimeRange { from, until } = month.range()?;
        let range = TimeRange { from, until: until.min(now).max(from) };
        let (mut all, mut shown) = (Totals::default(), Totals::default());
        let mut writer = Writer::new(args.format, BufWriter::new(stdout().lock()));
        let TimeRange { from, until } = range;
        writer.begin(&month.to_string(), &format!("from {from}, before {until}"))?;
        let mut statement = Statement::new(store.clone(), range);
        while let Some(lines) = statement.next().await? {
            for line in &lines {
                all.add(line)?;
                if args.is_wanted(line) {
                    shown.add(line)?;
                    writer.line(line)?;
                }
            }
        }
        let sums = store.transfer_sums_of(range).await?;
        all.check(&sums)?;
        let ledger = (!args.is_of_one_customer()).then_some(&sums[..]);
        let totals = shown.rows(ledger);
        let mut out = writer.end(&totals)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}
