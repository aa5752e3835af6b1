//! Any value of a JSON file, read without failing, so that everything that is wrong can be reported together.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// How much of a text is shown in a report, in characters.
const SHOWN: usize = 60;

/// A text of the file as a report shows it: on one line, and not longer than a line.
pub(crate) fn shown(text: &str) -> String {
    let escaped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { escaped + "…" } else { escaped }
}

/// A value that is no object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Whole(u64),
    Negative(i64),
    /// A number that is written with a fraction or an exponent, or has too many digits for 64 bits.
    Float(f64),
    Text(String),
    List,
    /// An object whose fields nobody wants.
    Object,
}

/// The value as a report shows it.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Negative(value) => value.fmt(f),
            // With its fraction, even when that is zero.
            Self::Float(value) => fmt::Debug::fmt(value, f),
            Self::Text(text) => write!(f, "\"{}\"", shown(text)),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

/// Reads an object.
pub(crate) trait ReadObject {
    /// Reads all fields of an object.
    fn read_object<'de, A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error>;
}

/// Reads past an object.
pub(crate) struct SkipObject;

impl ReadObject for SkipObject {
    fn read_object<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Reads any value: gives an object to its reader, and returns what the value is.
pub(crate) struct AnyValue<R>(pub(crate) R);

impl<'de, R: ReadObject> DeserializeSeed<'de> for AnyValue<R> {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: ReadObject> Visitor<'de> for AnyValue<R> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Scalar, A::Error> {
        self.0.read_object(fields)?;
        Ok(Scalar::Object)
    }
}

/// Reads the name of a field or a row, and what a function makes of it.
pub(crate) struct Key<F>(pub(crate) F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Key<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Key<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}
