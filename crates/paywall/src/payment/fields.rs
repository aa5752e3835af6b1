//! JSON objects as they arrive: what is in them is read by name, and what is wrong is named.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The members of a JSON object, no two of which have the same name. Members that nobody reads are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(BTreeMap<String, Field>);

/// A value, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Text(String),
    Number(u64),
    Object(Fields),
    Null,
    Other,
}

impl Fields {
    /// Reads an object; `None` if it is none, or one in which a name occurs twice, however deep inside.
    pub fn parse(json: &[u8]) -> Option<Self> {
        match serde_json::from_slice(json) {
            Ok(Field::Object(fields)) => Some(fields),
            _ => None,
        }
    }

    /// The member at the end of `path`; the rest of the path says where this object is. A null is as good as none.
    fn get(&self, path: &'static str) -> Option<&Field> {
        let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
        self.0.get(name).filter(|field| **field != Field::Null)
    }

    /// A string that must be there and not be empty.
    pub fn text(&self, path: &'static str) -> Result<&str, InvalidField> {
        let text = self.optional_text(path)?;
        text.ok_or(InvalidField::Missing { name: path, expected: STRING })
    }

    /// A string that may be missing. An empty one counts as missing: in the MAC of a challenge they are the same.
    pub fn optional_text(&self, path: &'static str) -> Result<Option<&str>, InvalidField> {
        match self.get(path) {
            None => Ok(None),
            Some(Field::Text(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(InvalidField::Invalid { name: path, expected: STRING }),
        }
    }

    /// A number that may be missing.
    pub fn optional_number(&self, path: &'static str) -> Result<Option<u64>, InvalidField> {
        match self.get(path) {
            None => Ok(None),
            Some(Field::Number(number)) => Ok(Some(*number)),
            Some(_) => Err(InvalidField::Invalid { name: path, expected: "a whole number" }),
        }
    }

    /// An object that must be there.
    pub fn object(&self, path: &'static str) -> Result<&Self, InvalidField> {
        match self.get(path) {
            None => Err(InvalidField::Missing { name: path, expected: OBJECT }),
            Some(Field::Object(fields)) => Ok(fields),
            Some(_) => Err(InvalidField::Invalid { name: path, expected: OBJECT }),
        }
    }

    /// All members, if each is a string.
    pub fn into_texts(self) -> Option<BTreeMap<String, String>> {
        let text = |(name, field)| match field {
            Field::Text(text) => Some((name, text)),
            _ => None,
        };
        self.0.into_iter().map(text).collect()
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, field)| (name.as_str(), field))
    }
}

const STRING: &str = "a string";
const OBJECT: &str = "an object";

/// A field of a JSON object is missing or is not what it must be. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidField {
    /// The field is missing.
    #[error("missing {name}: expected {expected}")]
    Missing {
        /// The field's name, after the names of the objects that it is in.
        name: &'static str,
        /// What the field must be.
        expected: &'static str,
    },
    /// The field has the wrong type or value.
    #[error("invalid {name}: expected {expected}")]
    Invalid {
        /// The field's name, after the names of the objects that it is in.
        name: &'static str,
        /// What the field must be.
        expected: &'static str,
    },
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<Field>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, field)) = map.next_entry()? {
            if fields.insert(name, field).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Field::Object(Fields(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> Option<Fields> {
        Fields::parse(json.as_bytes())
    }

    #[test]
    fn a_name_occurs_once() {
        for wrong in [
            r#"{"a":"1","a":"1"}"#,
            r#"{"a":"1","b":2,"\u0061":"2"}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[0,{"a":1,"a":2}]}"#,
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(parse(r#"{"a":{"a":{"a":1}},"A":1}"#).is_some());
    }

    #[test]
    fn only_an_object_alone_is_one() {
        for wrong in [
            "",
            "[]",
            "1",
            "null",
            "\"a\"",
            "{",
            "{}x",
            "{}{}",
            "{'a':1}",
            "{\"a\":1,}",
            "{\"a\":\"\\ud800\"}",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(Fields::parse(b"{\"a\":\"\xff\"}"), None);
        let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert_eq!(parse(&deep), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let fields = parse(
            r#"{"text":"x","empty":"","null":null,"number":7,"object":{"a":"b"},"list":[],"minus":-1}"#,
        );
        let fields = fields.unwrap();
        assert_eq!(fields.text("at.text"), Ok("x"));
        assert_eq!(fields.optional_text("empty"), Ok(None));
        assert_eq!(fields.optional_text("null"), Ok(None));
        assert_eq!(fields.optional_number("number"), Ok(Some(7)));
        assert_eq!(fields.object("object").unwrap().text("object.a"), Ok("b"));
        for (error, text) in [
            (fields.text("at.other").unwrap_err(), "missing at.other: expected a string"),
            (fields.text("empty").unwrap_err(), "missing empty: expected a string"),
            (fields.text("at.number").unwrap_err(), "invalid at.number: expected a string"),
            (fields.object("null").unwrap_err(), "missing null: expected an object"),
            (fields.object("list").unwrap_err(), "invalid list: expected an object"),
            (fields.optional_number("minus").unwrap_err(), "invalid minus: expected a whole number"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(text in "[\\[\\]{}\":,a0\\\\u. -]{0,40}|\\PC*") {
            let _ = parse(&text);
        }
    }
}
