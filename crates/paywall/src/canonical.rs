//! JSON in its canonical form (RFC 8785, "JCS"), for the values that occur here.
//!
//! The crates for RFC 8785 exist for the rules of floating-point numbers, and make `serde_json` read them differently everywhere. No
//! number here is a fraction: numbers that a double does not express exactly are refused instead.

use serde::Serialize;
use serde_json::{Number, Value};
use tithe_money::Sats;

/// The greatest integer up to which a double expresses all integers: 2⁵³ − 1 (RFC 7493, section 2.2).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The canonical form of a value as JSON (RFC 8785): the same bytes for the same value, whoever writes it.
///
/// # Errors
/// [`NotCanonical`]: the value is not JSON, or has a number that is not an integer of at most 2⁵³ − 1, positive or negative.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<String, NotCanonical> {
    let value = serde_json::to_value(value).map_err(NotCanonical::NotJson)?;
    Ok(Json::of(&value)?.canonical())
}

/// Why a value has no canonical form here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotCanonical {
    /// It is not JSON.
    #[error("no canonical JSON: the value is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// A number in it is not an integer that a double expresses exactly.
    #[error("no canonical JSON: expected integers from -9007199254740991 to 9007199254740991, got {0}")]
    Number(Number),
}

/// A value to write.
#[derive(Debug, Clone)]
pub(crate) enum Json<'a> {
    Text(&'a str),
    /// An amount of sats: at most 21·10¹⁴, below 2⁵³.
    Sats(Sats),
    Count(u32),
    /// An integer of at most [`INTEGER_MAX`], positive or negative.
    Integer(i64),
    Literal(&'static str),
    Array(Vec<Self>),
    Object(Vec<(&'a str, Self)>),
}

impl<'a> Json<'a> {
    /// An object of these members, without those that have no value.
    pub fn object(members: impl IntoIterator<Item = (&'a str, Option<Self>)>) -> Self {
        Self::Object(members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    fn of(value: &'a Value) -> Result<Self, NotCanonical> {
        Ok(match value {
            Value::Null => Self::Literal("null"),
            Value::Bool(true) => Self::Literal("true"),
            Value::Bool(false) => Self::Literal("false"),
            Value::Number(number) => {
                Self::Integer(integer(number).ok_or_else(|| NotCanonical::Number(number.clone()))?)
            }
            Value::String(text) => Self::Text(text),
            Value::Array(values) => Self::Array(values.iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(members) => {
                let member = |(name, value): (&'a String, _)| Ok((name.as_str(), Self::of(value)?));
                Self::Object(members.iter().map(member).collect::<Result<_, _>>()?)
            }
        })
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
            Self::Integer(integer) => out.push_str(&integer.to_string()),
            Self::Literal(literal) => out.push_str(literal),
            Self::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write_to(out);
                }
                out.push(']');
            }
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

/// The integer that a number is, however it is written: 56.0 is 56 (section 3.2.2.3).
fn integer(number: &Number) -> Option<i64> {
    let whole = match number.as_i64() {
        Some(integer) => integer,
        // Rust writes doubles without an exponent. The sum has no negative zero.
        None => (number.as_f64().filter(|float| float.fract() == 0.0)? + 0.0).to_string().parse().ok()?,
    };
    (whole.unsigned_abs() <= INTEGER_MAX).then_some(whole)
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

    /// The example of section 3.2.3, and those of section 3.2.2 and of the RFC's test suite
    /// (`github.com/cyberphone/json-canonicalization`, `testdata`: arrays, structures, weird) without the fractions.
    const VECTORS: [(&str, &str); 5] = [
        (
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        ),
        (
            r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null, true, false]}"#,
            r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
        ),
        (r#"[56, {"d": true, "10": null, "1": [ ]}]"#, r#"[56,{"1":[],"10":null,"d":true}]"#),
        (
            r#"{"1": {"f": {"f": "hi","F": 5} ,"\n": 56.0}, "10": { }, "": "empty", "a": { }, "111": [ {"e": "yes","E": "no" } ], "A": { }}"#,
            r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#,
        ),
        (
            r#"{"</script>":"Browser Challenge","\u000a":"Newline"}"#,
            r#"{"\n":"Newline","</script>":"Browser Challenge"}"#,
        ),
    ];

    #[test]
    fn the_vectors_of_the_rfc_have_their_canonical_form() {
        for (input, canonical) in VECTORS {
            let value: Value = serde_json::from_str(input).unwrap();
            assert_eq!(canonical_json(&value).unwrap(), canonical, "{input}");
        }
    }

    #[test]
    fn a_number_is_an_integer_that_a_double_expresses_or_is_refused() {
        for (number, canonical) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("-7", "-7"),
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991", "-9007199254740991"),
        ] {
            let value: Value = serde_json::from_str(number).unwrap();
            assert_eq!(canonical_json(&value).unwrap(), canonical, "{number}");
        }
        assert_eq!(canonical_json(&9_007_199_254_740_991.0_f64).unwrap(), "9007199254740991");
        for number in ["0.5", "9007199254740992", "-9007199254740992", "18446744073709551615", "1e21", "1e-7"]
        {
            let value: Value = serde_json::from_str(&format!("[{{\"a\":{number}}}]")).unwrap();
            assert!(matches!(canonical_json(&value), Err(NotCanonical::Number(_))), "{number}");
        }
        let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(canonical_json(&no_json), Err(NotCanonical::NotJson(_))));
    }

    /// Any JSON without fractions.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_same_value_and_its_own_canonical_form(value in json()) {
            let canonical = canonical_json(&value).unwrap();
            let read: Value = serde_json::from_str(&canonical).unwrap();
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(canonical_json(&read).unwrap(), canonical);
        }

        /// serde_json escapes strings in the same way, and sorts by code points, which are the same here.
        #[test]
        fn it_is_the_json_of_serde_json(object in prop::collection::btree_map("[ -~]{0,5}", any::<String>(), 0..6)) {
            let members = object.iter().rev().map(|(name, value)| (name.as_str(), Json::Text(value))).collect();
            prop_assert_eq!(Json::Object(members).canonical(), serde_json::to_string(&object).unwrap());
        }
    }
}
