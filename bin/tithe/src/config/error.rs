//! Why the configuration cannot be used.

/// Why the configuration cannot be used. It names the setting, the origin of its value, and what is wrong with the value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("unreadable configuration file {path}")]
    File { path: String, source: std::io::Error },
    // Without the line itself, which may hold a secret.
    #[error("invalid configuration file {path}: line {line}: {problem}")]
    Toml { path: String, line: usize, problem: String },
    #[error("unknown setting {key:?} in {path}; `tithe config check` lists all settings")]
    UnknownKey { key: String, path: String },
    #[error("unknown setting {0} in the environment; `tithe config check` lists all settings")]
    UnknownVariable(String),
    #[error("invalid {name} (from {origin}): {problem}, got {value:?}")]
    Value { name: &'static str, origin: String, value: String, problem: String },
    #[error("{0}")]
    Together(String),
}
