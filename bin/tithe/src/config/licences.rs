//! The keys that sign and verify licences of installs.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use tithe_licences::{SigningKey, VerifyingKey};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::secret(
        "TITHE_LICENCE_SECRET",
        "licence_secret",
        "The private keys of licences, 64 hex digits each, separated by commas: the first one signs, all of them verify. Empty: those in licence.secret in the data directory, where one is generated unless TITHE_LICENCE_PUBLIC_KEYS is set or TITHE_ENV is production",
    ),
    Setting::new(
        "TITHE_LICENCE_PUBLIC_KEYS",
        "licence_public_keys",
        "",
        "More keys that verify licences, 64 hex digits each, separated by commas: public keys, as `tithe licence keys` prints them",
    ),
];

/// The keys that sign and verify licences, as far as they are configured.
pub(crate) struct Licences {
    /// The first one signs, all of them verify. Empty: those in the data directory.
    pub(crate) signing: Vec<SigningKey>,
    /// More keys that verify.
    pub(crate) verifying: Vec<VerifyingKey>,
    /// Whether a key is generated if there is none in the data directory.
    pub(crate) may_generate: bool,
}

impl Licences {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let (secret, public) = ("TITHE_LICENCE_SECRET", "TITHE_LICENCE_PUBLIC_KEYS");
        let signing = values.parse_secret(secret, |_| {
            values.list(secret).iter().map(|key| key.parse()).collect::<Result<Vec<SigningKey>, _>>()
        })?;
        let verifying = values.parse(public, |_| {
            values.list(public).iter().map(|key| key.parse()).collect::<Result<Vec<VerifyingKey>, _>>()
        })?;
        let is_production = values.text("TITHE_ENV") == "production";
        // A server that is given public keys is not meant to be able to sign.
        let may_generate = !is_production && signing.is_empty() && verifying.is_empty();
        Ok(Self { signing, verifying, may_generate })
    }
}
