//! Whether a stream of events has failed: its status was sent before anything could go wrong.

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

/// How the streams of Tithe, of OpenAI's and of Anthropic's API say that they have failed, at the beginning of a line.
const ERRORS: [&[u8]; 4] =
    [b"event: error", b"data: {\"error\"", b"event: response.failed", b"data: {\"type\":\"error\""];

/// As much of a line as is looked at.
const LINE_BYTES: usize = 32;

pub(super) fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// A stream of events that is read as it arrives.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    line: Vec<u8>,
    pub(super) has_failed: bool,
}

impl EventStream {
    pub(super) fn read(&mut self, part: &[u8]) {
        for byte in part {
            if matches!(byte, b'\r' | b'\n') {
                self.line.clear();
            } else if self.line.len() < LINE_BYTES {
                self.line.push(*byte);
                self.has_failed |= ERRORS.contains(&self.line.as_slice());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_failed(text: &str, size: usize) -> bool {
        let mut stream = EventStream::default();
        text.as_bytes().chunks(size).for_each(|part| stream.read(part));
        stream.has_failed
    }

    #[test]
    fn an_error_is_found_wherever_the_stream_is_cut() {
        for size in 1..20 {
            for failed in [
                "event: delta\ndata: {}\n\nevent: error\ndata: {}\n\n",
                "data: {\"id\":1}\n\ndata: {\"error\":{\"message\":\"x\"}}\n\n",
                "event: response.failed\r\ndata: {}\r\n\r\n",
                "data: {\"type\":\"error\",\"error\":{}}\n\n",
            ] {
                assert!(has_failed(failed, size), "{failed}");
            }
            for good in ["data: {\"text\":\"event: error\"}\n\ndata: [DONE]\n\n", ""] {
                assert!(!has_failed(good, size), "{good}");
            }
        }
    }
}
