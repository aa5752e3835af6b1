//! A call of the tool of the server's MCP that is paid for by itself.

use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use crate::selftest::answer::Answer;
use crate::selftest::api::random_text;
use crate::selftest::bill::Bill;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use serde_json::{Value, json};

/// The route, as the server's OpenAPI document writes it.
const MCP: &str = "/mcp";

/// Where the receipt is in a result. A slash in a name is written `~1` in a pointer.
const RECEIPT: &str = "/result/_meta/org.paymentauth~1receipt";

/// The challenge of a charge that asks for this invoice.
fn challenge(answer: &Answer, bill: &Bill) -> Checked<Value> {
    let asks = |challenge: &&Value| {
        let invoice = challenge.pointer("/request/methodDetails/invoice").and_then(Value::as_str);
        challenge.get("intent").and_then(Value::as_str) == Some("charge")
            && invoice == Some(bill.bolt11.as_str())
    };
    let challenge = answer.list("/error/data/challenges")?.iter().find(asks);
    challenge
        .cloned()
        .ok_or_else(|| answer.fault("a challenge of intent charge with the invoice of the offer", "none"))
}

pub(super) async fn call(run: &mut Run) -> Checked {
    run.needs_path(MCP).await?;
    // Another run must not have bought it already.
    let request = format!("{REQUEST} (Not to be answered: {}.)", random_text());
    let call = |id: u32, credential: Option<&Value>| {
        let arguments = json!({ "request": request, "maxOutputTokens": OUTPUT_TOKENS_MAX });
        let meta = credential.map(|credential| json!({ "org.paymentauth/credential": credential }));
        let params = json!({ "name": "ask", "arguments": arguments, "_meta": meta });
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
    };
    let send = async |message: Value| run.api.post(MCP).json(&message).send().await?.status(200);
    let unpaid = send(call(1, None)).await?;
    if unpaid.value("/result/structuredContent/offer/unavailable").is_some() {
        return Err(Stop::skip("the server offers nothing now"));
    }
    unpaid.is("/error/code", -32_042)?;
    let bill = Bill::read_offered(&unpaid, "/error/data/problem/offer")?;
    let challenge = challenge(&unpaid, &bill)?;
    let payment = run.pay("a call of MCP", &bill).await?;
    let credential = json!({ "challenge": challenge, "payload": { "preimage": payment.preimage.reveal() } });
    let send = async |message: Value| run.api.post(MCP).json(&message).send().await?.status(200);
    let done = send(call(2, Some(&credential))).await?;
    done.is("/result/isError", false)?;
    let text = done.owned("/result/content/0/text")?;
    done.is(&format!("{RECEIPT}/reference"), bill.hash.to_string())?;
    let again = send(call(3, Some(&credential))).await?;
    again.is("/id", 3)?;
    again.is("/result/content/0/text", text)?;
    // A proof of nothing is refused, with a challenge as the draft demands it.
    let wrong = json!({ "challenge": challenge, "payload": { "preimage": "0".repeat(64) } });
    let refused = send(call(4, Some(&wrong))).await?;
    if refused.value("/result/structuredContent/offer/unavailable").is_some() {
        return Ok(());
    }
    refused.is("/error/code", -32_043)?;
    refused.is("/error/data/failure/reason", "invalid_proof")
}
