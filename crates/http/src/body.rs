//! Reading JSON bodies, with errors that name what is wrong.

use crate::problem::{Code, Problem};
use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, Payload};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest body that is taken.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the whole body. One that says that it is too large is not waited for, and one that trickles in is given up.
pub(crate) async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, format!("the body has more than {LIMIT} bytes"));
    let stated = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if stated.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > LIMIT) {
        return Err(too_large());
    }
    let invalid = |detail| Err(Problem::new(Code::InvalidBody, detail));
    match tokio::time::timeout(PATIENCE, payload.to_bytes_limited(LIMIT)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_broken))) => invalid("the body did not arrive whole"),
        Ok(Err(_limit)) => Err(too_large()),
        Err(_elapsed) => invalid("the body did not arrive in time"),
    }
}

/// Reads a JSON object.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(Code::InvalidBody, "the body is empty; a JSON object is expected"));
    }
    let text = std::str::from_utf8(bytes).map_err(|wrong| {
        Problem::new(
            Code::InvalidBody,
            format!("the body is not UTF-8: byte {} is wrong", wrong.valid_up_to()),
        )
    })?;
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|wrong| Problem::new(Code::InvalidBody, format!("the body is not JSON: {wrong}")))?;
    if !value.is_object() {
        return Err(Problem::new(Code::InvalidBody, "the body is JSON, but not an object"));
    }
    serde_path_to_error::deserialize(value).map_err(|wrong| {
        let path = wrong.path().to_string();
        let message = wrong.inner().to_string().replace("expected u64", "expected a whole number from 0 on");
        match message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) => Problem::field(field, "it is missing"),
            None => Problem::field(&path, message),
        }
    })
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
    fn what_is_wrong_is_named() {
        for (body, message) in [
            (&b""[..], "the body is empty; a JSON object is expected"),
            (b"{\"request\":\"\xff\"}", "the body is not UTF-8: byte 12 is wrong"),
            (b"[1]", "the body is JSON, but not an object"),
            (b"{}", "request: it is missing"),
            (b"{\"request\":5}", "request: invalid type: integer `5`, expected a string"),
            (b"{\"request\":null}", "request: invalid type: null, expected a string"),
            (
                b"{\"request\":\"a\",\"maxOutputTokens\":-1}",
                "maxOutputTokens: invalid value: integer `-1`, expected a whole number from 0 on",
            ),
            (
                b"{\"request\":\"a\",\"maxOutputTokens\":1.5}",
                "maxOutputTokens: invalid type: floating point `1.5`, expected a whole number from 0 on",
            ),
        ] {
            assert_eq!(json::<Form>(body).unwrap_err().to_string(), message);
        }
        for body in [&b"{"[..], b"{} {}", b"{\"request\":\"a\",}", b"hello", b"{\"request\":1e999}"] {
            let message = json::<Form>(body).unwrap_err().to_string();
            assert!(message.starts_with("the body is not JSON: "), "{message}");
        }
        assert!(json::<Form>(b"{\"request\":\"a\",\"unknown\":[]}").is_ok());
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(json::<Form>(format!("{{\"request\":{deep}}}").as_bytes()).is_err());
    }
}
