//! What all servers on one database must share, and how two of them differ.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tithe_trust::{MacKey, Secret, Secrets};

/// They separate fingerprints from everything else that is made with the same secret.
const OF_A_SECRET: &str = "tithe shared secret fingerprint v1";
const OF_A_THING: &str = "tithe shared setting fingerprint v1";

/// The length of a fingerprint, in bytes: enough that two secrets do not have the same one.
const FINGERPRINT_BYTES: usize = 12;

/// What all servers on one database must share. It is stored in the database: of secrets it has fingerprints only, which tell whoever
/// reads them no more than any token that a customer has been given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedSettings {
    /// Whether the server serves customers with real money.
    production: bool,
    settings: BTreeMap<String, Shared>,
}

/// What is compared of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shared {
    /// A value that is no secret.
    Plain(String),
    /// A value that is no secret. Servers that differ in it cannot work together.
    Essential(String),
    /// Fingerprints of secrets. The first one signs, all of them verify.
    Secrets(Vec<String>),
    /// Fingerprints of one secret value, one by each secret of the setting `by`. Servers that differ in it cannot work together.
    Keyed { by: String, fingerprints: Vec<String> },
}

impl SharedSettings {
    /// Nothing yet. A server for production does not start beside one that it cannot work with, nor the other way round.
    #[must_use]
    pub fn new(production: bool) -> Self {
        Self { production, settings: BTreeMap::new() }
    }

    /// Adds a value that is no secret.
    #[must_use]
    pub fn plain(self, setting: &str, value: &str) -> Self {
        self.with(setting, Shared::Plain(value.to_owned()))
    }

    /// Adds a value that is no secret, and without which servers cannot work together.
    #[must_use]
    pub fn essential(self, setting: &str, value: &str) -> Self {
        self.with(setting, Shared::Essential(value.to_owned()))
    }

    /// Adds secrets, of which the first one signs and all verify.
    #[must_use]
    pub fn secrets(self, setting: &str, secrets: &Secrets) -> Self {
        let fingerprints = secrets.iter().map(|secret| fingerprint(secret, OF_A_SECRET, setting.as_bytes()));
        let fingerprints = fingerprints.collect();
        self.with(setting, Shared::Secrets(fingerprints))
    }

    /// Adds a secret value, such as a password, which may be easy to guess: its fingerprints cannot be checked against guesses
    /// without one of the secrets of the setting `by`. Two servers can compare it if they share one of those.
    #[must_use]
    pub fn keyed(self, setting: &str, value: &str, by: &str, secrets: &Secrets) -> Self {
        let of = format!("{setting}\0{value}");
        let fingerprints = secrets.iter().map(|secret| fingerprint(secret, OF_A_THING, of.as_bytes()));
        let fingerprints = fingerprints.collect();
        self.with(setting, Shared::Keyed { by: by.to_owned(), fingerprints })
    }

    fn with(mut self, setting: &str, shared: Shared) -> Self {
        self.settings.insert(setting.to_owned(), shared);
        self
    }

    /// Whether this server, or that one, serves customers with real money.
    pub(super) const fn is_production_of(&self, other: &Self) -> bool {
        self.production || other.production
    }

    /// How that server differs. A setting that one of them does not know is not compared: it is of another version.
    #[must_use]
    pub fn differences(&self, there: &Self) -> Vec<Difference> {
        let both =
            self.settings.iter().filter_map(|(name, here)| Some((name, here, there.settings.get(name)?)));
        both.filter_map(|(name, here, other)| {
            let kind = match (here, other) {
                (Shared::Plain(here), Shared::Plain(there)) => values(here, there, false),
                (Shared::Essential(here), Shared::Essential(there)) => values(here, there, true),
                (Shared::Secrets(here), Shared::Secrets(there)) => secrets(here, there),
                (Shared::Keyed { by, fingerprints: here }, Shared::Keyed { fingerprints: other, .. }) => {
                    let comparable = self.shares_a_secret(by, there);
                    (comparable && !overlap(here, other)).then_some(Kind::Another)
                }
                _ => None,
            };
            kind.map(|kind| Difference { setting: name.clone(), kind })
        })
        .collect()
    }

    fn shares_a_secret(&self, setting: &str, there: &Self) -> bool {
        match (self.settings.get(setting), there.settings.get(setting)) {
            (Some(Shared::Secrets(here)), Some(Shared::Secrets(there))) => overlap(here, there),
            _ => false,
        }
    }
}

fn fingerprint(secret: &Secret, purpose: &str, of: &[u8]) -> String {
    let mut text = hex::encode(MacKey::new(secret, purpose).tag(of));
    text.truncate(FINGERPRINT_BYTES * 2);
    text
}

fn overlap(here: &[String], there: &[String]) -> bool {
    here.iter().any(|fingerprint| there.contains(fingerprint))
}

fn values(here: &str, there: &str, essential: bool) -> Option<Kind> {
    (here != there).then(|| Kind::Value { here: here.to_owned(), there: there.to_owned(), essential })
}

/// Secrets may differ while they are rotated; but each server must verify what the other one signs.
fn secrets(here: &[String], there: &[String]) -> Option<Kind> {
    let verifies =
        |signer: &[String], verifier: &[String]| signer.first().is_none_or(|first| verifier.contains(first));
    if !overlap(here, there) {
        return Some(Kind::NoSecretInCommon);
    }
    match (verifies(here, there), verifies(there, here)) {
        (true, true) => None,
        (false, _) => Some(Kind::NotVerifiedThere),
        (true, false) => Some(Kind::NotVerifiedHere),
    }
}

/// How two servers differ in one setting. Its text never has a secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub setting: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Value { here: String, there: String, essential: bool },
    NoSecretInCommon,
    NotVerifiedThere,
    NotVerifiedHere,
    Another,
}

impl Difference {
    /// Whether the servers cannot work together.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self.kind, Kind::Value { essential: true, .. } | Kind::NoSecretInCommon | Kind::Another)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        match &self.kind {
            Kind::Value { here, there, .. } => write!(f, " is {here:?} here and {there:?} there"),
            Kind::NoSecretInCommon => f.write_str(
                ": the servers have no secret in common, so each refuses what the other one has signed",
            ),
            Kind::NotVerifiedThere => f.write_str(
                ": that server does not have the secret that this one signs with, and refuses what it signs",
            ),
            Kind::NotVerifiedHere => f.write_str(
                ": this server does not have the secret that that one signs with, and refuses what it signs",
            ),
            Kind::Another => f.write_str(
                " is another one there: payments of one server's wallet are looked for in the other's; if only the password or the key of the same \
                 wallet was changed, stop all servers and start them with the new one",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets_of(names: &[&str]) -> Secrets {
        let mut secrets = names.iter().map(|name| Secret::new(format!("{name:_<32}")).unwrap());
        let first = secrets.next().unwrap();
        Secrets::new(first, secrets.collect())
    }

    fn with_secrets(names: &[&str]) -> SharedSettings {
        let secrets = secrets_of(names);
        SharedSettings::new(false).secrets("S", &secrets).keyed("PASSWORD", "1234", "S", &secrets)
    }

    fn told(here: &SharedSettings, there: &SharedSettings) -> Vec<(bool, String)> {
        here.differences(there).iter().map(|it| (it.is_fatal(), it.to_string())).collect()
    }

    #[test]
    fn values_are_told_with_both_sides() {
        let here = SharedSettings::new(false).plain("A", "1").plain("B", "2").plain("OLD", "x");
        let there = SharedSettings::new(false).plain("A", "1").plain("B", "3").plain("NEW", "y");
        assert_eq!(told(&here, &there), [(false, r#"B is "2" here and "3" there"#.to_owned())]);
        assert_eq!(told(&here, &here), []);
        let (here, there) = (SharedSettings::new(true), SharedSettings::new(true));
        let (here, there) = (here.essential("W", "a"), there.essential("W", "b"));
        assert_eq!(told(&here, &there), [(true, r#"W is "a" here and "b" there"#.to_owned())]);
    }

    #[test]
    fn secrets_agree_when_each_server_verifies_what_the_other_signs() {
        for (here, there) in [
            (&["a"][..], &["a"][..]),
            (&["new", "old"], &["old", "new"]),
            (&["new", "old"], &["new"]),
            (&["old", "new"], &["old"]),
        ] {
            assert_eq!(told(&with_secrets(here), &with_secrets(there)), [], "{here:?} {there:?}");
        }
    }

    #[test]
    fn a_secret_that_one_server_signs_with_and_the_other_does_not_have_is_told() {
        let found = told(&with_secrets(&["new", "old"]), &with_secrets(&["old"]));
        assert!(matches!(&found[..], [(false, told)] if told.contains("this one signs with")), "{found:?}");
        let found = told(&with_secrets(&["old"]), &with_secrets(&["new", "old"]));
        assert!(matches!(&found[..], [(false, told)] if told.contains("that one signs with")), "{found:?}");
    }

    #[test]
    fn servers_without_a_common_secret_cannot_work_together() {
        // Whether the password is the same cannot be known then.
        let found = told(&with_secrets(&["a", "b"]), &with_secrets(&["c"]));
        assert!(matches!(&found[..], [(true, told)] if told.contains("no secret in common")), "{found:?}");
    }

    #[test]
    fn another_password_is_seen_by_whoever_shares_a_secret_with_us() {
        let secrets = secrets_of(&["old"]);
        let other =
            SharedSettings::new(false).secrets("S", &secrets).keyed("PASSWORD", "4321", "S", &secrets);
        let found = told(&with_secrets(&["old", "new"]), &other);
        assert!(matches!(&found[..], [(true, told)] if told.starts_with("PASSWORD is another")), "{found:?}");
        let same = SharedSettings::new(false).secrets("S", &secrets).keyed("PASSWORD", "1234", "S", &secrets);
        assert_eq!(told(&with_secrets(&["old", "new"]), &same), []);
    }

    #[test]
    fn what_is_stored_has_no_secret_in_it_and_comes_back() {
        let secrets = secrets_of(&["hunter2"]);
        let shared = SharedSettings::new(true).secrets("S", &secrets).keyed("P", "swordfish", "S", &secrets);
        let shared = shared.plain("A", "1").essential("E", "2");
        let text = serde_json::to_string(&shared).unwrap();
        let hidden = ["hunter2", "swordfish", &hex::encode("hunter2"), &hex::encode("swordfish")];
        assert!(hidden.iter().all(|secret| !text.contains(secret)), "{text}");
        assert_eq!(serde_json::from_str::<SharedSettings>(&text).unwrap(), shared);
    }
}
