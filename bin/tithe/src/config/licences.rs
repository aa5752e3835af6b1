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
    )
    .same(),
    Setting::new(
        "TITHE_LICENCE_PUBLIC_KEYS",
        "licence_public_keys",
        "",
        "More keys that verify licences, 64 hex digits each, separated by commas: public keys, as `tithe licence keys` prints them",
    )
    .same(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test vector of RFC 8032.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn read(pairs: &[(&str, &str)]) -> Result<Licences, ConfigError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let groups = &[SETTINGS, super::super::server::SETTINGS];
        Licences::read(&Values::from_parts(groups, None, environment)?)
    }

    #[test]
    fn a_key_is_generated_only_if_none_is_configured_and_never_in_production() {
        assert!(read(&[]).unwrap().may_generate);
        for pair in [
            ("TITHE_LICENCE_SECRET", SEED),
            ("TITHE_LICENCE_PUBLIC_KEYS", PUBLIC),
            ("TITHE_ENV", "production"),
        ] {
            assert!(!read(&[pair]).unwrap().may_generate, "{pair:?}");
        }
    }

    #[test]
    fn keys_are_read_in_their_order() {
        let other = "07".repeat(32);
        let both = format!("{other}, {SEED}");
        let keys = read(&[("TITHE_LICENCE_SECRET", &both), ("TITHE_LICENCE_PUBLIC_KEYS", PUBLIC)]).unwrap();
        let [first, second] = &keys.signing[..] else { panic!("{:?}", keys.signing) };
        assert_eq!((first.expose_hex(), second.verifying_key().to_string()), (other, PUBLIC.to_owned()));
        assert_eq!(keys.verifying, [second.verifying_key()]);
    }

    #[test]
    fn a_malformed_key_is_named_and_a_secret_one_is_not_shown() {
        let short = &SEED[1..];
        let two = format!("{SEED},{short}");
        for secret in [short, &two] {
            let wrong = read(&[("TITHE_LICENCE_SECRET", secret)]).err().unwrap().to_string();
            assert_eq!(
                wrong,
                "invalid TITHE_LICENCE_SECRET (from the environment): expected 64 hex digits for each key, got \"a hidden value\""
            );
        }
        for (public, problem) in
            [("x", "expected 64 hex digits"), (&"00".repeat(32), "expected an Ed25519 public key")]
        {
            let wrong = read(&[("TITHE_LICENCE_PUBLIC_KEYS", public)]).err().unwrap().to_string();
            let named = format!("invalid TITHE_LICENCE_PUBLIC_KEYS (from the environment): {problem}");
            assert!(wrong.starts_with(&named), "{wrong}");
        }
    }
}
