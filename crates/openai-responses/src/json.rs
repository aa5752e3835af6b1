//! JSON, written straight into a buffer.

use std::fmt::Display;
use std::io::Write;

/// Writes a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    string_part(out, text);
    out.push(b'"');
}

/// Writes what is inside a JSON string.
///
/// U+0085, U+2028 and U+2029 are escaped too: some clients split an event stream wherever Unicode ends a line.
pub(crate) fn string_part(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(is_special) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        if let Some(special) = chars.next() {
            escape(out, special);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Writes a value that is JSON already, on one line.
pub(crate) fn raw(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find(ends_line) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        match chars.next() {
            // Between values only: inside strings they are escaped.
            Some('\n' | '\r') | None => out.push(b' '),
            Some(special) => escape(out, special),
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Writes a number.
pub(crate) fn number(out: &mut Vec<u8>, number: impl Display) {
    // Writing into a vector cannot fail.
    let _ = write!(out, "{number}");
}

/// Writes what is JSON, or part of it, by itself.
pub(crate) fn text(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

const fn ends_line(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

const fn is_special(char: char) -> bool {
    matches!(char, '\0'..='\x1f' | '"' | '\\' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn escape(out: &mut Vec<u8>, char: char) {
    match char {
        '"' => text(out, "\\\""),
        '\\' => text(out, "\\\\"),
        '\n' => text(out, "\\n"),
        '\r' => text(out, "\\r"),
        '\t' => text(out, "\\t"),
        other => {
            let _ = write!(out, "\\u{:04x}", u32::from(other));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_of_a_client_is_kept_but_put_on_one_line() {
        let mut out = Vec::new();
        raw(&mut out, "{\r\n  \"a\": \"x\u{2028}y\\n\"\n}");
        assert_eq!(String::from_utf8(out).unwrap(), "{    \"a\": \"x\\u2028y\\n\" }");
    }

    proptest! {
        #[test]
        fn a_string_reads_back_and_has_no_line_end(text in any::<String>()) {
            let text = format!("{text}\u{2028}\u{85}\n\u{7f}\"\\");
            let mut out = Vec::new();
            string(&mut out, &text);
            let written = String::from_utf8(out).unwrap();
            prop_assert!(!written.contains(ends_line));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
