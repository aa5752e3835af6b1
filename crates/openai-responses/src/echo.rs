//! The parameters of a request, as its response repeats them.

use crate::tools::Tools;
use crate::{field, json};
use serde_json::value::RawValue;
use tithe_chat::Original;

/// Fields of a response object that repeat the request, as they are written: on one line, ready to be put between others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Echo {
    json: Vec<u8>,
}

/// What a field must be to be repeated.
type Is = fn(&RawValue) -> bool;

/// Fields that are repeated as the client wrote them, and what stands there otherwise.
const FIELDS: [(&str, Is, &str); 13] = [
    ("instructions", field::is_string, "null"),
    ("max_output_tokens", is_number, "null"),
    ("max_tool_calls", is_number, "null"),
    ("metadata", field::is_object, "{}"),
    ("parallel_tool_calls", is_boolean, "true"),
    ("prompt_cache_key", field::is_string, "null"),
    ("reasoning", field::is_object, r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", field::is_string, "null"),
    ("temperature", is_number, "1.0"),
    ("text", field::is_object, r#"{"format":{"type":"text"}}"#),
    ("tool_choice", is_choice, r#""auto""#),
    ("top_p", is_number, "1.0"),
    ("user", field::is_string, "null"),
];

/// What is the same in each response.
const CONSTANT: &str = r#""background":false,"previous_response_id":null,"service_tier":"default","store":false,"top_logprobs":0,"truncation":"disabled","#;

impl Echo {
    pub(crate) fn new(original: &Original, tools: &Tools<'_>) -> Self {
        let mut out = Vec::new();
        json::text(&mut out, CONSTANT);
        for (name, is_valid, otherwise) in FIELDS {
            json::string(&mut out, name);
            out.push(b':');
            match original.field(name).filter(|value| is_valid(value)) {
                Some(value) => json::raw(&mut out, value.get()),
                None => json::text(&mut out, otherwise),
            }
            out.push(b',');
        }
        json::text(&mut out, "\"tools\":[");
        for (at, tool) in tools.echo.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::raw(&mut out, tool.get());
        }
        out.push(b']');
        Self { json: out }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.json);
    }
}

fn is_number(value: &RawValue) -> bool {
    field::kind(value) == "a number"
}

fn is_boolean(value: &RawValue) -> bool {
    field::kind(value) == "a boolean"
}

fn is_choice(value: &RawValue) -> bool {
    field::is_string(value) || field::is_object(value)
}
