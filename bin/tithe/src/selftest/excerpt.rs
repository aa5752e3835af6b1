//! Short excerpts of answers for messages, without secrets: people paste them into public bug reports.

use crate::client::Line;
use serde_json::Value;

/// The longest excerpt, in characters.
const CHARS_MAX: usize = 300;

/// The fields whose values are secrets.
const SECRETS: [&str; 8] = [
    "claimToken",
    "credentials",
    "macaroon",
    "nostr_token",
    "paymentRequest",
    "preimage",
    "webhookSecret",
    "token",
];

/// An excerpt of a body.
pub(super) fn of_body(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => of_value(&value),
        Err(_) if text.is_empty() => "an empty body".to_owned(),
        Err(_) => short(text),
    }
}

/// An excerpt of a JSON value.
pub(super) fn of_value(value: &Value) -> String {
    let mut shown = value.clone();
    redact(&mut shown);
    short(&shown.to_string())
}

/// A text on one line that controls no terminal, cut where it gets long.
pub(super) fn short(text: &str) -> String {
    let line = Line::from(text.to_owned());
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_string(),
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if SECRETS.contains(&name.as_str()) {
                    *value = Value::from("***");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_no_secrets_and_controls_no_terminal() {
        let shown = of_body(r#"{"a":[{"macaroon":"m","claimToken":"c"}],"b":"\u001b[2J"}"#);
        assert_eq!(shown, r#"{"a":[{"claimToken":"***","macaroon":"***"}],"b":"\u001b[2J"}"#);
        assert_eq!(of_body("<h1>\u{1b}[2J</h1>\n"), "<h1>[2J</h1>");
        assert_eq!(of_body(""), "an empty body");
    }

    #[test]
    fn an_excerpt_is_short() {
        let shown = of_body(&"é".repeat(1_000));
        assert_eq!(shown.chars().count(), CHARS_MAX + 1);
        assert!(shown.ends_with('…'));
    }
}
