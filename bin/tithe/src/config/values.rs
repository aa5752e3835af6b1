//! The settings' texts, and where each comes from.

use super::ConfigError;
use super::settings::{SETTINGS, Setting};
use std::collections::HashMap;
use std::path::Path;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "tithe.toml";

/// How the names of settings begin that are nobody else's: one that is no setting is a mistake.
const OURS: [&str; 2] = ["TITHE_", "FREE_TIER_"];

/// Variables of ours that are not settings of the server.
const NOT_SETTINGS: [&str; 3] = ["TITHE_CONFIG", "TITHE_IDENTITY", "TITHE_SERVER"];

/// What each setting says, and who said so.
pub(super) struct Values(HashMap<&'static str, (String, String)>);

impl Values {
    pub(super) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
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
        Self::from_parts(file, environment)
    }

    /// The values of a file (its path and its text) and of an environment.
    pub(super) fn from_parts(
        file: Option<(String, String)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let default =
            |setting: &Setting| (setting.name, (setting.default.to_owned(), "the default".to_owned()));
        let mut values: HashMap<_, _> = SETTINGS.iter().map(default).collect();
        if let Some((path, text)) = file {
            let table: toml::Table = toml::from_str(&text)
                .map_err(|source| ConfigError::Toml { path: path.clone(), source: Box::new(source) })?;
            for (key, value) in table {
                let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                    return Err(ConfigError::UnknownKey { key, path });
                };
                let text = text_of(&value).ok_or_else(|| ConfigError::Value {
                    name: setting.name,
                    origin: path.clone(),
                    value: value.to_string(),
                    problem: "not a text, a number, a truth value or a list of texts".to_owned(),
                })?;
                values.insert(setting.name, (text, path.clone()));
            }
        }
        for (name, value) in environment {
            match SETTINGS.iter().find(|setting| setting.name == name) {
                Some(setting) => {
                    values.insert(setting.name, (value, "the environment".to_owned()));
                }
                None if OURS.iter().any(|ours| name.starts_with(ours))
                    && !name.starts_with("TITHE_TEST_")
                    && !NOT_SETTINGS.contains(&name.as_str()) =>
                {
                    return Err(ConfigError::UnknownVariable(name));
                }
                None => {}
            }
        }
        Ok(Self(values))
    }

    /// A setting's text and where it comes from.
    pub(super) fn get(&self, name: &str) -> (&str, &str) {
        self.0.get(name).map_or(("", ""), |(value, origin)| (value.as_str(), origin.as_str()))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).0.trim()
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, name: &'static str, with: &str) -> Result<String, ConfigError> {
        self.optional(name).ok_or_else(|| ConfigError::Together(format!("{name} must be set with {with}")))
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

    /// A value of our own, which is right unless this program is wrong.
    #[expect(clippy::unused_self, reason = "it reads like its siblings")]
    pub(super) fn parsed<T, E: ToString>(
        &self,
        name: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        parse(text).map_err(|problem| ConfigError::Value {
            name,
            origin: "the default".to_owned(),
            value: text.to_owned(),
            problem: problem.to_string(),
        })
    }

    pub(super) fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, ConfigError> {
        self.parse(name, |text| match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("not a whole number from {min} to {max}")),
        })
    }

    pub(super) fn count(&self, name: &'static str, max: u64) -> Result<usize, ConfigError> {
        let number = self.number(name, 1, max)?;
        self.parse(name, |_| usize::try_from(number).map_err(|_| "more than this machine can count"))
    }

    pub(super) fn one_of(
        &self,
        name: &'static str,
        choices: &[&'static str],
    ) -> Result<&'static str, ConfigError> {
        self.parse(name, |text| {
            let found = choices.iter().find(|choice| **choice == text);
            found.copied().ok_or_else(|| format!("not one of {}", choices.join(", ")))
        })
    }
}

/// What a TOML value would be as an environment variable.
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
