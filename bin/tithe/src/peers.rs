//! What this server says of itself to the others on its database.

use crate::config::Config;
use crate::failure::{Failure, doing};
use crate::secret;
use tithe_clock::Entropy;
use tithe_engine::servers::SharedSettings;
use tithe_licences::LicenceKeys;
use tithe_trust::{SecretKey, Secrets};

/// The secrets of a server: of all tokens, and of claim tokens.
pub(crate) struct ServerSecrets {
    pub(crate) tokens: Secrets,
    pub(crate) claims: Secrets,
    /// The key that signs receipts; `None` until the first start has generated one, and in production if none is configured.
    pub(crate) nostr: Option<SecretKey>,
}

impl ServerSecrets {
    /// The configured secrets, or those in the data directory, where they are generated if there are none.
    pub(crate) fn open(config: &Config, entropy: &dyn Entropy) -> Result<Self, Failure> {
        let storage = &config.storage;
        let nostr = if generates_nostr_key(config) {
            let key = secret::nostr_key(storage.nostr_key.as_ref(), &storage.data_dir, entropy);
            Some(key.map_err(doing("cannot read or create the Nostr key"))?)
        } else {
            storage.nostr_key.clone()
        };
        Ok(Self { nostr, ..Self::open_tokens(config, entropy)? })
    }

    fn open_tokens(config: &Config, entropy: &dyn Entropy) -> Result<Self, Failure> {
        let (storage, data_dir) = (&config.storage, &config.storage.data_dir);
        let tokens = secret::secrets(storage.token_secret.as_deref(), data_dir, entropy)
            .map_err(doing("cannot read or create the token secret"))?;
        let claims = secret::claim_secrets(storage.claim_secret.as_deref(), &tokens, data_dir)
            .map_err(doing("cannot read the token secret"))?;
        Ok(Self { tokens, claims, nostr: None })
    }

    /// The secrets that there are; `None` if the first start of a server will generate one.
    pub(crate) fn existing(config: &Config) -> Result<Option<Self>, Failure> {
        let is_there =
            config.storage.token_secret.is_some() || secret::is_generated(&config.storage.data_dir);
        if !is_there {
            return Ok(None);
        }
        let stored = || secret::stored_nostr_key(&config.storage.data_dir);
        let nostr = match &config.storage.nostr_key {
            None if generates_nostr_key(config) => stored().map_err(doing("cannot read the Nostr key"))?,
            given => given.clone(),
        };
        Ok(Some(Self { nostr, ..Self::open_tokens(config, &tithe_clock::SystemEntropy)? }))
    }
}

/// Whether a Nostr key is generated if none is configured. In production it would be another one on each server.
pub(crate) fn generates_nostr_key(config: &Config) -> bool {
    !config.server.is_production()
}

/// What all servers on the database must share with this one.
pub(crate) fn shared_settings(
    config: &Config,
    secrets: &ServerSecrets,
    licences: &LicenceKeys,
) -> SharedSettings {
    let tokens = "TITHE_TOKEN_SECRET";
    let shared = config.shared(SharedSettings::new(config.server.is_production()));
    let shared = shared.secrets(tokens, &secrets.tokens).secrets("TITHE_CLAIM_SECRET", &secrets.claims);
    let shared = match &secrets.nostr {
        Some(key) => shared.plain("TITHE_NOSTR_SECRET_KEY", &key.pubkey().to_string()),
        None => shared,
    };
    // Which key signs licences is nobody's business but that of whoever issues them; all of them verify.
    let mut keys: Vec<String> = licences.iter().map(|key| key.id().to_string()).collect();
    keys.sort_unstable();
    let shared = shared.plain("TITHE_LICENCE_PUBLIC_KEYS", &keys.join(","));
    match config.wallet_identity() {
        None => shared,
        Some((setting, identity)) => shared.keyed(setting, identity, tokens, &secrets.tokens),
    }
}

/// The name by which an operator knows this server: its machine, and the address that it listens on.
pub(crate) fn server_name(address: &str) -> String {
    let machine = rustix::system::uname();
    format!("{} {address}", machine.nodename().to_string_lossy())
}
