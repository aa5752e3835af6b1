//! Excerpts of texts that a host wrote.

/// The longest excerpt.
const CHARS_MAX: usize = 100;

/// The beginning of a text on one line, without characters that control a terminal or reorder the text around them.
pub(crate) fn excerpt(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        // More than is kept, as whitespace collapses; a text of any length costs the same.
        .take(CHARS_MAX * 10)
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= CHARS_MAX {
        return line;
    }
    line.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}

/// Characters without a width, and those that change the direction of the text.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_excerpt_is_one_line_without_control_characters() {
        for (text, expected) in [
            ("no such user", "no such user"),
            (" a\r\n\tb\u{0}c ", "a b c"),
            ("\u{1b}[31mred", "[31mred"),
            ("abc\u{202e}def\u{200b}", "abcdef"),
            ("", ""),
        ] {
            assert_eq!(excerpt(text), expected, "{text:?}");
        }
        let long = excerpt(&"ä".repeat(101));
        assert_eq!(long, format!("{}…", "ä".repeat(99)));
        assert_eq!(excerpt(&"ä".repeat(100)), "ä".repeat(100));
    }

    proptest! {
        #[test]
        fn an_excerpt_is_never_long(text in "(?s).{0,300}") {
            let excerpt = excerpt(&text);
            prop_assert!(excerpt.chars().count() <= CHARS_MAX);
            prop_assert!(!excerpt.chars().any(char::is_control));
        }
    }
}
