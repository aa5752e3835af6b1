//! Why the configuration cannot be used.

use std::fmt;

/// Why the configuration cannot be used. It names the setting, the origin of its value, and what is wrong with the value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("unreadable configuration file {path}")]
    File { path: String, source: std::io::Error },
    // Without the line itself, which may hold a secret.
    #[error("invalid configuration file {path}: line {line}: {problem}")]
    Toml { path: String, line: usize, problem: String },
    #[error("unknown setting {key:?} in {path}{}", advice(*.meant))]
    UnknownKey { key: String, path: String, meant: Option<&'static str> },
    #[error("unknown setting {name} in the environment{}", advice(*.meant))]
    UnknownVariable { name: String, meant: Option<&'static str> },
    #[error("invalid {name} (from {origin}): {problem}, got {value:?}{}", hint(.value, .origin))]
    Value { name: &'static str, origin: String, value: String, problem: String },
    #[error("{0}")]
    Together(String),
}

fn advice(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!(": did you mean {meant}?"),
        None => "; `tithe config check` lists all settings".to_owned(),
    }
}

/// An empty value is a value: `TITHE_X=` in an environment file, or a variable of compose that is not set.
fn hint(value: &str, origin: &str) -> &'static str {
    if value.is_empty() && origin != "the default" {
        "; to use the default, do not set it at all"
    } else {
        ""
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug)]
pub(crate) struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// Each problem with its causes, in the order in which they were found.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(|problem| crate::chain(problem)).collect()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [problem] => problem.fmt(f),
            problems => {
                write!(f, "{} settings are wrong:", problems.len())?;
                self.texts().iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0[..] {
            [problem] => problem.source(),
            _ => None,
        }
    }
}
