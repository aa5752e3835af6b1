//! Reading an answer.

use crate::tokens;
use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use tithe_engine::mounts::{Called, Pieces, UpstreamError};
use tokio::time::{Instant, timeout_at};

/// The headers of an answer that are passed on, and stored with it.
const PASSED_ON: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "location",
    "retry-after",
];

/// The longest value of a header that is passed on, in bytes.
const HEADER_BYTES_MAX: usize = 2048;

/// Reads an answer of at most `limit` bytes, until then. A stream of which something was passed on is cut there, and is an answer all the same:
/// what its customer has got is paid for.
pub(crate) async fn read(
    mut response: Response,
    limit: usize,
    until: Instant,
    pieces: Option<Pieces<'_>>,
) -> Result<Called, UpstreamError> {
    let status = response.status().as_u16();
    if status >= 500 {
        return Err(UpstreamError::Failed { status });
    }
    let headers = passed_on(response.headers());
    let is_event_stream = is_event_stream(response.headers());
    let stated =
        response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > limit) {
        return Err(UpstreamError::TooLarge { limit });
    }
    let mut pieces = pieces.filter(|_| is_event_stream && status < 300).map(Characters::new);
    let mut body = Vec::new();
    loop {
        let piece = match timeout_at(until, response.chunk()).await {
            Ok(Ok(None)) => break,
            Ok(Ok(Some(piece))) if body.len().saturating_add(piece.len()) <= limit => piece,
            Ok(Err(failure)) => return Err(UpstreamError::BrokenOff(Some(Box::new(failure.without_url())))),
            over => {
                let Some(pieces) = pieces.as_mut().filter(|_| !body.is_empty()) else {
                    let is_too_large = over.is_ok();
                    return Err(if is_too_large {
                        UpstreamError::TooLarge { limit }
                    } else {
                        UpstreamError::TimedOut
                    });
                };
                body.extend_from_slice(CUT);
                pieces.send(CUT);
                break;
            }
        };
        body.extend_from_slice(&piece);
        if let Some(pieces) = &mut pieces {
            pieces.send(&piece);
        }
    }
    if let Some(pieces) = pieces {
        pieces.end();
    }
    let tokens = tokens::reported(&body, is_event_stream);
    Ok(Called { status, headers, body, tokens })
}

/// What a stream ends with that was cut.
const CUT: &[u8] = b"\n\nevent: error\ndata: {\"error\":{\"message\":\"the answer was cut here: it took too long, or was too large\"}}\n\n";

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_encoded = headers.contains_key("content-encoding");
    !is_encoded
        && kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn passed_on(headers: &HeaderMap) -> Vec<(String, String)> {
    let passed_on = PASSED_ON.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok().filter(|value| value.len() <= HEADER_BYTES_MAX)?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    passed_on.collect()
}

/// Passes text on in pieces that never end within a character.
struct Characters<'a> {
    pieces: Pieces<'a>,
    rest: Vec<u8>,
}

impl<'a> Characters<'a> {
    const fn new(pieces: Pieces<'a>) -> Self {
        Self { pieces, rest: Vec::new() }
    }

    fn send(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let mut sent = 0;
        let mut text = String::new();
        for chunk in self.rest.utf8_chunks() {
            text.push_str(chunk.valid());
            let is_cut = sent + chunk.valid().len() + chunk.invalid().len() == self.rest.len()
                && chunk.invalid().len() < 4
                && std::str::from_utf8(chunk.invalid()).is_err_and(|wrong| wrong.error_len().is_none());
            if is_cut {
                sent += chunk.valid().len();
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            sent += chunk.valid().len() + chunk.invalid().len();
        }
        self.rest.drain(..sent);
        if !text.is_empty() {
            (self.pieces)(&text);
        }
    }

    fn end(self) {
        if !self.rest.is_empty() {
            (self.pieces)(&String::from_utf8_lossy(&self.rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn pieces_end_between_characters_and_nothing_is_lost() {
        let text = "data: ä☃𝄞\u{1f600}\n\n".as_bytes();
        for size in 1..text.len() {
            let sent = Mutex::new(Vec::new());
            let listen = |piece: &str| sent.lock().unwrap().push(piece.to_owned());
            let mut characters = Characters::new(&listen);
            text.chunks(size).for_each(|piece| characters.send(piece));
            characters.end();
            assert_eq!(sent.into_inner().unwrap().concat().as_bytes(), text, "{size}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let sent = Mutex::new(String::new());
        let listen = |piece: &str| sent.lock().unwrap().push_str(piece);
        let mut characters = Characters::new(&listen);
        characters.send(b"a\xffb\xe2\x98");
        characters.send(b"c\xe2\x98");
        characters.end();
        assert_eq!(sent.into_inner().unwrap(), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }
}
