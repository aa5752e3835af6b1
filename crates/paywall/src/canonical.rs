//! JSON in its canonical form (RFC 8785, "JCS"), for the values that occur here.
//!
//! The crates for RFC 8785 exist for the rules of floating-point numbers. No number here is one: what is written are
//! strings, objects, and amounts that a double expresses exactly.

use tithe_money::Sats;

/// A value to write.
#[derive(Debug, Clone)]
pub(super) enum Json<'a> {
    Text(&'a str),
    /// An amount of sats: at most 21·10¹⁴, below 2⁵³.
    Sats(Sats),
    Count(u32),
    Object(Vec<(&'a str, Self)>),
}

impl<'a> Json<'a> {
    /// An object of these members, without those that have no value.
    pub fn object(members: impl IntoIterator<Item = (&'a str, Option<Self>)>) -> Self {
        Self::Object(members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The value in its canonical form. Of members of the same name, all are written: the caller has none.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }

    fn write_to(&self, out: &mut String) {
        match self {
            Self::Text(text) => write_string(text, out),
            Self::Sats(sats) => out.push_str(&sats.get().to_string()),
            Self::Count(count) => out.push_str(&count.to_string()),
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                // Section 3.2.3: by UTF-16 code units, not by code points.
                members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
                out.push('{');
                for (index, (name, value)) in members.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write_to(out);
                }
                out.push('}');
            }
        }
    }
}

/// Section 3.2.2.2: as ECMAScript's `JSON.stringify`, which escapes nothing but what it must.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => out.extend(escaped(char)),
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// `\\u` and four hex digits.
fn escaped(char: char) -> impl Iterator<Item = char> {
    let digit = move |shift: u32| char::from_digit(u32::from(char) >> shift & 0xf, 16).unwrap_or('0');
    ['\\', 'u'].into_iter().chain([12, 8, 4, 0].map(digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_sorted_by_utf_16_code_units() {
        let names = ["\u{e000}", "\u{10000}", "\u{ffff}", "\u{d7ff}", "z", "A", "a", "10", "2", ""];
        let object = Json::Object(names.iter().map(|name| (*name, Json::Count(1))).collect());
        let order = ["", "10", "2", "A", "a", "z", "\u{d7ff}", "\u{10000}", "\u{e000}", "\u{ffff}"];
        let expected: Vec<_> = order.iter().map(|name| format!("\"{name}\":1")).collect();
        assert_eq!(object.canonical(), format!("{{{}}}", expected.join(",")));
    }

    #[test]
    fn members_without_a_value_are_left_out() {
        let inner = Json::object([("a", None), ("b", Some(Json::Text("c")))]);
        let object = Json::object([("z", Some(Json::Sats(Sats::MAX))), ("o", Some(inner))]);
        assert_eq!(object.canonical(), r#"{"o":{"b":"c"},"z":2100000000000000}"#);
        assert_eq!(Json::object([("a", None)]).canonical(), "{}");
    }

    proptest! {
        /// serde_json escapes strings in the same way, and sorts by code points, which are the same here.
        #[test]
        fn it_is_the_json_of_serde_json(object in prop::collection::btree_map("[ -~]{0,5}", any::<String>(), 0..6)) {
            let members = object.iter().rev().map(|(name, value)| (name.as_str(), Json::Text(value))).collect();
            prop_assert_eq!(Json::Object(members).canonical(), serde_json::to_string(&object).unwrap());
        }
    }
}
