//! `tithe licence revoke` and `tithe licence revoked`: licences that are refused before they expire.

use super::key_ring::KeyRing;
use crate::config::Config;
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::operator::operator_engine;
use tithe_clock::{Clock, SystemClock};
use tithe_engine::Engine;
use tithe_licences::{LicenceId, Revocation};

/// Revokes a licence, named by itself or by its id.
pub(super) fn revoke(config: &Config, licence: &str, reason: String) -> Result<(), Failure> {
    let id = id_of(config, licence.trim())?;
    let before = SystemClock.now();
    let revocation =
        with_engine(config, async |engine| Ok(engine.credits.licence_revoke(id, reason).await?))?;
    if revocation.revoked_at < before {
        println!("{}: it was revoked before", line(&revocation));
    } else {
        println!("{}", line(&revocation));
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
    println!("{} licences revoked", revoked.len());
    Ok(())
}

/// The id of a licence that is named by itself or by its id.
fn id_of(config: &Config, licence: &str) -> Result<LicenceId, Failure> {
    if let Ok(id) = licence.parse() {
        return Ok(id);
    }
    let keys = KeyRing::existing(config)?.licence_keys();
    let authentic = keys.authenticate(licence);
    Ok(authentic.map_err(doing("cannot revoke that: expected a licence that is accepted, or its id"))?.id)
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
