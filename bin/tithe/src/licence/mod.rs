//! `tithe licence`: the licences that prove the plans of installs, and the keys that sign them, for the operator.

mod key_file;
mod key_ring;
mod revocations;
mod until;

pub(crate) use key_ring::{existing_licence_keys, licence_keys};

use crate::ConfigArgs;
use crate::config::Config;
use crate::failure::{Failure, doing};
use clap::Subcommand;
use key_ring::KeyRing;
use std::process::ExitCode;
use tithe_clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use tithe_ledger::credits::{InstallId, Plan};
use tithe_licences::{KeyId, Licence, LicenceId};
use until::until;

#[derive(Subcommand)]
pub(crate) enum LicenceCommand {
    /// Issue a licence. Only the licence is printed on standard output
    Issue {
        /// The plan that it proves: pro or max
        #[arg(long, value_parser = paid_plan)]
        plan: Plan,
        /// The id of the install that it is for: a UUID in lower case
        #[arg(long, value_name = "UUID")]
        install: InstallId,
        /// The last day on which it is valid (UTC), such as 2027-06-30, or the time at which it expires (RFC 3339)
        #[arg(long, value_name = "DATE", value_parser = until)]
        until: Timestamp,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON: the licence as `token`, with what it says
        #[arg(long)]
        json: bool,
    },
    /// Verify a licence and show what it says, without a database. The exit code is 1 if it is not valid now
    Show {
        /// The licence
        #[arg(value_name = "LICENCE")]
        token: String,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys that verify licences, beginning with the one that signs
    Keys {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Generate a new key that signs licences from now on. The older keys still verify
    Rotate(ConfigArgs),
    /// Remove a key: the licences that it has signed are refused
    Retire {
        /// The id of the key, as `tithe licence keys` prints it
        key: KeyId,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Refuse a licence from now on, before it expires
    Revoke {
        /// The licence, or its id. An id is not checked, because licences are not stored
        licence: String,
        /// The reason, kept for the operator
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List the licences that were revoked, newest first
    Revoked {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl LicenceCommand {
    /// The arguments that name the configuration.
    pub(crate) const fn config(&self) -> &ConfigArgs {
        match self {
            Self::Issue { config, .. }
            | Self::Show { config, .. }
            | Self::Keys { config, .. }
            | Self::Rotate(config)
            | Self::Retire { config, .. }
            | Self::Revoke { config, .. }
            | Self::Revoked { config, .. } => config,
        }
    }
}

fn paid_plan(text: &str) -> Result<Plan, String> {
    match text.parse() {
        Ok(Plan::Core) => Err("every install has core without a licence: expected pro or max".to_owned()),
        Ok(plan) => Ok(plan),
        Err(_) => Err("unknown plan: expected pro or max".to_owned()),
    }
}

/// Runs a command.
pub(crate) fn run(config: &Config, command: LicenceCommand) -> Result<ExitCode, Failure> {
    match command {
        LicenceCommand::Issue { plan, install, until, json, .. } => {
            issue(config, plan, install, until, json)?;
        }
        LicenceCommand::Show { token, json, .. } => show(config, token.trim(), json)?,
        LicenceCommand::Keys { json, .. } => keys(&KeyRing::open(config, &SystemEntropy)?, json),
        LicenceCommand::Rotate(_) => rotate(config)?,
        LicenceCommand::Retire { key, .. } => {
            KeyRing::existing(config)?.retire(key, &SystemEntropy)?;
            println!(
                "key {key} is retired. Restart the servers, so that they refuse the licences that it has signed"
            );
        }
        LicenceCommand::Revoke { licence, reason, .. } => revocations::revoke(config, &licence, reason)?,
        LicenceCommand::Revoked { json, .. } => revocations::list(config, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn issue(
    config: &Config,
    plan: Plan,
    install: InstallId,
    expires_at: Timestamp,
    json: bool,
) -> Result<(), Failure> {
    let (entropy, now) = (SystemEntropy, SystemClock.now());
    let ring = KeyRing::open(config, &entropy)?;
    let key = ring.signing_key()?;
    let id = LicenceId::random(&entropy);
    let licence = Licence { id, install, plan, issued_at: now, expires_at, key: key.id() };
    let token = licence.sign(key)?;
    if expires_at <= now {
        eprintln!("tithe: warning: the licence has already expired, at {expires_at}");
    }
    if json {
        let mut shown = licence_json(&licence);
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("token".to_owned(), token.into());
        }
        println!("{shown:#}");
    } else {
        eprintln!(
            "tithe: licence {id}: {plan} for install {install}, until {expires_at}, signed with key {}",
            key.id()
        );
        println!("{token}");
    }
    Ok(())
}

/// Shows what an authentic licence says, and fails if it is not valid now.
fn show(config: &Config, token: &str, json: bool) -> Result<(), Failure> {
    let keys = KeyRing::existing(config)?.licence_keys();
    let licence = keys.authenticate(token).map_err(doing("the licence is not valid"))?;
    let validity = licence.check_time(SystemClock.now());
    if json {
        let mut shown = licence_json(&licence);
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("valid".to_owned(), validity.is_ok().into());
            fields.insert("problem".to_owned(), validity.err().map(|problem| problem.to_string()).into());
        }
        println!("{shown:#}");
    } else {
        let Licence { id, install, plan, issued_at, expires_at, key } = &licence;
        println!(
            "licence    {id}\ninstall    {install}\nplan       {plan}\nissued     {issued_at}\nexpires    {expires_at}"
        );
        println!("signature  verified with key {key}");
        if validity.is_ok() {
            println!("valid      yes, unless `tithe licence revoked` lists it");
        } else {
            println!("valid      no");
        }
    }
    Ok(validity.map_err(doing("the licence is not valid"))?)
}

fn licence_json(licence: &Licence) -> serde_json::Value {
    serde_json::json!({
        "id": licence.id.to_string(),
        "install": licence.install.to_string(),
        "plan": licence.plan.as_str(),
        "issuedAt": licence.issued_at.to_string(),
        "expiresAt": licence.expires_at.to_string(),
        "key": licence.key.to_string(),
    })
}

fn keys(ring: &KeyRing, json: bool) {
    let signing = ring.signing.first().map(tithe_licences::SigningKey::id);
    let keys = ring.licence_keys();
    let keys = keys.iter().map(|key| (key.id(), key.to_string(), Some(key.id()) == signing));
    if json {
        let keys = keys.map(|(id, public, signs)| {
            serde_json::json!({ "id": id.to_string(), "publicKey": public, "signs": signs })
        });
        println!("{:#}", serde_json::Value::from(keys.collect::<Vec<_>>()));
        return;
    }
    for (id, public, signs) in keys {
        println!("{id}  {public}  {}", if signs { "signs and verifies" } else { "verifies" });
    }
    if signing.is_none() {
        eprintln!("tithe: no key signs licences: TITHE_LICENCE_SECRET is not set");
    }
}

fn rotate(config: &Config) -> Result<(), Failure> {
    let (new, others) = KeyRing::open(config, &SystemEntropy)?.rotate(&SystemEntropy)?;
    println!(
        "key {} signs from now on, and {others} older {}. Restart the servers before you hand out licences: until then they refuse \
         those that the new key has signed",
        new.id(),
        if others == 1 { "key still verifies" } else { "keys still verify" }
    );
    Ok(())
}
