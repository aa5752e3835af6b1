//! The log.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;

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
