//! Sessions of the scheme `Payment`: a deposit that is opened, used, topped up and closed.

use super::credits::ASK;
use super::payment_scheme::{bytes_of, receipt_of};
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use super::refunds::until_paid;
use crate::selftest::answer::Answer;
use crate::selftest::api::{Call, random_text};
use crate::selftest::bill::Bill;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{PaymentSession, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tithe_money::Sats;
use tithe_paywall::payment::{Challenge, SessionAction, SessionRequest};

pub(super) fn area() -> Area {
    Area {
        name: "payment-sessions",
        section: "Paid in one go",
        checks: vec![
            Check::new(
                "deposit-opened",
                "a deposit that was paid opens a session, with the answer to its request and a receipt",
                |run| opened(run).boxed_local(),
            )
            // The payer's wallet is open then, and can make the return invoice before the deposit is paid.
            .after(&["offer-paid"]),
            Check::new(
                "deposit-used",
                "the session pays for another request, and a challenge is used for one only",
                |run| used(run).boxed_local(),
            )
            .after(&["deposit-opened"]),
            Check::new("deposit-topped-up", "another deposit tops the session up, once", |run| {
                topped_up(run).boxed_local()
            })
            .after(&["deposit-opened"]),
            Check::new(
                "deposit-closed",
                "closing the session pays what is left to its return invoice, and closing again says the same",
                |run| closed(run).boxed_local(),
            )
            // Also when something in between has failed: what was paid in is to come back.
            .after(&["deposit-opened"]),
        ],
    }
}

/// A request that no other run has sent.
fn request() -> Value {
    let request = format!("{REQUEST} (Not to be answered: {}.)", random_text());
    json!({ "request": request, "maxOutputTokens": OUTPUT_TOKENS_MAX })
}

/// The challenge of a session in a 402; `None` if the server offers none.
fn offered(answer: &Answer) -> Option<(Challenge, SessionRequest)> {
    let lines = answer.headers.get_all("www-authenticate").iter().filter_map(|line| line.to_str().ok());
    let mut challenges = lines.flat_map(Challenge::parse_all);
    challenges.find_map(|challenge| challenge.session_terms().map(|terms| (challenge, terms)))
}

/// The challenge of a session, as clients get it that have no request; with a deposit, if there is room for one more.
async fn challenged(run: &Run) -> Checked<(Challenge, Option<Bill>)> {
    let answer = run.api.get(ASK).send().await?.problem(402, "payment_required")?;
    let missing = || answer.fault("the challenge of a session (`Payment`, intent `session`)", "none");
    let (challenge, terms) = offered(&answer).ok_or_else(missing)?;
    let deposit = terms.deposit_invoice.as_ref().map(|_| Bill::of_deposit(&answer, &terms)).transpose()?;
    answer.is_private()?;
    Ok((challenge, deposit))
}

/// The session of this run.
fn session(run: &Run) -> Checked<PaymentSession> {
    learned(run.known.payment_session.as_ref(), "a session of the scheme `Payment`")
}

impl PaymentSession {
    /// The credential that has opened the session.
    fn open(&self) -> String {
        let (preimage, return_invoice) = (self.preimage, self.return_invoice.as_str().to_owned());
        self.challenge.answer_session(&SessionAction::Open { preimage, return_invoice })
    }

    fn bearer(&self, challenge: &Challenge) -> String {
        let (session_id, preimage) = (*self.deposit.hash.as_bytes(), self.preimage);
        challenge.answer_session(&SessionAction::Bearer { session_id, preimage })
    }

    fn close(&self, challenge: &Challenge) -> String {
        let (session_id, preimage) = (*self.deposit.hash.as_bytes(), self.preimage);
        challenge.answer_session(&SessionAction::Close { session_id, preimage })
    }
}

/// A request with this credential.
fn asking<'a>(run: &'a Run, credential: &str, body: &Value) -> Call<'a> {
    run.api.post(ASK).header("authorization", credential).json(body)
}

async fn opened(run: &mut Run) -> Checked {
    let body = request();
    let asking_for_one = run.api.post(ASK).header("accept-payment", "lightning/session").json(&body);
    let answer = asking_for_one.send().await?.problem(402, "payment_required")?;
    let with_deposit = offered(&answer).filter(|(_, terms)| terms.deposit_invoice.is_some());
    let Some((challenge, terms)) = with_deposit else {
        return Err(Stop::skip("the server offers no session of the scheme `Payment` now"));
    };
    let deposit = Bill::of_deposit(&answer, &terms)?;
    let return_invoice = run.refund_invoice(Sats::ZERO).await?;
    if return_invoice.amount().is_some() {
        return Err(Stop::skip("the payer's wallet makes no invoices without an amount"));
    }
    let payment = run.pay("the deposit of a session", &deposit).await?;
    let preimage = bytes_of(&payment.preimage, &deposit)?;
    let paid_sats = deposit.amount.get();
    let session = PaymentSession { challenge, deposit, preimage, return_invoice, paid_sats };
    let open = session.open();
    run.known.payment_session = Some(session.clone());
    let reply = asking(run, &open, &body).send().await?.status(200)?;
    reply.text_at("/result")?;
    let receipt = receipt_of(&reply, &session.deposit)?;
    reply.holds(
        receipt.challenge_id.as_deref() == Some(session.challenge.id.as_str()),
        "`Payment-Receipt` with the id of the challenge",
        receipt.challenge_id.as_deref().unwrap_or("none"),
    )?;
    let again = asking(run, &open, &body).send().await?.status(200)?;
    again.holds(again.body == reply.body, "the first answer again", again.summary())
}

async fn used(run: &mut Run) -> Checked {
    let session = session(run)?;
    let (challenge, _) = challenged(run).await?;
    let (body, bearer) = (request(), session.bearer(&challenge));
    let reply = asking(run, &bearer, &body).send().await?.status(200)?;
    reply.text_at("/result")?;
    receipt_of(&reply, &session.deposit)?;
    let again = asking(run, &bearer, &body).send().await?.status(200)?;
    again.holds(again.body == reply.body, "the first answer again", again.summary())?;
    asking(run, &bearer, &request()).send().await?.problem(402, "payment_ended")?;
    // Neither does somebody else's preimage use the session.
    let wrong = PaymentSession { preimage: [0; 32], ..session };
    let refused = asking(run, &wrong.bearer(&challenge), &body).send().await?;
    refused.problem(401, "invalid_payment_proof").map(|_| ())
}

async fn topped_up(run: &mut Run) -> Checked {
    let mut session = session(run)?;
    let (challenge, bill) = challenged(run).await?;
    let bill = bill.ok_or_else(|| Stop::skip("the server offers no deposit now"))?;
    let payment = run.pay("the top-up of a session", &bill).await?;
    session.paid_sats = session.paid_sats.saturating_add(bill.amount.get());
    run.known.payment_session = Some(session.clone());
    let top_up_preimage = bytes_of(&payment.preimage, &bill)?;
    let session_id = *session.deposit.hash.as_bytes();
    let top_up = challenge.answer_session(&SessionAction::TopUp { session_id, top_up_preimage });
    for _again in 0..2 {
        let answer = run.api.get(ASK).header("authorization", &top_up).send().await?.status(200)?;
        answer.is("/status", "ok")?;
        receipt_of(&answer, &session.deposit)?;
    }
    Ok(())
}

async fn closed(run: &mut Run) -> Checked {
    let session = session(run)?;
    let (challenge, _) = challenged(run).await?;
    let close = session.close(&challenge);
    let closing = async || run.api.get(ASK).header("authorization", &close).send().await?.status(200);
    let answer = closing().await?;
    answer.is("/status", "closed")?;
    if answer.text_at("/refundStatus")? == "skipped" {
        return Err(Stop::skip("what the session has left is less than its routing fee may be"));
    }
    let (refund, paid) = (answer.number("/refundSats")?, session.paid_sats);
    let expected = format!("`refundSats` to be at most what was paid in, {paid}, and more than nothing");
    answer.holds((1..=paid).contains(&refund), expected, refund)?;
    let path = format!("/api/payments/{}", session.deposit.hash);
    until_paid(run, &path, Some(&session.open()), &session.return_invoice).await?;
    let again = closing().await?;
    again.is("/refundStatus", "succeeded")?;
    let receipt = receipt_of(&again, &session.deposit)?;
    again.holds(receipt.refund.is_some(), "`Payment-Receipt` with the refund", "one without")?;
    let (challenge, _) = challenged(run).await?;
    let refused = asking(run, &session.bearer(&challenge), &request()).send().await?;
    refused.problem(402, "payment_ended").map(|_| ())
}
