//! JSON that is read where it lies, with the path of each value, so that an error can name it.

use crate::request_error::RequestError;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// How deeply values may be nested that are not read here but passed on: what other parsers take.
const DEPTH_MAX: usize = 120;

/// The most of a client's text that an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// The fields of requests that are read here, of all objects.
const KNOWN: [&str; 49] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "n",
    "stream",
    "stream_options",
    "include_usage",
    "modalities",
    "audio",
    "web_search_options",
    "search_parameters",
    "plugins",
    "functions",
    "function_call",
    "service_tier",
    "prediction",
    "role",
    "content",
    "name",
    "refusal",
    "reasoning",
    "reasoning_content",
    "tool_calls",
    "tool_call_id",
    "type",
    "text",
    "image_url",
    "url",
    "detail",
    "id",
    "function",
    "arguments",
    "description",
    "parameters",
    "strict",
    "json_schema",
    "schema",
    "input",
    "encoding_format",
    "dimensions",
];

/// Appends a value as JSON.
pub(crate) fn append(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Neither memory nor the types of this crate refuse to be written.
    let _ = serde_json::to_writer(out, value);
}

/// Where in a request a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The body itself.
    Body,
    /// A field of an object.
    Field(&'p Path<'p>, &'p str),
    /// An element of an array.
    Element(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Field(Self::Body, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    pub(crate) fn error(&self, code: &'static str, problem: &str, expected: &str) -> RequestError {
        let param = self.to_string();
        let name = if param.is_empty() { "body" } else { &param };
        let message = format!("{problem} {name}: expected {expected}");
        RequestError { message, param: Some(param).filter(|it| !it.is_empty()), code }
    }

    pub(crate) fn missing(&self, expected: &str) -> RequestError {
        self.error("missing_required_parameter", "missing", expected)
    }
}

/// A value of a request, not `null`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a, 'p> {
    pub(crate) path: Path<'p>,
    pub(crate) raw: &'a RawValue,
}

/// The fields of an object.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Key(name), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'a> Fields<'a> {
    /// Reads the object that a body is.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self, RequestError> {
        let invalid = |what: String| RequestError {
            message: format!("invalid body: expected a JSON object, got {what}"),
            param: None,
            code: "invalid_json",
        };
        let text = std::str::from_utf8(body).map_err(|_| invalid("bytes that are not UTF-8".to_owned()))?;
        // Some clients write a byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        let fields: Self = serde_json::from_str(text).map_err(|wrong| match wrong.classify() {
            Category::Data => invalid("another value".to_owned()),
            _ => invalid(format!("invalid JSON: {wrong}")),
        })?;
        fields.unambiguous(&Path::Body)?;
        Ok(fields)
    }

    /// Refuses fields that differ from a known one only in case. Many servers would read them as the known ones: what is priced would
    /// not be what is sent.
    fn unambiguous(&self, path: &Path<'_>) -> Result<(), RequestError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        for (name, _) in self.0.iter().filter(|(name, _)| !name.bytes().all(is_plain)) {
            // Both steps, for letters that have no lower or no upper case of their own: the Kelvin sign, the long s.
            let folded = name.to_lowercase().to_uppercase().to_lowercase();
            if let Some(known) = KNOWN.iter().find(|known| **known == folded) {
                let field: String = name.chars().take(QUOTED_CHARS_MAX).collect();
                return Err(Path::Field(path, &field).error("unknown_parameter", "unknown", known));
            }
        }
        Ok(())
    }

    /// The field of this name, if there is one that is not `null`. Of several, the last counts, as for other parsers.
    pub(crate) fn get<'p>(&self, parent: &'p Path<'p>, name: &'p str) -> Option<Node<'a, 'p>> {
        let (_, raw) = self.0.iter().rev().find(|(field, _)| field == name)?;
        (raw.get() != "null").then_some(Node { path: Path::Field(parent, name), raw })
    }
}

impl<'a, 'p> Node<'a, 'p> {
    /// What kind of value this is, for messages.
    fn kind(&self) -> &'static str {
        match self.raw.get().as_bytes().first() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    pub(crate) fn is_string(&self) -> bool {
        self.raw.get().starts_with('"')
    }

    pub(crate) fn is_array(&self) -> bool {
        self.raw.get().starts_with('[')
    }

    pub(crate) fn is_object(&self) -> bool {
        self.raw.get().starts_with('{')
    }

    /// The error of a value of another type.
    pub(crate) fn wrong_type(&self, expected: &str) -> RequestError {
        let expected = format!("{expected}, got {}", self.kind());
        self.path.error("invalid_type", "invalid", &expected)
    }

    /// The value as an error repeats it.
    fn quoted(&self) -> String {
        let text = self.raw.get();
        match text.char_indices().nth(QUOTED_CHARS_MAX) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        }
    }

    /// The error of a value of the right type that is not among those allowed.
    pub(crate) fn wrong_value(&self, expected: &str) -> RequestError {
        self.path.error("invalid_value", "invalid", &format!("{expected}, got {}", self.quoted()))
    }

    /// The error of a value that the API knows, but this server does not offer.
    pub(crate) fn unsupported(&self, expected: &str) -> RequestError {
        self.path.error("unsupported_value", "unsupported", &format!("{expected}, got {}", self.quoted()))
    }

    pub(crate) fn string(&self) -> Result<Cow<'a, str>, RequestError> {
        if !self.is_string() {
            return Err(self.wrong_type("a string"));
        }
        let Key(text) = serde_json::from_str(self.raw.get()).map_err(|_| {
            self.path.error("invalid_value", "invalid", "a string of valid Unicode, got lone surrogates")
        })?;
        Ok(text)
    }

    pub(crate) fn boolean(&self) -> Result<bool, RequestError> {
        self.raw.get().parse().map_err(|_| self.wrong_type("a boolean"))
    }

    pub(crate) fn number(&self) -> Result<f64, RequestError> {
        let number: f64 = serde_json::from_str(self.raw.get()).map_err(|_| self.wrong_type("a number"))?;
        Ok(number)
    }

    /// An integer above zero.
    pub(crate) fn positive(&self) -> Result<u64, RequestError> {
        const EXPECTED: &str = "an integer above 0";
        if self.kind() != "a number" {
            return Err(self.wrong_type(EXPECTED));
        }
        let number = self.raw.get().parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| self.wrong_value(EXPECTED))
    }

    pub(crate) fn array(&self, expected: &str) -> Result<Vec<&'a RawValue>, RequestError> {
        if !self.is_array() {
            return Err(self.wrong_type(expected));
        }
        serde_json::from_str(self.raw.get()).map_err(|_| self.wrong_type(expected))
    }

    pub(crate) fn object(&self, expected: &str) -> Result<Fields<'a>, RequestError> {
        if !self.is_object() {
            return Err(self.wrong_type(expected));
        }
        let fields: Fields<'a> =
            serde_json::from_str(self.raw.get()).map_err(|_| self.wrong_type(expected))?;
        fields.unambiguous(&self.path)?;
        Ok(fields)
    }

    /// The element of the array that this is.
    pub(crate) fn element<'q>(&'q self, index: usize, raw: &'a RawValue) -> Node<'a, 'q>
    where
        'p: 'q,
    {
        Node { path: Path::Element(&self.path, index), raw }
    }

    /// A JSON schema, which other parsers read.
    pub(crate) fn schema(&self) -> Result<Box<RawValue>, RequestError> {
        if !self.is_object() {
            return Err(self.wrong_type("a JSON schema, an object"));
        }
        self.shallow()?;
        Ok(self.raw.to_owned())
    }

    /// Refuses what is nested so deeply that it breaks the parser that reads it next.
    pub(crate) fn shallow(&self) -> Result<(), RequestError> {
        if depth(self.raw.get()) > DEPTH_MAX {
            let expected = format!("at most {DEPTH_MAX} nested values, got more");
            return Err(self.path.error("invalid_value", "invalid", &expected));
        }
        Ok(())
    }
}

/// How deeply values are nested in valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        for (json, expected) in
            [("1", 0), ("[[1],[2]]", 2), (r#"{"a":"[[[\"[["}"#, 1), (r#"{"a\\":{"b":[]}}"#, 3)]
        {
            assert_eq!(depth(json), expected, "{json}");
        }
    }

    #[test]
    fn a_path_reads_like_code() {
        let (body, parent);
        body = Path::Body;
        let messages = Path::Field(&body, "messages");
        parent = Path::Element(&messages, 3);
        assert_eq!(Path::Field(&parent, "content").to_string(), "messages[3].content");
    }
}
