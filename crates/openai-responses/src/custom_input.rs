//! The input of custom tools.
//!
//! A custom tool takes plain text. Models behind other APIs know only functions, so that a custom tool is offered to them as a function
//! with one argument, `{"input": "…"}`, and the text is taken out of the arguments again, as they are generated.

/// Takes the text out of the arguments of a call, piece by piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct CustomInput {
    state: State,
    /// What has been read, but not yet understood: the beginning, or the beginning of an escape.
    pending: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Beginning,
    Text,
    /// The arguments are not of the expected form: they are the input as they are.
    Plain,
    End,
}

/// Where the text begins.
enum Beginning {
    At(usize),
    /// Not yet here.
    Unknown,
    /// Nowhere: there are no arguments.
    Empty,
    /// Nowhere: the arguments are not of the expected form.
    None,
}

impl CustomInput {
    /// Reads more of the arguments, and appends the text that they contain.
    pub(crate) fn push(&mut self, json: &str, text: &mut String) {
        match self.state {
            State::End => {}
            State::Plain => text.push_str(json),
            State::Text => {
                if self.pending.is_empty() {
                    self.unescape(json, text);
                } else {
                    self.pending.push_str(json);
                    let pending = std::mem::take(&mut self.pending);
                    self.unescape(&pending, text);
                }
            }
            State::Beginning => {
                self.pending.push_str(json);
                match beginning(&self.pending) {
                    Beginning::Unknown => {}
                    Beginning::Empty => self.finish(),
                    Beginning::None => {
                        self.state = State::Plain;
                        text.push_str(&std::mem::take(&mut self.pending));
                    }
                    Beginning::At(at) => {
                        self.state = State::Text;
                        let pending = std::mem::take(&mut self.pending);
                        self.unescape(pending.get(at..).unwrap_or_default(), text);
                    }
                }
            }
        }
    }

    fn finish(&mut self) {
        self.state = State::End;
        self.pending.clear();
    }

    /// Whether the end of the text has been read.
    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::End
    }

    /// Whether the arguments are not of the expected form, so that nothing says where they end.
    pub(crate) fn is_plain(&self) -> bool {
        self.state == State::Plain
    }

    fn unescape(&mut self, json: &str, text: &mut String) {
        let mut rest = json;
        loop {
            let Some(at) = rest.find(['"', '\\']) else {
                text.push_str(rest);
                return;
            };
            let (plain, special) = rest.split_at(at);
            text.push_str(plain);
            if special.starts_with('"') {
                self.finish();
                return;
            }
            let Some((char, length)) = escape(special) else {
                special.clone_into(&mut self.pending);
                return;
            };
            text.push(char);
            rest = special.get(length..).unwrap_or_default();
        }
    }
}

/// The character that an escape stands for, and the length of the escape; `None` if it is not complete.
fn escape(text: &str) -> Option<(char, usize)> {
    let char = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode_escape(text),
        _ => {
            let char = text.chars().nth(1)?;
            return Some((char, 1 + char.len_utf8()));
        }
    };
    Some((char, 2))
}

fn unicode_escape(text: &str) -> Option<(char, usize)> {
    const BAD: char = char::REPLACEMENT_CHARACTER;
    // Digits are ASCII: what is not at a border of characters is none.
    let digits = |from: usize| match text.get(from..from + 4) {
        Some(digits) => Some(u32::from_str_radix(digits, 16).ok()),
        None if text.len() >= from + 4 => Some(None),
        None => None,
    };
    let Some(first) = digits(2)? else { return Some((BAD, 2)) };
    if let Some(char) = char::from_u32(first) {
        return Some((char, 6));
    }
    let follows = text.get(6..).unwrap_or_default();
    if !"\\u".starts_with(follows.get(..2).unwrap_or(follows)) {
        return Some((BAD, 6));
    }
    let second = if follows.len() < 2 { return None } else { digits(8)? };
    let low = second.filter(|second| first < 0xdc00 && (0xdc00..0xe000).contains(second));
    let Some(low) = low else { return Some((BAD, 6)) };
    let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
    Some((char::from_u32(code).unwrap_or(BAD), 12))
}

fn beginning(text: &str) -> Beginning {
    let mut rest = text;
    for expected in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_ascii_start();
        match rest.strip_prefix(expected) {
            Some(more) => rest = more,
            None if expected == "\"input\"" && rest.starts_with('}') => return Beginning::Empty,
            None if expected.starts_with(rest) => return Beginning::Unknown,
            None => return Beginning::None,
        }
    }
    Beginning::At(text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    fn of(arguments: &str) -> String {
        in_pieces(arguments, &[])
    }

    fn in_pieces(json: &str, cuts: &[usize]) -> String {
        let mut text = String::new();
        let mut input = CustomInput::default();
        let chars: Vec<char> = json.chars().collect();
        let mut from = 0;
        for cut in cuts {
            let to = (from + cut).min(chars.len());
            input.push(&chars[from..to].iter().collect::<String>(), &mut text);
            from = to;
        }
        input.push(&chars[from..].iter().collect::<String>(), &mut text);
        text
    }

    #[test]
    fn what_is_not_of_the_form_is_the_input_as_it_is() {
        assert_eq!(of("*** Begin Patch"), "*** Begin Patch");
        assert_eq!(of(r#"{"patch":"x"}"#), r#"{"patch":"x"}"#);
        assert_eq!(of(r#"{"input":7}"#), r#"{"input":7}"#);
        assert_eq!(of(""), "");
        assert_eq!(of("{}"), "");
    }

    #[test]
    fn arguments_that_were_cut_off_give_what_was_there() {
        assert_eq!(of(r#"{"input":"a\nb"#), "a\nb");
        assert_eq!(of("{\"input\":\"a\\"), "a");
        assert_eq!(of(r#"{"input":"a\ud83d\ude"#), "a");
        assert_eq!(of(r#"{"input":"\ud83dx","y":1}"#), "\u{fffd}x");
        assert_eq!(of(r#"{"input":"\udc00\u00e9\u"#), "\u{fffd}é");
    }

    proptest! {
        #[test]
        fn the_input_is_what_serde_reads_however_it_is_cut(
            text in any::<String>(),
            is_ascii in any::<bool>(),
            cuts in prop::collection::vec(0usize..4, 0..60),
        ) {
            let mut json = serde_json::to_string(&text).unwrap();
            if is_ascii {
                json = json.chars().fold(String::new(), |mut out, char| {
                    let mut units = [0; 2];
                    if char.is_ascii() { out.push(char); } else {
                        for unit in char.encode_utf16(&mut units) { write!(out, "\\u{unit:04x}").unwrap(); }
                    }
                    out
                });
            }
            prop_assert_eq!(in_pieces(&format!("{{ \"input\" : {json} }}"), &cuts), text);
        }

        #[test]
        fn no_arguments_make_it_panic_and_cuts_change_nothing(
            json in "(\\{\"input\": ?\")?(\\\\|u|d8|dc|[0-9a-f]|\"|é|.){0,20}",
            cuts in prop::collection::vec(0usize..4, 0..20),
        ) {
            prop_assert_eq!(in_pieces(&json, &cuts), of(&json));
        }
    }
}
