//! What a backend has said, for classifying it and for the log.

use serde_json::Value;
use std::fmt;

/// The most that is kept, in bytes.
const KEPT_BYTES_MAX: usize = 2 * 1024;

/// The longest code that is shown.
const CODE_CHARS_MAX: usize = 64;

/// What a backend has said. It may quote customers' texts and our key, so neither `Display` nor `Debug` shows it: they tell its length
/// and the codes of its error object.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendText {
    beginning: String,
    bytes: usize,
    codes: Vec<(&'static str, String)>,
}

impl BackendText {
    /// The text of a body.
    pub(crate) fn of(body: &[u8]) -> Self {
        let object: Option<Value> = serde_json::from_slice(body).ok();
        Self::of_object(body, object.as_ref())
    }

    /// The text of an error object.
    pub(crate) fn of_error(error: &Value) -> Self {
        Self::of_object(error.to_string().as_bytes(), Some(error))
    }

    fn of_object(body: &[u8], object: Option<&Value>) -> Self {
        let beginning = body.get(..KEPT_BYTES_MAX).unwrap_or(body);
        let error = object.map(|object| object.get("error").unwrap_or(object));
        let code = |name| {
            let value = error?.get(name)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((name, text)).filter(|(_, text)| is_code(text))
        };
        Self {
            beginning: String::from_utf8_lossy(beginning).into_owned(),
            bytes: body.len(),
            codes: ["type", "code", "param"].into_iter().filter_map(code).collect(),
        }
    }

    /// Whether the text has these words in it.
    pub(crate) fn contains(&self, words: &str) -> bool {
        self.beginning.contains(words)
    }
}

/// Whether a text is a name, as APIs give to errors and parameters, and can be no prose and no key.
fn is_code(text: &str) -> bool {
    let is_short = !text.is_empty() && text.len() <= CODE_CHARS_MAX;
    is_short
        && text != "null"
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c))
}

impl fmt::Display for BackendText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, code) in &self.codes {
            write!(f, "{name} {code}, ")?;
        }
        write!(f, "{} bytes", self.bytes)
    }
}

impl fmt::Debug for BackendText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where JSON could not be read, without what stood there.
pub(crate) fn position(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_lengths_and_codes_and_never_words() {
        for (body, shown) in [
            (
                r#"{"error":{"message":"wrong key sk-Secret","type":"invalid_request_error","code":"invalid_api_key"}}"#,
                "type invalid_request_error, code invalid_api_key, 99 bytes",
            ),
            (r#"{"error":{"code":"sk-Secret words","param":"max_tokens"}}"#, "param max_tokens, 57 bytes"),
            (r#"{"error":{"code":401}}"#, "code 401, 22 bytes"),
            ("Secret", "6 bytes"),
            ("", "0 bytes"),
        ] {
            let text = BackendText::of(body.as_bytes());
            assert_eq!(text.to_string(), shown);
            assert_eq!(format!("{text:?}"), shown);
        }
        let wrong = serde_json::from_str::<u8>("\"Secret\"").unwrap_err();
        assert_eq!(position(&wrong), "Data error at line 1 column 8");
    }
}
