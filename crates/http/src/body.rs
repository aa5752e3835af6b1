//! Reads JSON bodies, and reports errors by field.

use crate::problem::{Code, Problem};
use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, Payload};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::time::Duration;

/// The maximum size of a body, in bytes.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// The maximum size of a body of the AI API, which may have images in it, in bytes.
pub(crate) const AI_LIMIT: usize = 32 * 1024 * 1024;

/// The least that actix-web reserves for a body whose length it does not know, in bytes.
const READ_BUFFER: usize = 32 * 1024;

/// The time limit for receiving a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the whole body, decompressed. Rejects an oversized `Content-Length` immediately, and a slow body after the time limit.
pub(crate) async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    read_up_to(LIMIT, request, payload).await
}

/// Reads the whole body as it was sent, of whatever type and encoding.
pub(crate) async fn read_as_sent(
    limit: usize,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Bytes, Problem> {
    receive(limit, request, payload).await
}

/// As [`read`], with another limit.
pub(crate) async fn read_up_to(
    limit: usize,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Bytes, Problem> {
    check_type(request)?;
    let is_gzip = is_gzip(request)?;
    let bytes = receive(limit, request, payload).await?;
    if is_gzip { decompressed(&bytes, limit) } else { Ok(bytes) }
}

async fn receive(limit: usize, request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Code::BodyTooLarge, format!("body too large: expected at most {limit} bytes"));
    let stated = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if stated.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let invalid = |detail| Err(Problem::new(Code::InvalidBody, detail));
    match tokio::time::timeout(PATIENCE, payload.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(bytes))) => Ok(fitting(bytes)),
        Ok(Ok(Err(_broken))) => invalid("incomplete body: the connection closed early"),
        Ok(Err(_limit)) => Err(too_large()),
        Err(_elapsed) => invalid("incomplete body: the read timed out"),
    }
}

/// A short body in a buffer of its size. It was read into one of 32 KiB, which would be kept as long as the body: by a stream, until its end.
fn fitting(bytes: Bytes) -> Bytes {
    if bytes.len() < READ_BUFFER / 2 { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// Rejects a body that says to be something else than JSON. Without a type it is taken for JSON.
fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let detail = format!("unsupported media type: expected application/json, got {text:?}");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// Whether the body is compressed with gzip.
fn is_gzip(request: &HttpRequest) -> Result<bool, Problem> {
    let mut encodings = request.headers().get_all(CONTENT_ENCODING);
    let Some(value) = encodings.next() else { return Ok(false) };
    match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "identity" | "" if encodings.next().is_none() => Ok(false),
        "gzip" | "x-gzip" if encodings.next().is_none() => Ok(true),
        other => {
            let detail = format!("unsupported encoding: expected gzip or none, got {other:?}");
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
    }
}

/// Decompresses a body, at most to the limit.
fn decompressed(bytes: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut text = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(bytes).take(most).read_to_end(&mut text);
    read.map_err(|wrong| Problem::new(Code::InvalidBody, format!("invalid body: not gzip: {wrong}")))?;
    if text.len() > limit {
        let detail = format!("body too large: expected at most {limit} bytes when decompressed");
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    Ok(text.into())
}

/// Reads a JSON object.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(Code::InvalidBody, "empty body: expected a JSON object"));
    }
    let text = std::str::from_utf8(bytes).map_err(|wrong| {
        Problem::new(
            Code::InvalidBody,
            format!("invalid body: expected UTF-8, got an invalid byte at offset {}", wrong.valid_up_to()),
        )
    })?;
    // Some editors and programs put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|wrong| Problem::new(Code::InvalidBody, format!("invalid JSON: {wrong}")))?;
    if !value.is_object() {
        return Err(Problem::new(
            Code::InvalidBody,
            "invalid body: expected a JSON object, got another JSON value",
        ));
    }
    fields(value)
}

/// Reads the fields of a JSON object that was parsed.
pub(crate) fn fields<T: DeserializeOwned>(object: serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(object).map_err(|wrong| {
        let path = wrong.path().to_string();
        let message = wrong.inner().to_string().replace("expected u64", "expected a non-negative integer");
        match message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) => Problem::field(field, "missing field"),
            None => Problem::field(&path, message),
        }
    })
}

/// The token of an identity in a body that carries nothing else that matters, and may be empty.
pub(crate) fn token(bytes: &[u8]) -> Result<Option<String>, Problem> {
    #[derive(Deserialize)]
    struct Token {
        #[serde(alias = "nostrToken")]
        nostr_token: Option<String>,
    }
    if bytes.is_empty() { Ok(None) } else { Ok(json::<Token>(bytes)?.nostr_token) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        #[serde(rename = "request")]
        _request: String,
        #[serde(rename = "maxOutputTokens")]
        _max_output_tokens: Option<u64>,
    }

    #[test]
    fn errors_name_the_field() {
        for (body, message) in [
            (&b""[..], "empty body: expected a JSON object"),
            (b"{\"request\":\"\xff\"}", "invalid body: expected UTF-8, got an invalid byte at offset 12"),
            (b"[1]", "invalid body: expected a JSON object, got another JSON value"),
            (b"{}", "request: missing field"),
            (b"{\"request\":5}", "request: invalid type: integer `5`, expected a string"),
            (b"{\"request\":null}", "request: invalid type: null, expected a string"),
            (
                b"{\"request\":\"a\",\"maxOutputTokens\":-1}",
                "maxOutputTokens: invalid value: integer `-1`, expected a non-negative integer",
            ),
            (
                b"{\"request\":\"a\",\"maxOutputTokens\":1.5}",
                "maxOutputTokens: invalid type: floating point `1.5`, expected a non-negative integer",
            ),
        ] {
            assert_eq!(json::<Form>(body).unwrap_err().to_string(), message);
        }
        for body in [&b"{"[..], b"{} {}", b"{\"request\":\"a\",}", b"hello", b"{\"request\":1e999}"] {
            let message = json::<Form>(body).unwrap_err().to_string();
            assert!(message.starts_with("invalid JSON: "), "{message}");
        }
        assert!(json::<Form>(b"{\"request\":\"a\",\"unknown\":[]}").is_ok());
    }

    #[test]
    fn deeply_nested_json_is_rejected() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(json::<Form>(format!("{{\"request\":{deep}}}").as_bytes()).is_err());
    }
}
