//! The database, and the other servers on it.

use super::probe::Probe;
use crate::chain;
use crate::config::Config;
use crate::database::Database;
use crate::licence::existing_licence_keys;
use crate::peers::{ServerSecrets, shared_settings};
use std::path::Path;
use tithe_clock::{Clock, SystemClock};
use tithe_engine::servers::Servers;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresFacts, PostgresSettings, PostgresStore};
use tithe_store_sqlite::SqliteStore;

const SUBJECT: &str = "database";

/// How far the clocks of this machine and of the database may be apart, in milliseconds.
const CLOCKS_APART_MAX_MS: u64 = 2_000;

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    (SUBJECT, database(config))
}

async fn database(config: &Config) -> Vec<Probe> {
    let database = match Database::of(&config.storage) {
        Ok(database) => database,
        Err(wrong) => return vec![Probe::failed(SUBJECT, chain(wrong.as_ref()))],
    };
    let (mut found, is_current) = match &database {
        Database::Sqlite { url, .. } => sqlite(url, &config.storage.data_dir),
        Database::Postgres { url, settings, .. } => postgres(url, *settings).await,
    };
    if !is_current {
        return found;
    }
    match database.connect_to_read().await {
        // What keeps a server from opening it, such as tables of an earlier version.
        Err(wrong) => found.push(Probe::warning(SUBJECT, chain(wrong.as_ref()))),
        Ok(store) => found.extend(peers(config, store.as_ref()).await),
    }
    found
}

/// What is known of a file, and whether it is a database.
fn sqlite(url: &str, data_dir: &Path) -> (Vec<Probe>, bool) {
    let path = match SqliteStore::path_of(url) {
        Ok(path) => Path::new(path),
        Err(wrong) => return (vec![Probe::failed(SUBJECT, chain(&wrong))], false),
    };
    let shown = path.display();
    let size = std::fs::metadata(path).map_or(0, |about| about.len());
    let probe = match crate::database::check_folder(path) {
        _ if size > 0 => Probe::ok(SUBJECT, format!("SQLite, {shown}, {} MiB", size.div_ceil(1024 * 1024))),
        // The first start makes the data directory, too.
        _ if path.parent() == Some(data_dir) => {
            Probe::ok(SUBJECT, format!("SQLite, {shown}: the first start makes it"))
        }
        Ok(()) => Probe::ok(SUBJECT, format!("SQLite, {shown}: the first start makes it")),
        Err(wrong) => Probe::failed(SUBJECT, wrong.to_string()),
    };
    (vec![probe], size > 0)
}

/// What PostgreSQL says of itself, and whether it has our tables.
async fn postgres(url: &str, settings: PostgresSettings) -> (Vec<Probe>, bool) {
    let clock = SystemClock;
    let before = clock.now();
    let facts = match PostgresStore::facts(url, settings).await {
        Ok(facts) => facts,
        Err(wrong) => {
            return (vec![Probe::failed(SUBJECT, format!("{}; check DATABASE_URL", chain(&wrong)))], false);
        }
    };
    let (apart_min, apart_max) =
        (before.unix_micros() - facts.clock_micros, clock.now().unix_micros() - facts.clock_micros);
    let has_tables = facts.pending == 0;
    let encrypted = if facts.is_encrypted { "encrypted" } else { "not encrypted" };
    let told = format!("PostgreSQL {} at {} answers, {encrypted}", facts.version, facts.at);
    let mut found = vec![Probe::ok(SUBJECT, told)];
    found.extend(problems(&facts, settings));
    // The database's time lies between the question and the answer.
    let apart = if apart_min > 0 {
        apart_min
    } else if apart_max < 0 {
        -apart_max
    } else {
        0
    };
    let apart_ms = apart.unsigned_abs() / 1_000;
    if apart_ms > CLOCKS_APART_MAX_MS {
        found.push(Probe::warning(
            "clock",
            format!("this machine and the database are {apart_ms} ms apart: synchronise both (NTP), because leases rely on it"),
        ));
    }
    (found, has_tables)
}

fn problems(facts: &PostgresFacts, settings: PostgresSettings) -> Vec<Probe> {
    let mut found = Vec::new();
    if facts.is_read_only {
        found.push(Probe::failed(
            SUBJECT,
            "it takes no writes: expected the primary, got a standby or a read-only database",
        ));
    }
    if facts.pending > 0 && !facts.may_create {
        found.push(Probe::failed(
            SUBJECT,
            format!(
                "{} migrations are missing, and this user may not create tables: GRANT CREATE ON SCHEMA public, or run `tithe migrate` as a user who may",
                facts.pending
            ),
        ));
    } else if facts.pending > 0 {
        found.push(Probe::ok(
            SUBJECT,
            format!("{} migrations are missing: the next start of a server makes them", facts.pending),
        ));
    }
    if !facts.may_write {
        found.push(Probe::failed(
            SUBJECT,
            "this user may not write to the tables: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES",
        ));
    }
    let needed = i64::from(settings.connections) + 2;
    if facts.connections < needed {
        found.push(Probe::warning(
            SUBJECT,
            format!(
                "it allows {} connections, and each server uses {needed}: raise max_connections, or lower TITHE_DATABASE_CONNECTIONS",
                facts.connections
            ),
        ));
    }
    if !facts.is_durable {
        found.push(Probe::warning(
            SUBJECT,
            "fsync or full_page_writes is off: a crash of its machine loses money",
        ));
    }
    found
}

/// The other servers that run.
async fn peers(config: &Config, store: &dyn Store) -> Vec<Probe> {
    let subject = "servers";
    let secrets = match ServerSecrets::existing(config) {
        Ok(Some(secrets)) => secrets,
        Ok(None) => return vec![Probe::ok(subject, "not compared: this machine has no secret yet")],
        Err(wrong) => return vec![Probe::failed(subject, chain(wrong.as_ref()))],
    };
    let Ok(licences) = existing_licence_keys(config) else { return Vec::new() };
    let shared = shared_settings(config, &secrets, &licences);
    match Servers::peers(store, &shared, SystemClock.now()).await {
        Err(wrong) => vec![Probe::failed(subject, chain(&wrong))],
        Ok(peers) if peers.is_empty() => vec![Probe::ok(subject, "none runs on this database")],
        Ok(peers) => peers
            .into_iter()
            .flat_map(|peer| {
                let name = format!("{} ({})", peer.record.name, peer.record.version);
                let told = peer.differences.iter().map(|difference| {
                    let told = format!("{name}: {difference}");
                    if difference.is_fatal() {
                        Probe::failed(subject, told)
                    } else {
                        Probe::warning(subject, told)
                    }
                });
                let mut told: Vec<Probe> = told.collect();
                if told.is_empty() {
                    told.push(Probe::ok(subject, format!("{name} runs, with the same settings")));
                }
                told
            })
            .collect(),
    }
}
