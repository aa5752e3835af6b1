//! The data directory, the database, and the secrets that are kept.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::path::PathBuf;
use tithe_trust::{Secret, SecretKey};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_DATA_DIR",
        "data_dir",
        "tithe-data",
        "The folder of the database, the generated secrets and the simulated wallet",
    ),
    Setting::new(
        "DATABASE_URL",
        "database_url",
        "sqlite://tithe.db",
        "The database: sqlite://path (relative to the data directory) or postgres://user:password@host/database",
    ),
    Setting::new(
        "TITHE_DATABASE_CONNECTIONS",
        "database_connections",
        "8",
        "The size of the PostgreSQL connection pool. There are two more connections: one writes batches, one listens to other servers",
    ),
    Setting::secret(
        "TITHE_TOKEN_SECRET",
        "token_secret",
        "The secrets for tokens, separated by commas: the first one makes tokens, all of them check tokens. Empty: a secret is generated and kept in the data directory",
    )
    .same(),
    Setting::secret(
        "TITHE_CLAIM_SECRET",
        "claim_secret",
        "The secrets for claim tokens, which prove refunds, separated by commas: the first one makes them, all of them check them. Keep an old one for as long as its refunds may be claimed. Empty: those of TITHE_TOKEN_SECRET",
    )
    .same(),
    Setting::secret(
        "TITHE_NOSTR_SECRET_KEY",
        "nostr_secret_key",
        "The server's Nostr key, which signs receipts: nsec1… or 64 hex digits. Empty: a key is generated and kept in the data directory; in production, receipts are not signed then",
    )
    .same(),
];

/// The data directory, the database, and the secrets that are kept.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) data_dir: PathBuf,
    database_url: String,
    pub(crate) database_connections: u32,
    pub(crate) token_secret: Option<Vec<String>>,
    pub(crate) claim_secret: Option<Vec<String>>,
    pub(crate) nostr_key: Option<SecretKey>,
}

impl Storage {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let secrets = |name| {
            let secrets = values.list(name);
            if let Some(short) = secrets.iter().find(|secret| secret.len() < Secret::BYTES_MIN) {
                let (least, length) = (Secret::BYTES_MIN, short.len());
                return Err(ConfigError::Together(format!(
                    "invalid {name}: expected secrets of at least {least} bytes, got one of {length}"
                )));
            }
            // The examples in deploy/ have it; whoever reads them could make tokens.
            if secrets.iter().any(|secret| secret.starts_with("REPLACE")) {
                return Err(ConfigError::Together(format!(
                    "invalid {name}: expected secrets of your own, got the placeholder of an example"
                )));
            }
            Ok(Some(secrets).filter(|secrets| !secrets.is_empty()))
        };
        Ok(Self {
            data_dir: PathBuf::from(values.text("TITHE_DATA_DIR")),
            database_url: values.text("DATABASE_URL").to_owned(),
            database_connections: values.whole("TITHE_DATABASE_CONNECTIONS", 1_000)?,
            token_secret: secrets("TITHE_TOKEN_SECRET")?,
            claim_secret: secrets("TITHE_CLAIM_SECRET")?,
            nostr_key: values.parse_secret("TITHE_NOSTR_SECRET_KEY", |text| {
                if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
            })?,
        })
    }

    /// The URL of the database. A relative SQLite path is below the data directory.
    pub(crate) fn database(&self) -> String {
        match self.database_url.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => format!("sqlite://{}", self.data_dir.join(path).display()),
            _ => self.database_url.clone(),
        }
    }

    /// The URL of the database as it was configured.
    pub(crate) fn configured_url(&self) -> &str {
        &self.database_url
    }

    /// The same, with another database.
    pub(crate) fn with_database(&self, url: &str) -> Self {
        Self { database_url: url.to_owned(), ..self.clone() }
    }

    /// Whether servers on other machines may use the database, too.
    pub(crate) fn is_shared(&self) -> bool {
        !self.database_url.starts_with("sqlite://")
    }
}
