//! Values that fit a JSON schema.

use serde_json::{Map, Value, json};

/// How deep a value is nested at most: schemas can contain themselves.
const DEPTH_MAX: usize = 8;

/// A small value that fits a schema, as far as the usual keywords say.
pub(super) fn example(schema: &Value) -> Value {
    of(schema, schema, DEPTH_MAX)
}

fn of(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    if let Some(path) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return root.pointer(path).map_or(Value::Null, |target| of(target, root, depth));
    }
    if let Some(fixed) =
        schema.get("const").or_else(|| schema["enum"].get(0)).or_else(|| schema.get("default"))
    {
        return fixed.clone();
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[choice].get(0) {
            return of(first, root, depth);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str());
    match kind {
        Some("string") => json!("simulated"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => {
            let items = schema["minItems"].as_u64().unwrap_or(1).min(8);
            Value::Array((0..items).map(|_| of(&schema["items"], root, depth)).collect())
        }
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let fields: Map<String, Value> =
                properties.map(|(name, schema)| (name.clone(), of(schema, root, depth))).collect();
            Value::Object(fields)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_form_that_the_schema_says() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}, "unit": {"enum": ["C", "F"]},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}, "maybe": {"anyOf": [{"type": "null"}]},
            },
            "$defs": {"tag": {"type": ["string", "null"]}},
        });
        let expected =
            json!({"city": "simulated", "days": 3, "unit": "C", "tags": ["simulated"], "maybe": null});
        assert_eq!(example(&schema), expected);
        assert_eq!(example(&Value::Null), json!({}));
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(example(&schema).to_string().len() < 200);
    }
}
