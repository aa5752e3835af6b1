//! The keys of licences: those that are configured, or those in the data directory.

use super::key_file::KeyFile;
use crate::config::Config;
use crate::failure::Failure;
use tithe_clock::Entropy;
use tithe_licences::{KeyId, LicenceKeys, SigningKey, VerifyingKey};

const NO_KEY: &str =
    "no licence key: set TITHE_LICENCE_SECRET to 64 random hex digits, such as `openssl rand -hex 32` prints";

/// The keys of which a server accepts licences. A key is generated at the first call, unless the configuration has keys or is one for
/// production.
pub(crate) fn licence_keys(config: &Config, entropy: &dyn Entropy) -> Result<LicenceKeys, Failure> {
    Ok(KeyRing::open(config, entropy)?.licence_keys())
}

/// The keys of which a server would accept licences now. Generates none.
pub(crate) fn existing_licence_keys(config: &Config) -> Result<LicenceKeys, Failure> {
    Ok(KeyRing::existing(config)?.licence_keys())
}

/// The keys that sign and verify.
pub(super) struct KeyRing {
    /// The private keys. The first one signs, all of them verify.
    pub(super) signing: Vec<SigningKey>,
    /// More keys that verify.
    pub(super) verifying: Vec<VerifyingKey>,
    /// Where the private keys are, unless they are configured.
    file: Option<KeyFile>,
}

impl KeyRing {
    /// The keys, with a generated one if there is none and there may be one.
    pub(super) fn open(config: &Config, entropy: &dyn Entropy) -> Result<Self, Failure> {
        let mut ring = Self::existing(config)?;
        if let Some(file) = &ring.file
            && ring.signing.is_empty()
            && config.licences.may_generate
        {
            ring.signing = file.generate(entropy)?;
        }
        Ok(ring)
    }

    /// The keys that there are.
    pub(super) fn existing(config: &Config) -> Result<Self, Failure> {
        let verifying = config.licences.verifying.clone();
        if !config.licences.signing.is_empty() {
            return Ok(Self { signing: config.licences.signing.clone(), verifying, file: None });
        }
        let file = KeyFile::of(&config.storage.data_dir);
        Ok(Self { signing: file.read()?, verifying, file: Some(file) })
    }

    /// All keys that verify.
    pub(super) fn licence_keys(&self) -> LicenceKeys {
        let signing = self.signing.iter().map(SigningKey::verifying_key);
        LicenceKeys::new(signing.chain(self.verifying.iter().copied()))
    }

    /// The key that signs.
    pub(super) fn signing_key(&self) -> Result<&SigningKey, Failure> {
        self.signing.first().ok_or_else(|| NO_KEY.into())
    }

    /// Puts a new key in front: it signs, and the others still verify. Returns it with the number of the others.
    pub(super) fn rotate(&self, entropy: &dyn Entropy) -> Result<(SigningKey, usize), Failure> {
        let advice = "put a new key in front of the others there, such as `openssl rand -hex 32` prints";
        let file = self.changeable(advice)?;
        self.signing_key()?;
        let new = SigningKey::random(entropy);
        let others = file.change(entropy, |keys| {
            keys.insert(0, new.clone());
            Ok(keys.len() - 1)
        })?;
        Ok((new, others))
    }

    /// Removes a key that no longer signs: the licences that it has signed are refused.
    pub(super) fn retire(&self, id: KeyId, entropy: &dyn Entropy) -> Result<(), Failure> {
        if self.verifying.iter().any(|key| key.id() == id) {
            return Err(format!("the key {id} is in TITHE_LICENCE_PUBLIC_KEYS: remove it there").into());
        }
        let file = self.changeable("remove the key there")?;
        self.signing_key()?;
        file.change(entropy, |keys| {
            if keys.first().is_some_and(|key| key.id() == id) {
                let problem = format!(
                    "the key {id} signs licences: run `tithe licence rotate` first, so that another key does"
                );
                return Err(problem.into());
            }
            let before = keys.len();
            keys.retain(|key| key.id() != id);
            if keys.len() == before {
                return Err(
                    format!("unknown key: expected one that `tithe licence keys` lists, got {id}").into()
                );
            }
            Ok(())
        })
    }

    /// The file, if the keys are there and none is configured.
    fn changeable(&self, advice: &str) -> Result<&KeyFile, Failure> {
        self.file
            .as_ref()
            .ok_or_else(|| format!("the licence keys are in TITHE_LICENCE_SECRET: {advice}").into())
    }
}
