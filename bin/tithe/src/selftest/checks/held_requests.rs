//! Requests whose payment is held until they are done.

use super::credits::ASK;
use super::offers::{payment_of, read};
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use crate::selftest::answer::Answer;
use crate::selftest::api::random_text;
use crate::selftest::bill::HELD;
use crate::selftest::known::PaidOffer;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use serde_json::{Value, json};

/// Asks for something that nobody pays for.
async fn ask(run: &Run, body: &Value) -> Checked<Answer> {
    run.api.post(ASK).json(body).send().await?.problem(402, "payment_required")
}

/// The offer of a request, if its payment is held.
async fn offer(run: &Run, request: &str) -> Checked<PaidOffer> {
    // Another run must not have bought it already.
    let request = format!("{request} (Not to be answered: {}.)", random_text());
    let body = json!({ "request": request, "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let answer = ask(run, &body).await?;
    if let Some(reason) = answer.value("/offer/unavailable").and_then(Value::as_str) {
        return Err(Stop::skip(format!("the server offers nothing now: {reason}")));
    }
    if answer.is("/offer/payment", HELD).is_err() {
        answer.value("/offer/payment").map_or(Ok(()), |_| answer.is("/offer/payment", "prepaid"))?;
        let reason =
            "the server has no hold invoices for single requests (TITHE_HOLD_REQUESTS), or none left";
        return Err(Stop::skip(reason));
    }
    let (bill, token) = read(&answer)?;
    Ok(PaidOffer { bill, token, body, proof: None })
}

pub(super) async fn held(run: &mut Run) -> Checked {
    let offer = offer(run, REQUEST).await?;
    // The payer has the preimage only when the request is done.
    let payment = run.pay("a request that is done first", &offer.bill).await?;
    let preimage = payment.preimage.reveal();
    let proof = format!("L402 {}:{preimage}", offer.token);
    let send = async || run.api.post(ASK).header("authorization", &proof).json(&offer.body).send().await;
    let reply = send().await?.status(200)?;
    reply.text_at("/result")?;
    let replayed = reply.required_header("Idempotency-Replayed")?;
    reply.holds(replayed == "true", "Idempotency-Replayed: true, because it was done before", replayed)?;
    reply.required_header("Payment-Receipt")?;
    let again = send().await?.status(200)?;
    again.holds(again.body == reply.body, "the first answer again", again.summary())?;
    let state = payment_of(run, &offer, &preimage).await?;
    state.is("/state", "used")?;
    let (cost, price) = (reply.number("/costMsats")?, offer.bill.amount.to_msats().get());
    state.is("/paidMsats", price)?;
    state.is("/chargedMsats", cost)?;
    state.holds(cost <= price, format!("at most the price, {price} msats"), cost)?;
    state.is("/refund/amountSats", price.saturating_sub(cost) / 1_000)
}

pub(super) async fn given_back(run: &mut Run) -> Checked {
    run.needs_simulated_backend().await?;
    let offer = offer(run, &format!("[sim:refuse] {REQUEST}")).await?;
    run.pay_in_vain("a request that fails", &offer.bill).await?;
    // Nothing was bought, so there is something to buy.
    let again = ask(run, &offer.body).await?;
    if again.value("/offer/unavailable").is_some() {
        return Ok(());
    }
    let (bill, _) = read(&again)?;
    again.holds(bill.hash != offer.bill.hash, "an invoice of its own", "the one whose payment came back")
}
