//! Requests that are paid for by themselves: an offer, a payment, a proof, an answer.

use super::credits::ASK;
use super::held_requests::{given_back, held};
use super::mcp;
use super::offers::{payment_of, read};
use super::payment_scheme::{bought, by_payment_scheme, offered, receipt};
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use super::refunds::{payable, until_paid};
use crate::selftest::api::random_text;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::PaidOffer;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};

/// The route, as the server's OpenAPI document writes it. Servers that have it sell requests one by one.
const ROUTE: &str = "/api/payments/{paymentHash}";

/// How long the answer may be, in tokens: so long that what it does not use can be paid out.
const OUTPUT_TOKENS: u64 = 2_000;

pub(super) fn area() -> Area {
    Area {
        name: "paid-requests",
        section: "Paid in one go",
        checks: vec![
            Check::new(
                "offer",
                "a 402 offers an invoice in its body and in its challenges, and the same one to the same client",
                |run| offer(run).boxed_local(),
            ),
            Check::new("offer-wrong-proof", "a wrong proof is a 401 that offers nothing", |run| {
                wrong_proof(run).boxed_local()
            })
            .after(&["offer"]),
            Check::new("offer-paid", "the proof of the payment buys the answer, with a receipt", |run| {
                paid(run).boxed_local()
            })
            .after(&["offer-wrong-proof"]),
            Check::new(
                "offer-replay",
                "the same proof repeats the answer, and nothing more is charged",
                |run| replay(run).boxed_local(),
            )
            .after(&["offer-paid"]),
            Check::new(
                "offer-other-body",
                "the proof buys no other request, which is offered an invoice of its own",
                |run| other_body(run).boxed_local(),
            )
            .after(&["offer-paid"]),
            Check::new("offer-receipt", "the receipt says what was paid and charged, and is signed", |run| {
                receipt(run).boxed_local()
            })
            .after(&["offer-paid"]),
            Check::new(
                "offer-payment-scheme",
                "a chat of the AI API is paid for by the scheme `Payment`, and the same proof repeats its answer",
                |run| by_payment_scheme(run).boxed_local(),
            )
            .after(&["offer"]),
            Check::new(
                "offer-mcp",
                "a call of MCP's tool is paid for by a credential in its message, and the same one repeats its answer",
                |run| mcp::call(run).boxed_local(),
            )
            .after(&["offer"]),
            Check::new(
                "offer-held",
                "a payment that is held is taken for an answer, which its proof repeats, and which is charged once",
                |run| held(run).boxed_local(),
            )
            .after(&["offer"]),
            Check::new(
                "offer-held-failure",
                "a payment that is held comes back if the request fails, and the next one is offered another invoice",
                |run| given_back(run).boxed_local(),
            )
            .after(&["offer-held"]),
            Check::new(
                "offer-refund",
                "what the request did not use arrives at the invoice of whoever has the preimage",
                |run| refund(run).boxed_local(),
            )
            .after(&["offer-replay", "offer-other-body"]),
        ],
    }
}

async fn offer(run: &mut Run) -> Checked {
    run.needs_path(ROUTE).await?;
    // Another run must not have bought it already.
    let request = format!("{REQUEST} (Not to be answered: {}.)", random_text());
    let body = json!({ "request": request, "maxOutputTokens": OUTPUT_TOKENS });
    let ask = async || run.api.post(ASK).json(&body).send().await?.problem(402, "payment_required");
    let answer = ask().await?;
    if let Some(reason) = answer.value("/offer/unavailable").and_then(Value::as_str) {
        return Err(Stop::skip(format!("the server offers nothing now: {reason}")));
    }
    let (bill, token) = read(&answer)?;
    let again = ask().await?;
    let (same, _) = read(&again)?;
    again.holds(same.hash == bill.hash, "the same offer again", "another invoice")?;
    run.known.offer = Some(PaidOffer { bill, token, body, proof: None });
    Ok(())
}

async fn wrong_proof(run: &mut Run) -> Checked {
    let PaidOffer { token, body, .. } = offered(run)?;
    let preimage = "0".repeat(64);
    let cut: String = token.chars().take(token.len() / 2).collect();
    for proof in [
        format!("L402 {token}"),
        format!("L402 {token}:{preimage}"),
        format!("LSAT {cut}:{preimage}"),
        "Payment e30".to_owned(),
    ] {
        let call = run.api.post(ASK).header("authorization", &proof).json(&body);
        let answer = call.send().await?.problem(401, "invalid_payment_proof")?;
        answer.is_absent("/offer")?;
    }
    Ok(())
}

async fn paid(run: &mut Run) -> Checked {
    let mut offer = offered(run)?;
    let payment = run.pay("a request by itself", &offer.bill).await?;
    let preimage = payment.preimage.reveal();
    let proof = format!("L402 {}:{preimage}", offer.token);
    let reply =
        run.api.post(ASK).header("authorization", &proof).json(&offer.body).send().await?.status(200)?;
    reply.text_at("/result")?;
    reply.required_header("Payment-Receipt")?;
    let state = payment_of(run, &offer, &preimage).await?;
    state.is("/state", "used")?;
    let (cost, charged) = (reply.number("/costMsats")?, state.number("/chargedMsats")?);
    state.holds(charged == cost, format!("`chargedMsats` to be `costMsats`, {cost}"), charged)?;
    let price = offer.bill.amount.to_msats().get();
    state.holds(charged <= price, format!("at most the price, {price} msats"), charged)?;
    offer.proof = Some((preimage, reply));
    run.known.offer = Some(offer);
    Ok(())
}

async fn replay(run: &mut Run) -> Checked {
    let (offer, preimage, reply) = bought(run)?;
    let before = payment_of(run, &offer, &preimage).await?;
    let proof = format!("LSAT {}:{preimage}", offer.token);
    let again =
        run.api.post(ASK).header("authorization", &proof).json(&offer.body).send().await?.status(200)?;
    again.holds(again.body == reply.body, "the first answer again", again.summary())?;
    let receipt = again.required_header("Payment-Receipt")?;
    again.holds(Some(receipt) == reply.header("Payment-Receipt"), "the first receipt again", receipt)?;
    let after = payment_of(run, &offer, &preimage).await?;
    after.is("/chargedMsats", before.number("/chargedMsats")?)
}

async fn other_body(run: &mut Run) -> Checked {
    let (offer, preimage, _) = bought(run)?;
    let proof = format!("L402 {}:{preimage}", offer.token);
    let other = json!({ "request": "What is the capital of France?", "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let answer = run.api.post(ASK).header("authorization", &proof).json(&other).send().await?;
    let answer = answer.problem(402, "proof_for_another_request")?;
    if answer.value("/offer/unavailable").is_none() {
        let (bill, _) = read(&answer)?;
        answer.holds(bill.hash != offer.bill.hash, "an invoice of its own", "the invoice that was paid")?;
    }
    Ok(())
}

async fn refund(run: &mut Run) -> Checked {
    let (offer, preimage, _) = bought(run)?;
    let path = format!("/api/payments/{}", offer.bill.hash);
    let state = payment_of(run, &offer, &preimage).await?;
    if state.number("/refund/amountSats")? == 0 {
        return Err(Stop::skip("the request has used all of its price"));
    }
    let payable = payable(&state)?;
    let invoice = run.refund_invoice(payable).await?;
    let body = json!({ "invoice": invoice.as_str() });
    let proof = format!("L402 {}:{preimage}", offer.token);
    let claim = run.api.post(format!("{path}/refund")).header("authorization", &proof);
    claim.json(&body).send().await?.status(202)?;
    until_paid(run, &path, Some(&proof), &invoice).await
}
