//! This machine: the data directory, the secrets in it, and the port.

use super::probe::Probe;
use crate::chain;
use crate::config::Config;
use crate::licence::existing_licence_keys;
use crate::peers::generates_nostr_key;
use crate::secret::stored_nostr_key;
use reqwest::Client;
use rustix::fs::{Access, access, statvfs};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

/// How long a server on our port may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The space below which a warning is due, in mebibytes.
const SPACE_MIN_MIB: u64 = 1_024;

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    ("machine", async move {
        vec![
            data_directory(&config.storage.data_dir),
            licence_keys(config),
            nostr_key(config),
            port(config).await,
        ]
    })
}

fn data_directory(folder: &Path) -> Probe {
    let subject = "data";
    let shown = folder.display();
    let about = match std::fs::metadata(folder) {
        Ok(about) if about.is_dir() => about,
        Ok(_) => return Probe::failed(subject, format!("{shown} is no folder; check TITHE_DATA_DIR")),
        Err(missing) if missing.kind() == ErrorKind::NotFound => return missing_directory(folder),
        Err(wrong) => return Probe::failed(subject, format!("{shown}: {wrong}; check TITHE_DATA_DIR")),
    };
    if access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Probe::failed(
            subject,
            format!("{shown} is not writable for this user; change its owner, or check TITHE_DATA_DIR"),
        );
    }
    if let Some(open) = open_secret(folder) {
        return Probe::warning(
            subject,
            format!("{open} can be read by others than its owner: `chmod 600` it"),
        );
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&about) & 0o022 != 0 {
        return Probe::warning(
            subject,
            format!("{shown} is writable for others than its owner: `chmod 700` it"),
        );
    }
    match statvfs(folder) {
        Err(wrong) => Probe::warning(subject, format!("{shown}: the free space is unknown: {wrong}")),
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize) / (1024 * 1024);
            let told = format!("{shown} is writable, {free} MiB are free");
            if free < SPACE_MIN_MIB { Probe::warning(subject, told) } else { Probe::ok(subject, told) }
        }
    }
}

/// The first start makes it, in the first folder above it that exists.
fn missing_directory(folder: &Path) -> Probe {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let above = absolute.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    let (shown, parent) = (folder.display(), above.display());
    if access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        Probe::ok("data", format!("{shown} does not exist yet: the first start makes it in {parent}"))
    } else {
        Probe::failed(
            "data",
            format!(
                "{shown} does not exist, and {parent} is not writable for this user: make it, or check TITHE_DATA_DIR"
            ),
        )
    }
}

/// A file with a secret that others may read.
fn open_secret(folder: &Path) -> Option<String> {
    let files = ["token.secret", "licence.secret", "nostr.secret", "tithe.db"].map(|name| folder.join(name));
    let is_open = |file: &&std::path::PathBuf| {
        #[cfg(unix)]
        return std::fs::metadata(file)
            .is_ok_and(|about| std::os::unix::fs::MetadataExt::mode(&about) & 0o077 != 0);
        #[cfg(not(unix))]
        return {
            let _unknown = file;
            false
        };
    };
    files.iter().find(is_open).map(|file| file.display().to_string())
}

fn licence_keys(config: &Config) -> Probe {
    match existing_licence_keys(config) {
        Err(wrong) => {
            Probe::failed("licences", format!("{}; check TITHE_LICENCE_SECRET", chain(wrong.as_ref())))
        }
        Ok(keys) if keys.is_empty() => Probe::ok("licences", "no key yet: licences are not accepted"),
        Ok(keys) => {
            let ids: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
            Probe::ok("licences", format!("keys that verify: {}", ids.join(", ")))
        }
    }
}

fn nostr_key(config: &Config) -> Probe {
    let key = match &config.storage.nostr_key {
        None if generates_nostr_key(config) => stored_nostr_key(&config.storage.data_dir),
        None => return Probe::ok("receipts", "are not signed: set TITHE_NOSTR_SECRET_KEY"),
        Some(given) => Ok(Some(given.clone())),
    };
    match key {
        Ok(Some(key)) => Probe::ok("receipts", format!("are signed by {}", key.pubkey().npub())),
        Ok(None) => Probe::ok("receipts", "no key yet: the first start generates one"),
        Err(wrong) => Probe::failed("receipts", format!("{}; check TITHE_NOSTR_SECRET_KEY", chain(&wrong))),
    }
}

async fn port(config: &Config) -> Probe {
    let address = config.server.listen;
    let subject = "port";
    let Err(taken) = TcpListener::bind(address) else {
        return Probe::ok(subject, format!("{address} is free"));
    };
    if taken.kind() == ErrorKind::AddrInUse && is_tithe(&address.to_string()).await {
        return Probe::ok(subject, format!("{address} is used by a Tithe server that runs"));
    }
    Probe::failed(subject, format!("{address}: {taken}; check TITHE_LISTEN, or stop the other program"))
}

async fn is_tithe(address: &str) -> bool {
    let Ok(client) = Client::builder().timeout(PATIENCE).build() else { return false };
    let answer = client.get(format!("http://{address}/readyz")).send().await;
    match answer {
        Ok(answer) => answer.text().await.is_ok_and(|text| text.contains("\"accepting\"")),
        Err(_) => false,
    }
}
