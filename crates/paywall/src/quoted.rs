//! Strings in quotes, as the parameters of HTTP authentication have them.

/// The text as a quoted string (RFC 9110, section 5.6.4), quotes included; `None` if it has a control character other
/// than a tab, which no header can carry.
pub(crate) fn quoted(text: &str) -> Option<String> {
    if text.chars().any(|char| char.is_ascii_control() && char != '\t') {
        return None;
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("a, b=c", r#""a, b=c""#),
            (r#"a "b" \ c"#, r#""a \"b\" \\ c""#),
            ("tab\there", "\"tab\there\""),
            ("café", "\"café\""),
        ] {
            assert_eq!(quoted(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn no_control_character_gets_into_a_header() {
        for text in ["a\r\nSet-Cookie: b", "\n", "\0", "\u{7f}", "\u{1b}"] {
            assert_eq!(quoted(text), None, "{text:?}");
        }
    }
}
