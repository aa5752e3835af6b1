//! The JSON shapes of the API contract, field by field.

use crate::app::Answer;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Checks that `value` has exactly these fields, each of its type.
pub(crate) fn has_shape(value: &Value, shape: &Value) {
    let fields = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(fields(value), fields(shape), "{value:#}");
    for (name, kind) in shape.as_object().unwrap() {
        let field = &value[name];
        match kind {
            Value::Object(_) => has_shape(field, kind),
            Value::String(kind) => assert!(is(field, kind), "{name} is {field}, not {kind}"),
            other => assert_eq!(field, other, "{name}"),
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    let text = value.as_str().unwrap_or_default();
    match kind {
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "time" => text.ends_with('Z') && tithe_clock::Timestamp::parse_rfc3339(text).is_ok(),
        "hash" => text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "bolt11" => text.starts_with("lnbc"),
        "text" => !text.is_empty(),
        "count" => value.is_u64(),
        "number" => value.is_number(),
        "dollars" => value.is_number() && value.as_f64().unwrap() > 0.0,
        literal => text == literal.strip_prefix('=').unwrap_or_else(|| panic!("no kind {literal}")),
    }
}

pub(crate) fn invoice() -> Value {
    json!({"amountSats": "count", "expiresAt": "time", "paymentHash": "hash", "paymentRequest": "bolt11"})
}

/// The default daily budget of each tier.
pub(crate) fn daily_budgets() -> Value {
    json!({"new": 0, "established": 50, "trusted": 200, "elite": 1_000})
}

/// The shape of a job in this state, with the additional fields of the state.
pub(crate) fn job(state: &str, more: Value) -> Value {
    let mut fields: Map<String, Value> = json!({
        "absorbed_sats": 0, "createdAt": "time", "free_tier": false, "jobId": "uuid",
        "state": format!("={state}"), "trust_tier": "=anonymous", "updatedAt": "time",
    })
    .as_object()
    .unwrap()
    .clone();
    let Value::Object(more) = more else { panic!("{more}") };
    fields.extend(more);
    Value::Object(fields)
}

/// The shape of a refund that nobody has claimed.
pub(crate) fn unclaimed_refund() -> Value {
    json!({
        "amountSats": "count", "dueSats": "count", "feeLimitSats": "count", "hasDestination": false,
        "payableSats": "count", "state": "=pending",
    })
}

/// A refund of this many sats that nobody has claimed, with the default fee limit: 2 sats and 1 %, rounded up.
pub(crate) fn unclaimed(sats: u64) -> Value {
    let fee_limit = sats.min(2 + sats.div_ceil(100));
    json!({
        "amountSats": sats, "dueSats": sats, "feeLimitSats": fee_limit, "hasDestination": false,
        "payableSats": sats - fee_limit, "state": "pending",
    })
}

/// Asserts that a response is JSON with this status and shape.
pub(crate) fn answers(answer: &Answer, status: u16, shape: &Value) -> Value {
    let body = answer.ok(status);
    assert_eq!(answer.header("content-type"), "application/json");
    has_shape(&body, shape);
    body
}
