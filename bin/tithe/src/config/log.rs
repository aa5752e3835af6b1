//! The log.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::{DEFAULT_FILE, Values};
use std::path::Path;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_LOG",
        "log",
        "info,actix_server=warn,actix_http=off",
        "The log filter: a level, or a filter such as info,tithe_http=debug (which adds a line for every successful response)",
    ),
    Setting::new("TITHE_LOG_FORMAT", "log_format", "pretty", "The format of log lines: pretty or json"),
];

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

impl LogFormat {
    /// The format that is wanted, as far as can be known of a configuration with mistakes: what is wrong with it is said in this
    /// format.
    pub(crate) fn wanted(file: Option<&Path>) -> Self {
        let in_file = || {
            let text = std::fs::read_to_string(file.unwrap_or(Path::new(DEFAULT_FILE))).unwrap_or_default();
            let mut values = text.lines().rev().filter_map(|line| line.split_once('='));
            let format = values.find(|(key, _)| key.trim() == "log_format");
            format.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        match std::env::var("TITHE_LOG_FORMAT").ok().or_else(in_file).as_deref().map(str::trim) {
            Some("json") => Self::Json,
            _ => Self::Pretty,
        }
    }
}

/// The log.
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

impl Log {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            filter: values.text("TITHE_LOG").to_owned(),
            format: match values.one_of("TITHE_LOG_FORMAT", &["pretty", "json"])? {
                "json" => LogFormat::Json,
                _ => LogFormat::Pretty,
            },
        })
    }
}
