//! Reading server-sent events.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Response;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// The events of a response. The stream ends when the connection ends.
pub(crate) struct Events {
    bytes: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    lines: Lines,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        let bytes = response.bytes_stream().map(|chunk| chunk.map(|chunk| chunk.to_vec())).boxed();
        Self { bytes, lines: Lines::default() }
    }

    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.lines.event() {
                return Some(event);
            }
            self.lines.waiting.extend(self.bytes.next().await?.ok()?);
        }
    }
}

/// Splits bytes into lines and lines into events.
#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    event: Event,
}

impl Lines {
    /// The next complete event in the bytes received so far.
    fn event(&mut self) -> Option<Event> {
        while let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.waiting.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "event" => self.event.name = value,
                "id" => self.event.id = Some(value),
                "data" if self.event.data.is_empty() => self.event.data = value,
                "data" => self.event.data = format!("{}\n{value}", self.event.data),
                // Comments and unknown fields.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = "retry: 1000\n\n: still here\n\nevent: state\nid: 1-0-0\ndata: {\"a\":\"☃\"}\n\nevent: delta\r\ndata: x\r\n\r\n";
        let wanted = [
            Event {
                id: Some("1-0-0".to_owned()),
                name: "state".to_owned(),
                data: "{\"a\":\"☃\"}".to_owned(),
            },
            Event { id: None, name: "delta".to_owned(), data: "x".to_owned() },
        ];
        for size in 1..stream.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                lines.waiting.extend(chunk);
                found.extend(std::iter::from_fn(|| lines.event()));
            }
            assert_eq!(found, wanted, "in pieces of {size}");
        }
    }
}
