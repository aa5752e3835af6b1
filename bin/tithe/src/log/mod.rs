//! The server's log: its format, and what is said outside of it in the same format.

mod json;
mod panic;
#[cfg(test)]
mod written;

pub(crate) use json::Line;
pub(crate) use panic::log_panics;

use crate::chain;
use crate::config::LogFormat;
use json::JsonLines;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

/// Starts the log, on the standard error.
pub(crate) fn start(format: LogFormat, filter: EnvFilter) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Pretty => log.with_target(false).init(),
        LogFormat::Json => log.fmt_fields(JsonFields::new()).event_format(JsonLines).init(),
    }
    log_panics();
}

/// Says why the program cannot go on: to a person, or to whatever collects the log.
pub(crate) fn fatal(format: LogFormat, failure: &dyn std::error::Error) {
    match format {
        LogFormat::Pretty => eprintln!("tithe: {}", chain(failure)),
        LogFormat::Json => {
            let line = Line::new(Level::ERROR, "tithe", &failure.to_string());
            eprintln!("{}", line.with("error", tithe_engine::log::chain(failure)));
        }
    }
}
