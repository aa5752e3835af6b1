//! The JSON objects that services return.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON object whose values are read one by one, as services are sloppy about those that nobody needs.
pub(crate) struct Reply(BTreeMap<String, Box<RawValue>>);

impl Reply {
    /// The object in a body; `None` if there is none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    /// The text in a field; `None` if the field is missing or no string.
    pub fn text(&self, field: &str) -> Option<String> {
        serde_json::from_str(self.0.get(field)?.get()).ok()
    }

    /// The object in a field; `None` if the field is missing or no object.
    pub fn object(&self, field: &str) -> Option<Self> {
        Self::parse(self.0.get(field)?.get().as_bytes())
    }

    /// The objects in the fields that contain one, with the fields' names.
    pub fn objects(&self) -> impl Iterator<Item = (&str, Self)> {
        self.0
            .iter()
            .filter_map(|(field, value)| Some((field.as_str(), Self::parse(value.get().as_bytes())?)))
    }

    /// Whether a field is true.
    pub fn is_true(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| value.get() == "true")
    }

    /// The whole number in a field, also in a string. What is too large for a `u64` is the largest `u64`: services write huge numbers
    /// for "no limit".
    pub fn number(&self, field: &str) -> Option<u64> {
        let value = self.0.get(field)?.get();
        let digits = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned());
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let is_whole = !whole.is_empty()
            && whole.chars().all(|c| c.is_ascii_digit())
            && fraction.chars().all(|c| c == '0');
        is_whole.then(|| whole.parse().unwrap_or(u64::MAX))
    }

    /// The reason of a reply that reports an error; `None` for any other reply.
    pub fn error(&self) -> Option<String> {
        let is_error = self.text("status").is_some_and(|status| status.eq_ignore_ascii_case("ERROR"));
        is_error.then(|| self.text("reason").unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(json: &str) -> Reply {
        Reply::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_whole_and_may_be_strings() {
        for (value, expected) in [
            ("0", Some(0)),
            ("1000", Some(1_000)),
            ("\"1000\"", Some(1_000)),
            ("1000.00", Some(1_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("\"999999999999999999999999999999\"", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("1e3", None),
            ("\"\"", None),
            ("\" 1\"", None),
            ("\"0x10\"", None),
            ("null", None),
            ("[1]", None),
        ] {
            assert_eq!(reply(&format!("{{\"n\": {value}}}")).number("n"), expected, "{value}");
        }
        assert_eq!(reply("{}").number("n"), None);
    }

    #[test]
    fn only_a_status_of_error_is_an_error() {
        assert_eq!(reply(r#"{"status": "ERROR", "reason": "no"}"#).error().as_deref(), Some("no"));
        assert_eq!(reply(r#"{"status": "error", "reason": {"code": 1}}"#).error().as_deref(), Some(""));
        assert_eq!(reply(r#"{"status": "OK", "reason": "no"}"#).error(), None);
        assert_eq!(reply(r#"{"status": 1}"#).error(), None);
    }

    #[test]
    fn only_objects_are_replies() {
        for body in ["", "<html>", "[]", "null", "\"{}\"", "{} {}", "{\"a\":}", "{\"a\": \u{1}}"] {
            assert!(Reply::parse(body.as_bytes()).is_none(), "{body}");
        }
        assert!(Reply::parse(b"{\"a\": \"\xff\"}").is_none());
    }

    #[test]
    fn fields_that_nobody_reads_may_be_of_any_depth() {
        let deep = format!("{{\"deep\": {}{}, \"n\": 1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(reply(&deep).number("n"), Some(1));
        assert!(reply(&deep).text("deep").is_none());
        assert!(reply(&deep).object("deep").is_none());
    }
}
