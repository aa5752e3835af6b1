//! The fields of a body.

use super::error::RequestError;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// The fields of an object, in order. A name that occurs several times is here once, with its last value.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(body).map_err(|reason| RequestError::body(&reason))
    }

    /// The field of this name; `None` if it is `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let value = self.0.iter().find(|(field, _)| field == name).map(|(_, value)| *value);
        value.filter(|value| value.get() != "null")
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a RawValue, RequestError> {
        self.get(name).ok_or_else(|| RequestError::missing(name))
    }

    /// The field as a `T`, if it is there.
    pub(crate) fn read<T: Deserialize<'a>>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, RequestError> {
        self.get(name).map(|value| read(value, name, expected)).transpose()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    pub(crate) fn to_owned(&self) -> Vec<(String, Box<RawValue>)> {
        self.0.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect()
    }
}

/// A value as a `T`.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    param: &str,
    expected: &str,
) -> Result<T, RequestError> {
    T::deserialize(value).map_err(|_| RequestError::expected(param, expected, value))
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields: Vec<(String, &'de RawValue)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            let place = places.get(&name).and_then(|place| fields.get_mut(*place));
            if let Some((_, earlier)) = place {
                *earlier = value;
            } else {
                places.insert(name.clone(), fields.len());
                fields.push((name, value));
            }
        }
        Ok(Fields(fields))
    }
}
