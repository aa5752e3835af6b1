//! Lines of the log as JSON objects without levels below: the fields of an event, and those of the spans around it.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt::{self, Debug};
use tithe_engine::log::chain;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes each event as one line of JSON.
pub(super) struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::new(*event.metadata().level(), event.metadata().target(), "");
        // What is nearer to the event replaces what is farther.
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let fields = fields.and_then(|fields| serde_json::from_str::<Map<String, Value>>(fields).ok());
            line.fields.extend(fields.unwrap_or_default());
        }
        event.record(&mut line);
        writeln!(writer, "{line}")
    }
}

/// A line of the log.
pub(crate) struct Line {
    timestamp: String,
    level: Level,
    target: String,
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    /// A line that is written now.
    pub(crate) fn new(level: Level, target: &str, message: &str) -> Self {
        let mut timestamp = String::new();
        if SystemTime.format_time(&mut Writer::new(&mut timestamp)).is_err() {
            timestamp.clear();
        }
        let (target, message) = (target.to_owned(), message.to_owned());
        Self { timestamp, level, target, message, fields: Map::new() }
    }

    /// The line with one more field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().trim_start_matches("r#").to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = [
            ("timestamp", self.timestamp.as_str()),
            ("level", self.level.as_str()),
            ("message", self.message.as_str()),
            ("target", self.target.as_str()),
        ];
        let head = head.into_iter().map(|(name, value)| (name, Value::from(value)));
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
        serializer.collect_map(head.chain(fields))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::written::Written;
    use tracing::{info_span, warn};

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct DiskFull;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write")]
    struct CannotWrite(#[source] DiskFull);

    #[test]
    fn a_line_has_the_fields_of_its_spans_and_all_causes() {
        let written = Written::default();
        tracing::subscriber::with_default(written.log(), || {
            let outer = info_span!("request", request_id = "r", attempt = 1_u32).entered();
            let inner = info_span!("job", job_id = %"j", attempt = 2_u32).entered();
            let error: &(dyn std::error::Error + 'static) = &CannotWrite(DiskFull);
            let none: Option<u64> = None;
            warn!(error, amount_msats = 5_u64, duration_ms = 0.612, last = true, none, "not {}\n", "written");
            drop((inner, outer));
        });
        let lines = written.lines();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let mut line = line.as_object().unwrap().clone();
        assert!(line.remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        assert!(line.remove("target").unwrap().as_str().unwrap().starts_with("tithe"));
        let expected = serde_json::json!({
            "level": "WARN", "message": "not written\n", "request_id": "r", "job_id": "j", "attempt": 2,
            "error": "cannot write: the disk is full", "amount_msats": 5, "duration_ms": 0.612, "last": true,
        });
        assert_eq!(Value::Object(line), expected);
    }
}
