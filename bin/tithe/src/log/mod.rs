//! The server's log: its format, and what is said outside of it in the same format.

mod json;
mod panic;
#[cfg(test)]
mod written;

pub(crate) use json::Line;
pub(crate) use panic::log_panics;

use crate::chain;
use crate::config::LogFormat;
use crate::failure::Failure;
use json::JsonLines;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Starts the log, on the standard error, and the traces if a collector is named.
pub(crate) fn start(format: LogFormat, filter: EnvFilter) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Pretty => lines.with_target(false).boxed(),
        LogFormat::Json => lines.fmt_fields(JsonFields::new()).event_format(JsonLines).boxed(),
    };
    begin(lines, filter)?;
    log_panics();
    Ok(())
}

/// The filter of the log is not that of the traces.
#[cfg(feature = "otel")]
fn begin(lines: Box<dyn Layer<Registry> + Send + Sync>, filter: EnvFilter) -> Result<(), Failure> {
    let log = tracing_subscriber::registry().with(lines.with_filter(filter));
    if crate::traces::are_wanted() {
        log.with(crate::traces::layer()?).init();
    } else {
        log.init();
    }
    Ok(())
}

#[cfg(not(feature = "otel"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature otel it can fail")]
fn begin(lines: Box<dyn Layer<Registry> + Send + Sync>, filter: EnvFilter) -> Result<(), Failure> {
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    if crate::traces::are_wanted() {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without the feature otel: there are no traces"
        );
    }
    Ok(())
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
