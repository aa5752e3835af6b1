//! A request that is paid for by the scheme `Payment`, and the receipt of one.

use super::ai_account::default_model;
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use crate::selftest::ai::Wire;
use crate::selftest::answer::Answer;
use crate::selftest::api::random_text;
use crate::selftest::bill::Bill;
use crate::selftest::known::{PaidOffer, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use serde_json::Value;
use tithe_lightning::Preimage;
use tithe_paywall::payment::{Challenge, Receipt};
use tithe_trust::VerifiedEvent;

/// The route, as the server's OpenAPI document writes it.
const RECEIPTS: &str = "/api/receipts/{id}";

/// The offer of this run.
pub(super) fn offered(run: &Run) -> Checked<PaidOffer> {
    learned(run.known.offer.as_ref(), "an offer")
}

/// The offer of this run with the preimage of its payment, and the answer that it has bought.
pub(super) fn bought(run: &Run) -> Checked<(PaidOffer, String, Answer)> {
    let offer = offered(run)?;
    let (preimage, reply) = learned(offer.proof.as_ref(), "an answer that was paid for")?;
    Ok((offer, preimage, reply))
}

/// The challenge of the scheme `Payment` that asks for this invoice.
fn challenge(answer: &Answer, bill: &Bill) -> Checked<Challenge> {
    let lines = answer.headers.get_all("www-authenticate").iter().filter_map(|line| line.to_str().ok());
    let mut challenges = lines.flat_map(Challenge::parse_all);
    let asks = |challenge: &Challenge| {
        challenge.charge_terms().is_some_and(|terms| terms.invoice == bill.bolt11.as_str())
    };
    challenges
        .find(asks)
        .ok_or_else(|| answer.fault("a challenge of `Payment` with the invoice of the offer", "none"))
}

/// The receipt in the header of an answer, which must be that of this payment.
pub(super) fn receipt_of(answer: &Answer, bill: &Bill) -> Checked<Receipt> {
    let header = answer.required_header("Payment-Receipt")?;
    let receipt = Receipt::decode(header)
        .map_err(|failure| answer.fault("a `Payment-Receipt` that can be read", failure))?;
    answer.holds(
        receipt.reference == *bill.hash.as_bytes(),
        format!("`Payment-Receipt` with the payment hash, {}", bill.hash),
        hex::encode(receipt.reference),
    )?;
    Ok(receipt)
}

/// The bytes of the preimage with which an invoice was paid.
pub(super) fn bytes_of(preimage: &Preimage, bill: &Bill) -> Checked<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(preimage.reveal(), &mut bytes)
        .map_err(|_| bill.fault("a preimage of 32 bytes", "another one"))?;
    Ok(bytes)
}

pub(super) async fn by_payment_scheme(run: &mut Run) -> Checked {
    let wire = Wire::Chat;
    run.needs_path(wire.path()).await?;
    let model = default_model(run).await?;
    // Another run must not have bought it already.
    let request = format!("{REQUEST} (Not to be answered: {}.)", random_text());
    let body = wire.body(&model, &request, OUTPUT_TOKENS_MAX);
    let offered = wire.refused(wire.request(&run.api, &body).send().await?, 402)?;
    if let Some(reason) = offered.value("/error/metadata/offer/unavailable").and_then(Value::as_str) {
        return Err(Stop::skip(format!("the server offers nothing now: {reason}")));
    }
    let bill = Bill::read_offered(&offered, "/error/metadata/offer")?;
    let challenge = challenge(&offered, &bill)?;
    let payment = run.pay("a chat by itself", &bill).await?;
    let credential = challenge.answer_charge(&bytes_of(&payment.preimage, &bill)?);
    let ask =
        async || run.api.post(wire.path()).header("authorization", &credential).json(&body).send().await;
    let answer = ask().await?.status(200)?;
    wire.read(&answer, false)?;
    let receipt = receipt_of(&answer, &bill)?;
    answer.holds(
        receipt.challenge_id.as_deref() == Some(challenge.id.as_str()),
        "`Payment-Receipt` with the id of the challenge",
        receipt.challenge_id.as_deref().unwrap_or("none"),
    )?;
    let again = ask().await?.status(200)?;
    again.holds(again.body == answer.body, "the first answer again", again.summary())?;
    // A proof of nothing is refused, whatever challenge it is for.
    let wrong = challenge.answer_charge(&[0; 32]);
    let call = run.api.post(wire.path()).header("authorization", &wrong).json(&body);
    let refused = wire.refused(call.send().await?, 401)?;
    refused.is("/error/metadata/code", "invalid_payment_proof")
}

pub(super) async fn receipt(run: &mut Run) -> Checked {
    run.needs_path(RECEIPTS).await?;
    let (offer, preimage, reply) = bought(run)?;
    let hash = offer.bill.hash.to_string();
    let path = format!("/api/receipts/{hash}");
    run.api.get(&path).send().await?.problem(401, "invalid_payment_proof")?;
    let proof = format!("L402 {}:{preimage}", offer.token);
    let receipt = run.api.get(&path).header("authorization", &proof).send().await?.status(200)?;
    receipt.is_private()?;
    receipt.is("/chargedMsats", reply.number("/costMsats")?)?;
    receipt.is("/payment/paidMsats", offer.bill.amount.to_msats().get())?;
    receipt.is("/payment/paymentHashes/0", hash)?;
    receipt_of(&reply, &offer.bill)?;
    let Some(event) = receipt.value("/event") else { return receipt.is_absent("/server/pubkey") };
    let signed = VerifiedEvent::from_value(event)
        .map_err(|failure| receipt.fault("`event` to be a Nostr event with a valid signature", failure))?;
    receipt.is("/server/pubkey", signed.pubkey().to_string())?;
    let content: Option<Value> = serde_json::from_str(signed.content()).ok();
    let mut shown = receipt.body.clone();
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("event");
    }
    receipt.holds(content.as_ref() == Some(&shown), "`event` to sign all other fields", signed.content())
}
