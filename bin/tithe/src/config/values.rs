//! The values of the settings as texts, and the origin of each.

use super::error::ConfigError;
use super::setting::Setting;
use super::suggestion::{is_service_link, looks_like, meant};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The file that is read when no other is named.
pub(super) const DEFAULT_FILE: &str = "tithe.toml";

/// The prefixes of our environment variables: one that is no setting is a mistake.
const OURS: [&str; 2] = ["TITHE_", "FREE_TIER_"];

/// The prefix of the variables that are meant for the operator's provisioning program.
const FOR_PROVISIONING: &str = "TITHE_PROVISION_";

/// Variables of ours that are not settings of the server.
const NOT_SETTINGS: [&str; 4] = ["TITHE_CONFIG", "TITHE_IDENTITY", "TITHE_MACAROON", "TITHE_SERVER"];

/// Where a value comes from when nobody has set it.
pub(super) const FROM_DEFAULT: &str = "the default";

/// Where a value comes from that an environment variable has.
pub(super) const FROM_ENVIRONMENT: &str = "the environment";

/// The tables of the file that are no setting: mounted routes.
const MOUNTS: &str = "mount";

/// What is shown of a value that is secret, or may be.
const HIDDEN: &str = "a hidden value";

/// The groups of settings.
pub(super) type Groups = &'static [&'static [Setting]];

/// The value and the origin of each setting, by name.
#[derive(Clone)]
pub(super) struct Values {
    groups: Groups,
    by_name: HashMap<&'static str, (String, String)>,
    /// Variables that are no settings and look like one, with the setting.
    pub(super) lookalikes: Vec<(String, &'static str)>,
    /// The tables of mounted routes, and the file that has them.
    pub(super) mounts: Option<(toml::Value, String)>,
}

impl Values {
    /// The values, with everything that is wrong with where they are from.
    pub(super) fn load(groups: Groups, file: Option<&Path>) -> (Self, Vec<ConfigError>) {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let shown = path.display().to_string();
        let (text, unreadable) = match std::fs::read_to_string(path) {
            Ok(text) => (Some((shown, text)), None),
            Err(source) if file.is_none() && source.kind() == std::io::ErrorKind::NotFound => (None, None),
            Err(source) => (None, Some(ConfigError::File { path: shown, source })),
        };
        let (values, mut problems) = Self::gather(groups, text, std::env::vars_os());
        problems.splice(0..0, unreadable);
        (values, problems)
    }

    /// The values of a file (its path and its text) and of an environment.
    #[cfg(test)]
    pub(super) fn from_parts(
        groups: Groups,
        file: Option<(String, String)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let (values, problems) = Self::gather(groups, file, environment);
        problems.into_iter().next().map_or(Ok(values), Err)
    }

    fn gather(
        groups: Groups,
        file: Option<(String, String)>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> (Self, Vec<ConfigError>) {
        let default =
            |setting: &Setting| (setting.name, (setting.default.to_owned(), FROM_DEFAULT.to_owned()));
        let by_name = groups.iter().copied().flatten().map(default).collect();
        let mut gathered = Self { groups, by_name, lookalikes: Vec::new(), mounts: None };
        let mut problems = Vec::new();
        if let Some((path, text)) = file {
            gathered.read_file(&path, &text, &mut problems);
        }
        gathered.read_environment(environment, &mut problems);
        (gathered, problems)
    }

    fn read_file(&mut self, path: &str, text: &str, problems: &mut Vec<ConfigError>) {
        // Some editors begin a file with a mark that shows its encoding.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table: BTreeMap<String, toml::Value> = match toml::from_str(text) {
            Ok(table) => table,
            Err(wrong) => {
                let before = wrong.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let (line, problem) = (before.matches('\n').count() + 1, wrong.message().to_owned());
                return problems.push(ConfigError::Toml { path: path.to_owned(), line, problem });
            }
        };
        for (key, value) in table {
            if key == MOUNTS {
                self.mounts = Some((value, path.to_owned()));
                continue;
            }
            let Some(setting) = self.settings().find(|setting| setting.key == key) else {
                let meant = meant(&key, &self.names());
                let meant = meant.and_then(|name| Some(self.settings().find(|it| it.name == name)?.key));
                problems.push(ConfigError::UnknownKey { key, path: path.to_owned(), meant });
                continue;
            };
            match text_of(&value) {
                Some(text) => problems.extend(self.set(setting, text, path.to_owned())),
                None => problems.push(ConfigError::Value {
                    name: setting.name,
                    origin: path.to_owned(),
                    value: if setting.secret { HIDDEN.to_owned() } else { value.to_string() },
                    problem: "expected a text, a number, a boolean or a list of texts".to_owned(),
                }),
            }
        }
    }

    fn read_environment(
        &mut self,
        environment: impl Iterator<Item = (OsString, OsString)>,
        problems: &mut Vec<ConfigError>,
    ) {
        // In an order that is the same each time.
        let variables: BTreeMap<String, OsString> =
            environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let mut others = Vec::new();
        for (name, value) in variables {
            let upper = name.to_uppercase();
            match (self.settings().find(|setting| setting.name == name), value.into_string()) {
                (Some(setting), Ok(value)) => {
                    problems.extend(self.set(setting, value, FROM_ENVIRONMENT.to_owned()));
                }
                (Some(setting), Err(_)) => problems.push(ConfigError::Value {
                    name: setting.name,
                    origin: FROM_ENVIRONMENT.to_owned(),
                    value: HIDDEN.to_owned(),
                    problem: "expected a text in UTF-8".to_owned(),
                }),
                (None, value) if OURS.iter().any(|ours| upper.starts_with(ours)) => {
                    if !is_another(&name, value.as_deref().unwrap_or_default()) {
                        let meant = meant(&name, &self.names());
                        problems.push(ConfigError::UnknownVariable { name, meant });
                    }
                }
                (None, _) => others.push(name),
            }
        }
        let names = self.names();
        for name in others {
            // A variable beside the setting itself belongs to another program.
            if let Some(setting) = looks_like(&name, &names).filter(|setting| self.is_default(setting)) {
                self.lookalikes.push((name, setting));
            }
        }
    }

    /// Sets a value, or says what is wrong with it.
    fn set(&mut self, setting: &'static Setting, value: String, origin: String) -> Option<ConfigError> {
        let inner = value.trim();
        let quoted = |quote: char| inner.len() > 1 && inner.starts_with(quote) && inner.ends_with(quote);
        if quoted('"') || quoted('\'') {
            return Some(ConfigError::Value {
                name: setting.name,
                origin,
                value: if setting.secret { HIDDEN.to_owned() } else { inner.to_owned() },
                problem: "expected a value without quotes around it (a shell removes them; files of variables, such as those of \
                          docker, keep them)"
                    .to_owned(),
            });
        }
        self.by_name.insert(setting.name, (value, origin));
        None
    }

    /// Gives a setting its default again, so that others can be looked at; returns whether it had another value.
    pub(super) fn reset(&mut self, name: &str) -> bool {
        let Some(setting) = self.settings().find(|setting| setting.name == name) else { return false };
        let was_set = !self.is_default(setting.name);
        self.by_name.insert(setting.name, (setting.default.to_owned(), FROM_DEFAULT.to_owned()));
        was_set
    }

    fn settings(&self) -> impl Iterator<Item = &'static Setting> + use<> {
        self.groups.iter().copied().flatten()
    }

    fn names(&self) -> Vec<&'static str> {
        self.settings().map(|setting| setting.name).collect()
    }

    /// Whether nobody has set it.
    pub(super) fn is_default(&self, name: &str) -> bool {
        self.get(name).1 == FROM_DEFAULT
    }

    /// The value and the origin of a setting.
    pub(super) fn get(&self, name: &str) -> (&str, &str) {
        self.by_name.get(name).map_or(("", ""), |(value, origin)| (value.as_str(), origin.as_str()))
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
                ConfigError::Value { name, origin, value: HIDDEN.to_owned(), problem }
            }
            other => other,
        })
    }

    pub(super) fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, ConfigError> {
        self.parse(name, |text| match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("expected a whole number from {min} to {max}{}", self.unit_hint(name, text))),
        })
    }

    /// What to say of a value such as `30s`.
    fn unit_hint(&self, name: &str, text: &str) -> String {
        let has_unit = text.starts_with(|c: char| c.is_ascii_digit())
            && text.ends_with(|c: char| c.is_alphabetic() || c == '%');
        match self.settings().find(|setting| setting.name == name).map(Setting::unit) {
            Some(unit) if has_unit && unit.is_empty() => ", without a unit".to_owned(),
            Some(unit) if has_unit => format!(", in {unit} and without a unit"),
            _ => String::new(),
        }
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

/// Whether a variable with our prefix is meant for something else.
fn is_another(name: &str, value: &str) -> bool {
    name.starts_with("TITHE_TEST_")
        || name.starts_with(FOR_PROVISIONING)
        || NOT_SETTINGS.contains(&name)
        || is_service_link(name, value)
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
