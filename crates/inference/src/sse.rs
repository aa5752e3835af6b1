//! A parser for server-sent events that arrive in pieces of any size.
//!
//! The format is the WHATWG's (HTML, section 9.2, "Server-sent events"), less `id` and `retry`, which are of use to
//! browsers alone.

use std::collections::VecDeque;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// The event's name; empty if it has none.
    pub name: String,
    /// The event's data lines, joined by line feeds.
    pub data: String,
}

/// The maximum length of a line or of an event's data.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A line, or the data of an event, exceeds the maximum length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Parses the events in a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
    /// A line has been read, so that a byte order mark can no longer come.
    begun: bool,
    event: Event,
    has_data: bool,
    ready: VecDeque<Event>,
}

impl Parser {
    /// Adds bytes to the input. A line that is whole in them is read where it is; only what may go on in the next bytes is kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(after) = rest.strip_prefix(b"\n")
            {
                rest = after;
                continue;
            }
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.keep(rest);
            };
            let (line, after) = rest.split_at(end);
            self.after_cr = after.starts_with(b"\r");
            rest = after.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.read_line(line)?;
            } else {
                self.keep(line)?;
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// The input has ended. An event whose blank line is missing is complete if its last line is; servers that close the
    /// connection after the last event often leave the blank line out.
    pub(crate) fn finish(&mut self) -> Result<(), TooLong> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.end_event();
        Ok(())
    }

    /// The next complete event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Adds to the line that is not whole yet.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len().saturating_add(bytes.len()) > LINE_BYTES_MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), TooLong> {
        let mut line = std::mem::take(&mut self.line);
        let read = self.read_line(&line);
        line.clear();
        self.line = line;
        read
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), TooLong> {
        if line.len() > LINE_BYTES_MAX {
            return Err(TooLong);
        }
        // A character may be split between two pieces, never between two lines.
        let line = String::from_utf8_lossy(line);
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { line.strip_prefix('\u{feff}').unwrap_or(&line) } else { &line };
        if line.is_empty() {
            self.end_event();
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.event.data.len() + value.len() > LINE_BYTES_MAX {
                    return Err(TooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment has an empty name.
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self) {
        let event = std::mem::take(&mut self.event);
        if std::mem::take(&mut self.has_data) {
            self.ready.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece).unwrap();
            events.extend(std::iter::from_fn(|| parser.next()).map(|event| (event.name, event.data)));
        }
        events
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn every_line_ending_ends_a_line() {
        for text in ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
            assert_eq!(parse(&[text.as_bytes()]), [event("", "a"), event("", "b")], "{text:?}");
        }
    }

    #[test]
    fn names_comments_unknown_fields_and_several_data_lines_are_understood() {
        let text = b"\xef\xbb\xbf: keep-alive\nevent: ping\nid: 7\nretry: 1\ndata:x\ndata:  y\ndata\n\nevent: nothing\n\n";
        assert_eq!(parse(&[text]), [event("ping", "x\n y\n")]);
    }

    #[test]
    fn an_event_that_was_not_ended_is_not_reported() {
        assert_eq!(parse(&[b"data: a\n\ndata: b\n"]), [event("", "a")]);
    }

    #[test]
    fn at_the_end_of_the_input_the_last_event_needs_no_blank_line() {
        for text in ["data: a", "data: a\n", "data: a\r\n", "data: a\n\n"] {
            let mut parser = Parser::default();
            parser.push(text.as_bytes()).unwrap();
            parser.finish().unwrap();
            let events: Vec<Event> = std::iter::from_fn(|| parser.next()).collect();
            assert_eq!(events, [Event { name: String::new(), data: "a".to_owned() }], "{text:?}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(parse(&[b"data: a\xffb\n\n"]), [event("", "a\u{fffd}b")]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(&vec![b'x'; LINE_BYTES_MAX]), Ok(()));
        assert_eq!(parser.push(b"x"), Err(TooLong));
    }

    #[test]
    fn an_event_of_endless_lines_is_refused() {
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(LINE_BYTES_MAX / 2 + 1));
        assert_eq!(parser.push(line.as_bytes()), Ok(()));
        assert_eq!(parser.push(line.as_bytes()), Err(TooLong));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(cuts in prop::collection::vec(1usize..8, 0..80)) {
            let text = "event: é\r\ndata: 日本語🦀\r\n\r\n: c\r\n\r\ndata: zwei\r\ndata: Zeilen\r\n\r\n".as_bytes();
            let mut pieces = Vec::new();
            let mut rest = text;
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(parse(&pieces), [event("é", "日本語🦀"), event("", "zwei\nZeilen")]);
        }
    }
}
