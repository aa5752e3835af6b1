//! Reading fields of JSON whose values are looked at only when they are needed.

use crate::RequestError;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A field that is there and is not `null`.
pub(crate) fn present(value: Option<&RawValue>) -> Option<&RawValue> {
    value.filter(|value| value.get() != "null")
}

/// What a value is, in words.
pub(crate) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

pub(crate) fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

pub(crate) fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

pub(crate) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Reads a value of any kind; the message says what was expected.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    param: &str,
    expected: &str,
) -> Result<T, RequestError> {
    serde_json::from_str(value.get()).map_err(|_| RequestError::kind(param, expected, kind(value)))
}

/// A text that may be missing.
pub(crate) fn optional_text(value: Option<&RawValue>, param: &str) -> Result<Option<String>, RequestError> {
    present(value).map(|value| read(value, param, "a string")).transpose()
}

/// A text that must be there.
pub(crate) fn text(value: Option<&RawValue>, param: &str) -> Result<String, RequestError> {
    let value = value.ok_or_else(|| RequestError::missing(param, "a string"))?;
    read(value, param, "a string")
}

/// A text that must be there and must not be empty.
pub(crate) fn name(value: Option<&RawValue>, param: &str) -> Result<String, RequestError> {
    let name = text(value, param)?;
    if name.is_empty() {
        return Err(RequestError::value(param, "a name", &name));
    }
    Ok(name)
}

/// The items of an array.
pub(crate) fn items<'a>(value: &'a RawValue, param: &str) -> Result<Vec<&'a RawValue>, RequestError> {
    read(value, param, "an array")
}

/// An object, as some type with its fields.
pub(crate) fn object<'a, T: Deserialize<'a>>(value: &'a RawValue, param: &str) -> Result<T, RequestError> {
    if !is_object(value) {
        return Err(RequestError::kind(param, "an object", kind(value)));
    }
    serde_json::from_str(value.get())
        .map_err(|error| RequestError::value(param, "an object without duplicate fields", &error.to_string()))
}
