//! Discovery of what can be paid for (draft-payment-discovery-00): the extensions of the OpenAPI document, and a small document of the
//! payable operations alone.

use crate::paid_request::PATHS;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tithe_engine::mounts::{Method, Mount};
use tithe_pricing::CallPrice;
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::Extensions;

/// What the references to schemas begin with.
const SCHEMAS: &str = "#/components/schemas/";

/// Adds `x-service-info` to the document, and `x-payment-info` to each operation that can be paid for by itself (sections
/// "Service Extension" and "Payment Extension").
pub(crate) fn extend(document: &mut OpenApi) {
    let service = ("x-service-info", json!({ "categories": ["compute"] }));
    document.extensions.get_or_insert_default().merge(Extensions::from_iter([service]));
    for path in PATHS {
        let operation = document.paths.paths.get_mut(path).and_then(|item| item.post.as_mut());
        if let Some(operation) = operation {
            let payment = ("x-payment-info", json!({ "offers": offers() }));
            operation.extensions.get_or_insert_default().merge(Extensions::from_iter([payment]));
        }
    }
}

/// The offers of a payable operation: a payment for one request, and a deposit for many. The schema of the draft permits no other fields. The 402 of a request says what that request costs.
fn offers() -> Value {
    json!([{
        "intent": "charge",
        "method": "lightning",
        // The price depends on the request.
        "amount": null,
        "currency": "sat",
        "description": "One request. Its 402 says the most that it can cost; what is not used is refunded.",
    }, deposit()])
}

/// The offer of a deposit.
fn deposit() -> Value {
    json!({
        "intent": "session",
        "method": "lightning",
        "amount": null,
        "currency": "sat",
        "description": "A deposit for many requests. Each is charged what it uses; what is left is refunded.",
    })
}

/// Adds mounted routes to a document.
pub(crate) fn announce(document: &mut Value, mounts: &[Arc<Mount>]) {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for mount in mounts {
        let (below, parameters) = if mount.path.is_tree() {
            let parameter = json!({
                "name": "below", "in": "path", "required": true, "schema": { "type": "string" },
                "description": "what is wanted of the service; it may have slashes in it",
            });
            ("/{below}", json!([parameter]))
        } else {
            ("", json!([]))
        };
        let operations = mount
            .methods
            .iter()
            .map(|method| (method.as_str().to_ascii_lowercase(), called(*method, mount.price, &parameters)));
        let operations: Map<String, Value> = operations.collect();
        paths.insert(format!("{}{below}", mount.path.base()), operations.into());
    }
}

/// The operation that calls a service.
fn called(method: Method, price: CallPrice, parameters: &Value) -> Value {
    let (amount, description) = match price {
        CallPrice::Fixed(price) => (json!(price.get().to_string()), "One request."),
        CallPrice::PerToken { .. } => (
            Value::Null,
            "One request. Its 402 says the most that it can cost; what is not used is refunded.",
        ),
    };
    let offer = json!({
        "intent": "charge", "method": "lightning", "amount": amount, "currency": "sat", "description": description,
    });
    let offers = json!([offer, deposit()]);
    let mut operation = json!({
        "tags": ["Requests"],
        "summary": "Call a service of the operator",
        "description": "The response is the service's own. A session pays for it, or a payment for just this request; repeating the \
            proof repeats the response. Nothing is charged for a failure (5xx), or for what the service refuses (4xx). Sessions of the \
            scheme Payment are opened, topped up and closed here, too; `HEAD`, and `GET` if it is not a method of the service, offers one.",
        "parameters": parameters,
        "security": [{ "Macaroon": [] }, { "PaymentProof": [] }],
        "responses": {
            "200": { "description": "what the service has answered" },
            "402": { "description": "nobody pays for the request: `offer` has an invoice for it; or the proof of payment is for another request, or buys nothing any more" },
            "502": { "description": "the service has failed; nothing was charged" },
            "503": { "description": "the service cannot be reached; nothing was charged" },
        },
        "x-payment-info": { "offers": offers },
    });
    if let Some(operation) = operation.as_object_mut().filter(|_| method != Method::Get) {
        operation.insert("requestBody".to_owned(), json!({ "content": { "*/*": {} } }));
    }
    operation
}

/// The document with the payable operations only, and the schemas that they use. Registries read no more than 64 KB of a document
/// (appendix "Registries"), and the document of all operations is larger.
pub(crate) fn payable(mut document: Value) -> Value {
    let mut used = BTreeSet::new();
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        paths.retain(|path, _| PATHS.contains(&path.as_str()));
        paths.values().for_each(|operations| note_schemas(operations, &mut used));
    }
    let tags = tags_of(&document);
    if let Some(described) = document.get_mut("tags").and_then(Value::as_array_mut) {
        described
            .retain(|tag| tag.get("name").and_then(Value::as_str).is_some_and(|name| tags.contains(name)));
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        retain_used(schemas, used);
    }
    document
}

/// Keeps the `used` schemas, and those that they use.
fn retain_used(schemas: &mut Map<String, Value>, mut used: BTreeSet<String>) {
    loop {
        let mut more = used.clone();
        for name in &used {
            if let Some(schema) = schemas.get(name) {
                note_schemas(schema, &mut more);
            }
        }
        if more.len() == used.len() {
            break;
        }
        used = more;
    }
    schemas.retain(|name, _| used.contains(name));
}

/// Notes the names of the schemas that something refers to.
fn note_schemas(value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => used.extend(text.strip_prefix(SCHEMAS).map(str::to_owned)),
        Value::Array(values) => values.iter().for_each(|value| note_schemas(value, used)),
        Value::Object(fields) => fields.values().for_each(|value| note_schemas(value, used)),
        _ => {}
    }
}

/// The tags of the operations in the document.
fn tags_of(document: &Value) -> BTreeSet<String> {
    let paths = document.get("paths").and_then(Value::as_object);
    let operations =
        paths.into_iter().flat_map(Map::values).filter_map(Value::as_object).flat_map(Map::values);
    let tags = operations.filter_map(|operation| operation.get("tags")?.as_array()).flatten();
    tags.filter_map(Value::as_str).map(str::to_owned).collect()
}
