//! The values of the settings as texts, and the origin of each.

use super::error::ConfigError;
use super::setting::Setting;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "tithe.toml";

/// The prefixes of our environment variables: one that is no setting is a mistake.
const OURS: [&str; 2] = ["TITHE_", "FREE_TIER_"];

/// The prefix of the variables that are meant for the operator's provisioning program.
const FOR_PROVISIONING: &str = "TITHE_PROVISION_";

/// Variables of ours that are not settings of the server.
const NOT_SETTINGS: [&str; 4] = ["TITHE_CONFIG", "TITHE_IDENTITY", "TITHE_MACAROON", "TITHE_SERVER"];

/// Where a value comes from that nobody has set.
const THE_DEFAULT: &str = "the default";

/// The groups of settings.
pub(super) type Groups = &'static [&'static [Setting]];

/// The value and the origin of each setting, by name.
pub(super) struct Values(HashMap<&'static str, (String, String)>);

impl Values {
    pub(super) fn load(groups: Groups, file: Option<&Path>) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            let shown = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => Ok(Some((shown, text))),
                Err(source) if file.is_none() && source.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(ConfigError::File { path: shown, source }),
            }
        };
        let file = read(file.unwrap_or(Path::new(DEFAULT_FILE)))?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_parts(groups, file, environment)
    }

    /// The values of a file (its path and its text) and of an environment.
    pub(super) fn from_parts(
        groups: Groups,
        file: Option<(String, String)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let default =
            |setting: &Setting| (setting.name, (setting.default.to_owned(), THE_DEFAULT.to_owned()));
        let mut values: HashMap<_, _> = groups.iter().copied().flatten().map(default).collect();
        if let Some((path, text)) = file {
            let table: toml::Table = toml::from_str(&text).map_err(|wrong: toml::de::Error| {
                let before = wrong.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let (line, problem) = (before.matches('\n').count() + 1, wrong.message().to_owned());
                ConfigError::Toml { path: path.clone(), line, problem }
            })?;
            for (key, value) in table {
                let Some(setting) = groups.iter().copied().flatten().find(|setting| setting.key == key)
                else {
                    return Err(ConfigError::UnknownKey { key, path });
                };
                let text = text_of(&value).ok_or_else(|| ConfigError::Value {
                    name: setting.name,
                    origin: path.clone(),
                    value: if setting.secret { "a hidden value".to_owned() } else { value.to_string() },
                    problem: "expected a text, a number, a boolean or a list of texts".to_owned(),
                })?;
                values.insert(setting.name, (text, path.clone()));
            }
        }
        for (name, value) in environment {
            match groups.iter().copied().flatten().find(|setting| setting.name == name) {
                Some(setting) => {
                    values.insert(setting.name, (value, "the environment".to_owned()));
                }
                None if OURS.iter().any(|ours| name.starts_with(ours))
                    && !name.starts_with("TITHE_TEST_")
                    && !name.starts_with(FOR_PROVISIONING)
                    && !NOT_SETTINGS.contains(&name.as_str()) =>
                {
                    return Err(ConfigError::UnknownVariable(name));
                }
                None => {}
            }
        }
        Ok(Self(values))
    }

    /// The value and the origin of a setting.
    pub(super) fn get(&self, name: &str) -> (&str, &str) {
        self.0.get(name).map_or(("", ""), |(value, origin)| (value.as_str(), origin.as_str()))
    }

    /// Whether a setting has a value that is not the default.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.get(name).1 != THE_DEFAULT
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).0.trim()
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, name: &'static str, with: &str) -> Result<String, ConfigError> {
        self.optional(name)
            .ok_or_else(|| ConfigError::Together(format!("missing {name}: it is required with {with}")))
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let items = self.text(name).split(',').map(|item| item.trim().to_owned());
        items.filter(|item| !item.is_empty()).collect()
    }

    pub(super) fn parse<T, E: ToString>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let text = self.text(name);
        parse(text).map_err(|problem| ConfigError::Value {
            name,
            origin: self.get(name).1.to_owned(),
            value: text.to_owned(),
            problem: problem.to_string(),
        })
    }

    /// As [`Values::parse`], for a value that must not be shown.
    pub(super) fn parse_secret<T, E: ToString>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        self.parse(name, parse).map_err(|wrong| match wrong {
            ConfigError::Value { name, origin, problem, .. } => {
                ConfigError::Value { name, origin, value: "a hidden value".to_owned(), problem }
            }
            other => other,
        })
    }

    pub(super) fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, ConfigError> {
        self.parse(name, |text| match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("expected a whole number from {min} to {max}")),
        })
    }

    /// A whole number from 1 to `max`.
    pub(super) fn whole(&self, name: &'static str, max: u32) -> Result<u32, ConfigError> {
        let number = self.number(name, 1, max.into())?;
        self.parse(name, |_| u32::try_from(number))
    }

    /// A duration of at least a second and at most a year.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Duration, ConfigError> {
        self.number(name, 1, 31_536_000).map(Duration::from_secs)
    }

    pub(super) fn count(&self, name: &'static str, max: u64) -> Result<usize, ConfigError> {
        let number = self.number(name, 1, max)?;
        self.parse(name, |_| usize::try_from(number).map_err(|_| "expected a smaller number"))
    }

    pub(super) fn one_of(
        &self,
        name: &'static str,
        choices: &[&'static str],
    ) -> Result<&'static str, ConfigError> {
        self.parse(name, |text| {
            let found = choices.iter().find(|choice| **choice == text);
            found.copied().ok_or_else(|| format!("expected one of {}", choices.join(", ")))
        })
    }
}

/// A TOML value as the text that an environment variable would have.
fn text_of(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(truth) => if *truth { "1" } else { "0" }.to_owned(),
        toml::Value::Array(items) => {
            items.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>()?.join(",")
        }
        _ => return None,
    })
}
