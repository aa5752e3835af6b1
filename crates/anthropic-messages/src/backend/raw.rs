//! Values of answers, as leniently as they can be read.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What is `null` is as good as absent.
pub(super) fn absent<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A value as a `T`, or the default if it is absent, `null`, or of another form.
pub(super) fn lenient<'a, T: Default + Deserialize<'a>>(value: Option<&'a RawValue>) -> T {
    value.and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

/// The input of a call; empty if there is none, or an empty object, which is what stands in place of an input that follows.
pub(super) fn input(value: Option<&RawValue>) -> &str {
    let input = value.map_or("", RawValue::get);
    let is_empty = input
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|rest| rest.trim().is_empty());
    if is_empty || input == "null" { "" } else { input }
}
