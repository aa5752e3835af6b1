//! How a call is paid for in its message (`draft-payment-transport-mcp-00`).

use super::error::RpcError;
use super::message::Call;
use crate::problem::DRAFT_PROBLEM;
use crate::state::AppState;
use actix_web::http::header::{HeaderMap, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use std::fmt;
use tithe_engine::sessions::PresentedProof;
use tithe_paywall::payment::{Challenge, Credential, Intent, METHOD, Receipt};

/// The keys in `_meta`.
const CREDENTIAL: &str = "org.paymentauth/credential";
pub(super) const RECEIPT: &str = "org.paymentauth/receipt";

/// What a server says that it can be paid with (section "MCP Capability Advertisement").
pub(super) fn capability(state: &AppState) -> Value {
    let is_offered = |intent: &Intent| *intent != Intent::Session || state.engine.sessions.offers_deposits();
    let intents: Vec<&str> = Intent::ALL.into_iter().filter(is_offered).map(Intent::as_str).collect();
    json!({ "methods": { METHOD: { "intents": intents } } })
}

/// The proof of payment in a message, as it would be in a header; `None` without one.
///
/// # Errors
/// The error for a credential that cannot be read, and for two that differ.
pub(super) fn proof(call: &Call) -> Result<Option<PresentedProof>, RpcError> {
    let mut only = None;
    for object in call.meta(CREDENTIAL) {
        let authorization = Credential::authorization_of(object).map_err(|wrong| malformed(&wrong))?;
        if only.as_ref().is_some_and(|earlier| *earlier != authorization) {
            return Err(RpcError::invalid_params(&format!("{CREDENTIAL}: expected one credential, got two")));
        }
        only = Some(authorization);
    }
    Ok(only.map(PresentedProof::Payment))
}

/// The error for a credential that lacks what it must have. It has no challenge, since the payment may have been made.
pub(super) fn malformed(wrong: &impl fmt::Display) -> RpcError {
    RpcError::invalid_params(&format!("{CREDENTIAL}: {wrong}"))
}

/// Whether a problem is one of what a credential says: it is for the client's wallet to mend, and not for its model.
pub(super) fn is_of_credential(problem: &Value) -> bool {
    let uri = tithe_paywall::payment::Problem::InvalidReturnInvoice.uri();
    problem.get(DRAFT_PROBLEM).and_then(Value::as_str) == Some(uri)
}

/// The challenges of a response that a message can have in it: those of the scheme `Payment`.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Value> {
    let values =
        headers.get_all(WWW_AUTHENTICATE).filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    values
        .flat_map(Challenge::parse_all)
        .filter_map(|challenge| challenge.to_object())
        .map(Value::Object)
        .collect()
}

/// The receipt of a response, as a message has it.
pub(super) fn receipt(headers: &HeaderMap) -> Option<Value> {
    let receipt = headers.get("payment-receipt")?.to_str().ok()?;
    Some(Receipt::decode(receipt).ok()?.to_object())
}

/// The error that asks for payment, with the problem that says why. `was_tried`: the call had a proof, which did not pay for it.
pub(super) fn error(challenges: &[Value], problem: &Value, was_tried: bool) -> RpcError {
    let mut data = json!({ "httpStatus": 402, "challenges": challenges, "problem": problem });
    if !was_tried {
        return RpcError::payment_required(data);
    }
    let reason = problem.get("reason").or_else(|| problem.get("code"));
    if let Value::Object(data) = &mut data {
        data.insert("failure".to_owned(), json!({ "reason": reason, "detail": problem.get("detail") }));
    }
    RpcError::payment_failed(data)
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use serde_json::Map;

    fn object(id: &str) -> Value {
        let challenge = json!({
            "id": id, "realm": "r", "method": "lightning", "intent": "charge", "request": { "amount": "1" },
        });
        json!({ "challenge": challenge, "payload": { "preimage": "p" } })
    }

    fn proof_of(meta: &Value, root_meta: &Value) -> Result<Option<PresentedProof>, i32> {
        let params = json!({ "name": "ask", "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params, "_meta": root_meta });
        let Ok(Message::Call(call)) = Message::read(body.to_string().as_bytes()) else { panic!("{body}") };
        proof(&call).map_err(|error| error.code())
    }

    #[test]
    fn a_credential_is_read_wherever_it_is() {
        let none = || Value::Object(Map::new());
        let with = |object: Value| json!({ CREDENTIAL: object });
        let Ok(Some(PresentedProof::Payment(in_params))) = proof_of(&with(object("i")), &none()) else {
            panic!("no proof");
        };
        assert_eq!(Credential::parse(&in_params).unwrap().challenge().id, "i");
        for (meta, root_meta) in [
            (none(), with(object("i"))),
            (with(object("i")), with(object("i"))),
            (Value::Null, with(object("i"))),
        ] {
            let Ok(Some(PresentedProof::Payment(same))) = proof_of(&meta, &root_meta) else {
                panic!("no proof")
            };
            assert_eq!(same, in_params);
        }
        assert!(matches!(proof_of(&none(), &none()), Ok(None)));
        assert!(matches!(proof_of(&with(Value::Null), &json!(5)), Ok(None)));
        for (meta, root_meta) in [
            (with(object("i")), with(object("j"))),
            (with(json!("Payment e30")), none()),
            (with(json!({})), none()),
            (with(object("")), none()),
        ] {
            assert!(matches!(proof_of(&meta, &root_meta), Err(-32_602)), "{meta} {root_meta}");
        }
    }
}
