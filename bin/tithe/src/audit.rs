//! `tithe audit`.

use crate::config::Config;
use crate::database::Database;
use std::process::ExitCode;
use tithe_engine::audit::{AuditReport, audit};

/// Audits the database; the exit code reports whether it is sound.
pub(crate) fn run(config: &Config, json: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(async {
        let store = database.connect().await?;
        Ok::<_, Box<dyn std::error::Error>>(audit(store.as_ref()).await?)
    })?;
    if json {
        print_json(&report);
    } else {
        print_text(&report);
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_text(report: &AuditReport) {
    println!(
        "{} transfers, {} invoices, {} jobs, {} sessions, {} bootstraps, {} grants",
        report.transfers, report.invoices, report.jobs, report.sessions, report.bootstraps, report.grants
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

fn print_json(report: &AuditReport) {
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
    let report = serde_json::json!({
        "sound": report.findings.is_empty(),
        "transfers": report.transfers,
        "invoices": report.invoices,
        "jobs": report.jobs,
        "sessions": report.sessions,
        "bootstraps": report.bootstraps,
        "grants": report.grants,
        "accountsMsats": accounts,
        "jobsMsats": report.jobs_msats.to_string(),
        "bootstrapsMsats": report.bootstraps_msats.to_string(),
        "sessionsMsats": report.sessions_msats.to_string(),
        "findings": findings,
    });
    println!("{report:#}");
}
