//! Reading JSON bodies, with errors that name what is wrong.

use crate::problem::{Code, Problem};
use actix_web::web::{Bytes, Payload};
use serde::de::DeserializeOwned;

/// The largest body that is taken.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// Reads the whole body.
pub(crate) async fn read(payload: Payload) -> Result<Bytes, Problem> {
    match payload.to_bytes_limited(LIMIT).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_broken)) => Err(Problem::new(Code::InvalidBody, "the body did not arrive whole")),
        Err(_limit) => Err(Problem::new(Code::BodyTooLarge, format!("the body has more than {LIMIT} bytes"))),
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
        let message = wrong.inner().to_string();
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
                "maxOutputTokens: invalid value: integer `-1`, expected u64",
            ),
            (
                b"{\"request\":\"a\",\"maxOutputTokens\":1.5}",
                "maxOutputTokens: invalid type: floating point `1.5`, expected u64",
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
