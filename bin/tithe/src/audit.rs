//! `tithe audit`, and `tithe audit --wallet`.

use crate::config::Config;
use crate::database::Database;
use crate::operator::operator_engine;
use std::process::ExitCode;
use tithe_engine::audit::{AuditReport, audit};
use tithe_engine::reconciliation::{Balances, Difference, DifferenceKind, WalletReport};
use tithe_money::Msats;

/// The exit code of an audit that could not look: it says nothing about the money.
const COULD_NOT_LOOK: u8 = 2;

/// The exit code of an audit that has failed.
pub(crate) fn could_not_look() -> ExitCode {
    ExitCode::from(COULD_NOT_LOOK)
}

/// Audits the database, and with `wallet` compares it with the wallet. The exit code is 0 if everything is sound, 1 if something is
/// not, and 2 if the wallet has not answered.
pub(crate) fn run(config: &Config, json: bool, wallet: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (report, wallet) = runtime.block_on(async {
        let store = database.connect_to_read().await?;
        let report = audit(store.as_ref()).await?;
        let wallet = if wallet {
            Some(operator_engine(config, store).await?.reconciliation.report().await?)
        } else {
            None
        };
        Ok::<_, Box<dyn std::error::Error>>((report, wallet))
    })?;
    if json {
        print_json(&report, wallet.as_ref());
    } else {
        print_text(&report);
        if let Some(wallet) = &wallet {
            print_wallet(wallet);
        }
    }
    let findings = !report.findings.is_empty();
    Ok(match wallet {
        _ if findings => ExitCode::FAILURE,
        Some(wallet) if wallet.is_unknown() => could_not_look(),
        Some(wallet) if !wallet.is_sound() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn print_wallet(report: &WalletReport) {
    let Balances { expected, held, in_flight, shortfall, surplus } = report.balances;
    println!("wallet: {expected} msat by the ledger, {} msat of them may be in flight", in_flight.get());
    match held {
        Some(held) => println!("wallet: {} msat by its own word", held.get()),
        None => println!("wallet: UNKNOWN: it did not say what it holds"),
    }
    if shortfall > 0 {
        println!(
            "wallet: SHORTFALL of {} sats ({shortfall} msat)",
            shortfall.div_euclid(1_000) + i128::from(shortfall % 1_000 > 0)
        );
    }
    if surplus > 0 {
        println!("wallet: {surplus} msat besides, which the ledger knows nothing of");
    }
    match report.listed {
        Some(listed) => println!("wallet: {listed} payments listed"),
        None => println!("wallet: UNKNOWN: it did not list its payments"),
    }
    for difference in &report.differences {
        let mark = match difference.kind {
            DifferenceKind::ForgottenInvoice => "LOST",
            kind if kind.is_error() => "WRONG",
            _ => "note",
        };
        println!("  {mark}: {difference}");
    }
    let lost = report.differences.iter().filter(|it| it.kind == DifferenceKind::ForgottenInvoice);
    let lost: Vec<u64> = lost.filter_map(|it| it.wallet).map(|(amount, _)| amount.get()).collect();
    if !lost.is_empty() {
        println!(
            "wallet: {} payments ({} msat) of invoices that the database has lost: the database was restored to a moment before \
             them, or is another one. Nobody is credited. Pay a customer back from the wallet who shows one of these payment hashes",
            lost.len(),
            lost.iter().sum::<u64>()
        );
    }
    if report.is_sound() {
        println!("wallet: sound: every payment of ours is in the ledger and in the wallet");
    }
}

fn difference_json(difference: &Difference) -> serde_json::Value {
    let side = |side: Option<(Msats, Msats)>| {
        side.map(|(amount, fee)| serde_json::json!({ "amountMsats": amount.get().to_string(), "feeMsats": fee.get().to_string() }))
    };
    serde_json::json!({
        "paymentHash": difference.payment_hash.to_string(),
        "detail": difference.to_string(),
        "isError": difference.kind.is_error(),
        "isLostInvoice": difference.kind == DifferenceKind::ForgottenInvoice,
        "settledAt": difference.settled_at.map(|at| at.to_string()),
        "description": difference.description,
        "ledger": side(difference.ledger),
        "wallet": side(difference.wallet),
    })
}

fn print_text(report: &AuditReport) {
    println!(
        "{} transfers, {} invoices, {} jobs, {} sessions, {} bootstraps, {} payouts, {} grants, {} installs, {} credits",
        report.transfers,
        report.invoices,
        report.jobs,
        report.sessions,
        report.bootstraps,
        report.payouts,
        report.grants,
        report.installs,
        report.credits
    );
    println!("balance of each account (credits minus debits; `wallet` is negative by what it has received):");
    for (account, msats) in &report.balances {
        println!("  {:<14} {msats:>20} msat", account.to_string());
    }
    println!("  {:<14} {:>20} msat", "job:*", report.jobs_msats);
    println!("  {:<14} {:>20} msat", "session:*", report.sessions_msats);
    println!("  {:<14} {:>20} msat", "bootstrap:*", report.bootstraps_msats);
    if report.findings.is_empty() {
        println!("sound: every sat is accounted for");
        return;
    }
    println!("NOT SOUND: {} findings", report.findings.len());
    for finding in &report.findings {
        println!("  {finding}");
    }
}

fn print_json(report: &AuditReport, wallet: Option<&WalletReport>) {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "invariant": finding.invariant.to_string(),
                "subject": finding.subject,
                "detail": finding.detail,
            })
        })
        .collect();
    let accounts: serde_json::Map<_, _> = report
        .balances
        .iter()
        .map(|(account, msats)| (account.to_string(), serde_json::Value::from(msats.to_string())))
        .collect();
    let wallet = wallet.map(|wallet| {
        let differences: Vec<_> = wallet.differences.iter().map(difference_json).collect();
        serde_json::json!({
            "sound": wallet.is_sound(),
            "expectedMsats": wallet.balances.expected.to_string(),
            "heldMsats": wallet.balances.held.map(|held| held.get().to_string()),
            "inFlightMsats": wallet.balances.in_flight.get().to_string(),
            "shortfallMsats": wallet.balances.shortfall.to_string(),
            "surplusMsats": wallet.balances.surplus.to_string(),
            "paymentsListed": wallet.listed,
            "differences": differences,
        })
    });
    let report = serde_json::json!({
        "wallet": wallet,
        "sound": report.findings.is_empty(),
        "transfers": report.transfers,
        "invoices": report.invoices,
        "jobs": report.jobs,
        "sessions": report.sessions,
        "bootstraps": report.bootstraps,
        "payouts": report.payouts,
        "grants": report.grants,
        "installs": report.installs,
        "credits": report.credits,
        "accountsMsats": accounts,
        "jobsMsats": report.jobs_msats.to_string(),
        "bootstrapsMsats": report.bootstraps_msats.to_string(),
        "sessionsMsats": report.sessions_msats.to_string(),
        "findings": findings,
    });
    println!("{report:#}");
}
