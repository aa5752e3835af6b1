//! What somebody else has written, fit for the operator's log.

use std::cmp::Reverse;
use std::error::Error;

/// The most characters that are shown.
pub(crate) const CHARS_MAX: usize = 500;

/// The first [`CHARS_MAX`] characters of `text`, in one line without unprintable characters, with `***` instead of each of the
/// `secrets`.
pub(crate) fn of(text: &str, secrets: &[&str]) -> String {
    // A secret may contain another one.
    let mut secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| Reverse(secret.len()));
    let hidden = secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
    let words =
        hidden.split(|c: char| c.is_whitespace() || is_unprintable(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(CHARS_MAX).collect()
}

/// Returns true for control characters, and for those that have no shape of their own but change how others are shown.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// An error with its causes: "error sending request: connection refused".
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_printable_line_without_secrets() {
        assert_eq!(of("a\tb\r\n\u{1b}[31mred\u{202e}\0", &[]), "a b [31mred");
        assert_eq!(of("pw=hunter2hunter2, pw=hunter2", &["hunter2", "", "hunter2hunter2"]), "pw=***, pw=***");
        assert_eq!(of(&"ä".repeat(CHARS_MAX + 1), &[]).chars().count(), CHARS_MAX);
        // A secret that reaches over the end is hidden before the text is cut.
        let text = format!("{}hunter2", "x".repeat(CHARS_MAX - 4));
        assert!(of(&text, &["hunter2"]).ends_with("x***"));
    }
}
