//! `tithe licence revoke` and `tithe licence revoked`: licences that are refused before they expire.

use super::key_ring::KeyRing;
use crate::config::Config;
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::operator::operator_engine;
use tithe_clock::{Clock, SystemClock};
use tithe_engine::Engine;
use tithe_ledger::credits::InstallId;
use tithe_licences::{LicenceId, Revocation};

/// Revokes a licence, named by itself or by its id.
pub(super) fn revoke(config: &Config, licence: &str, reason: String) -> Result<(), Failure> {
    let Named { id, is_authentic } = named(config, licence.trim())?;
    let before = SystemClock.now();
    let revocation = with_engine(config, async |engine| {
        // Licences are not stored, but the installs that have used them are.
        if !is_authentic && engine.credits.install(InstallId::new(id.0)).await?.is_some() {
            return Err("that is the id of an install: expected a licence or its id".into());
        }
        Ok(engine.credits.licence_revoke(id, reason).await?)
    })?;
    if revocation.revoked_at < before {
        println!("{}: it was revoked before", line(&revocation));
    } else {
        println!("{}", line(&revocation));
    }
    if !is_authentic {
        eprintln!("tithe: note: the id was not checked, because licences are not stored");
    }
    Ok(())
}

/// Prints the licences that were revoked.
pub(super) fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let revoked = with_engine(config, async |engine| Ok(engine.credits.licences_revoked().await?))?;
    if json {
        let revoked: Vec<_> = revoked.iter().map(revocation_json).collect();
        println!("{:#}", serde_json::Value::from(revoked));
        return Ok(());
    }
    for revocation in &revoked {
        println!("{}", line(revocation));
    }
    println!("licences revoked: {}", revoked.len());
    Ok(())
}

/// The licence that the operator has named.
struct Named {
    id: LicenceId,
    /// Whether the operator has given the licence itself, not only its id.
    is_authentic: bool,
}

/// The licence that is named by itself or by its id.
fn named(config: &Config, licence: &str) -> Result<Named, Failure> {
    if let Ok(id) = licence.parse() {
        return Ok(Named { id, is_authentic: false });
    }
    let keys = KeyRing::existing(config)?.licence_keys();
    let authentic = keys.authenticate(licence);
    let authentic = authentic.map_err(doing("cannot revoke this: expected a licence or its id"))?;
    Ok(Named { id: authentic.id, is_authentic: true })
}

fn with_engine<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Engine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let engine = operator_engine(config, database.connect().await?).await?;
        work(&engine).await
    })
}

fn line(revocation: &Revocation) -> String {
    let Revocation { licence, reason, revoked_at } = revocation;
    // One line for each, whatever the reason says.
    let reason: String = reason.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let reason = if reason.is_empty() { reason } else { format!("  {reason}") };
    format!("{licence}  revoked at {revoked_at}{reason}")
}

fn revocation_json(revocation: &Revocation) -> serde_json::Value {
    serde_json::json!({
        "id": revocation.licence.to_string(),
        "reason": revocation.reason,
        "revokedAt": revocation.revoked_at.to_string(),
    })
}
