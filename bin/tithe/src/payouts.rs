//! `tithe payouts`: what is owed to customers, for the operator.

use crate::ConfigArgs;
use crate::config::Config;
use crate::database::Database;
use crate::failure::Failure;
use crate::operator::operator_engine;
use clap::Subcommand;
use std::process::ExitCode;
use tithe_engine::Engine;
use tithe_engine::payouts::OperatorSettlement;
use tithe_ledger::AccountId;
use tithe_lightning::{PaymentHash, Preimage};
use tithe_money::{Msats, Sats};
use tithe_payouts::{Obligation, Payout, PayoutState};

/// How many obligations are read at once.
const PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum PayoutsCommand {
    /// List everything that is owed to customers
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is owed to one customer, with every payment that was tried
    Show {
        /// The account: job:ID, session:ID or bootstrap:ID
        account: AccountId,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look up the payment in flight now, or try now to pay what is due
    Retry {
        /// The account: job:ID, session:ID or bootstrap:ID
        account: AccountId,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Book how something was settled that Tithe cannot settle itself
    Settle {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        how: Settlement,
    },
}

#[derive(Subcommand)]
pub(crate) enum Settlement {
    /// You paid the customer by other means: it is booked as your own money
    PaidElsewhere {
        /// The account: job:ID, session:ID or bootstrap:ID
        account: AccountId,
        /// How much, in sats
        sats: u64,
    },
    /// Nobody will claim it: it becomes revenue
    Forfeit {
        /// The account: job:ID, session:ID or bootstrap:ID
        account: AccountId,
        /// How much, in sats
        sats: u64,
    },
    /// A payment in flight that the wallet knows nothing of was made, as its preimage proves
    Succeeded {
        /// The payment hash
        payment_hash: PaymentHash,
        /// The preimage: 64 hex digits
        preimage: String,
        /// The routing fee, in msats
        #[arg(long, default_value_t = 0)]
        fee_msats: u64,
    },
    /// A payment in flight that the wallet knows nothing of was certainly not made
    Failed {
        /// The payment hash
        payment_hash: PaymentHash,
    },
}

impl PayoutsCommand {
    /// The arguments that name the configuration.
    pub(crate) const fn config(&self) -> &ConfigArgs {
        match self {
            Self::List { config, .. }
            | Self::Show { config, .. }
            | Self::Retry { config, .. }
            | Self::Settle { config, .. } => config,
        }
    }
}

/// Runs a command.
pub(crate) fn run(config: &Config, command: PayoutsCommand) -> Result<ExitCode, Failure> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let engine = operator_engine(config, database.connect().await?).await?;
        match command {
            PayoutsCommand::List { json, .. } => list(&engine, json).await?,
            PayoutsCommand::Show { account, json, .. } => {
                let (owed, payouts) = engine.payouts.history(account).await?;
                show(&owed, &payouts, json);
            }
            PayoutsCommand::Retry { account, .. } => {
                println!("{}", line(&engine.payouts.retry(account).await?));
            }
            PayoutsCommand::Settle { how, .. } => settle(&engine, how).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(engine: &Engine, json: bool) -> Result<(), Failure> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = engine.payouts.due(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.account);
        all.extend(page);
    }
    if json {
        println!("{:#}", serde_json::Value::from(all.iter().map(obligation_json).collect::<Vec<_>>()));
        return Ok(());
    }
    for owed in &all {
        println!("{}", line(owed));
    }
    let due: u64 = all.iter().map(|owed| owed.due.get()).fold(0, u64::saturating_add);
    println!("{} obligations, {due} sats due", all.len());
    Ok(())
}

fn line(owed: &Obligation) -> String {
    let destination = match &owed.destination {
        Some(destination) => format!("; to {destination:?}"),
        None if owed.due.is_zero() => String::new(),
        None => "; unclaimed".to_owned(),
    };
    let problem = owed.problem.as_ref().map_or(String::new(), |problem| format!("; {problem}"));
    format!(
        "{}  {}  {} due of {}, since {}{destination}{problem}",
        owed.account,
        owed.state().as_str(),
        owed.due,
        owed.accrued,
        owed.created_at
    )
}

fn show(owed: &Obligation, payouts: &[Payout], json: bool) {
    if json {
        let mut shown = obligation_json(owed);
        let payouts: Vec<_> = payouts.iter().map(payout_json).collect();
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("payouts".to_owned(), payouts.into());
        }
        println!("{shown:#}");
        return;
    }
    println!("{}", line(owed));
    for payout in payouts {
        let detail = match &payout.state {
            PayoutState::Paying { since } => format!("since {since}, looked up {} times", payout.looks),
            PayoutState::Paid { fee, .. } => format!("at {}, routing fee {fee}", payout.updated_at),
            PayoutState::Failed { reason } => format!("at {}: {reason}", payout.updated_at),
        };
        println!(
            "  payment {}  {}  {}, attempt {}, {detail}",
            payout.payment_hash,
            payout.state.as_str(),
            payout.amount,
            payout.attempts
        );
    }
}

fn obligation_json(owed: &Obligation) -> serde_json::Value {
    serde_json::json!({
        "account": owed.account.to_string(),
        "state": owed.state().as_str(),
        "accruedSats": owed.accrued.get(),
        "dueSats": owed.due.get(),
        "destination": owed.destination.as_ref().map(ToString::to_string),
        "inFlight": owed.in_flight.map(|hash| hash.to_string()),
        "failures": owed.failures,
        "problem": owed.problem,
        "createdAt": owed.created_at.to_string(),
        "updatedAt": owed.updated_at.to_string(),
    })
}

fn payout_json(payout: &Payout) -> serde_json::Value {
    let (fee, reason) = match &payout.state {
        PayoutState::Paid { fee, .. } => (Some(fee.get().to_string()), None),
        PayoutState::Failed { reason } => (None, Some(reason.clone())),
        PayoutState::Paying { .. } => (None, None),
    };
    serde_json::json!({
        "paymentHash": payout.payment_hash.to_string(),
        "state": payout.state.as_str(),
        "amountSats": payout.amount.get(),
        "feeLimitSats": payout.fee_limit.get(),
        "feeMsats": fee,
        "reason": reason,
        "attempts": payout.attempts,
        "looks": payout.looks,
        "createdAt": payout.created_at.to_string(),
        "updatedAt": payout.updated_at.to_string(),
    })
}

async fn settle(engine: &Engine, how: Settlement) -> Result<(), Failure> {
    let payouts = &engine.payouts;
    let owed = match how {
        Settlement::PaidElsewhere { account, sats } => {
            payouts.settle(account, Sats::new(sats)?, OperatorSettlement::PaidElsewhere).await?
        }
        Settlement::Forfeit { account, sats } => {
            payouts.settle(account, Sats::new(sats)?, OperatorSettlement::Forfeited).await?
        }
        Settlement::Succeeded { payment_hash, preimage, fee_msats } => {
            let preimage: Preimage = preimage.parse()?;
            let fee = Msats::new(fee_msats)?;
            let payout = payouts.end(payment_hash, Some((preimage, fee))).await?;
            payouts.history(payout.account).await?.0
        }
        Settlement::Failed { payment_hash } => {
            let payout = payouts.end(payment_hash, None).await?;
            payouts.history(payout.account).await?.0
        }
    };
    println!("{}", line(&owed));
    Ok(())
}
