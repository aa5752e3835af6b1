//! Refunds of jobs.

use crate::selftest::answer::Answer;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::Refundable;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::Bolt11;
use tithe_money::Sats;

/// The route, as the server's OpenAPI document writes it. Servers that have it pay refunds.
pub(super) const ROUTE: &str = "/api/jobs/{jobId}/refund";

/// The pause between two questions about a refund under way.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn area() -> Area {
    Area {
        name: "refunds",
        section: "Jobs",
        checks: vec![
            Check::new("refund-wrong-claim-token", "a refund needs the job's own claim token", |run| {
                wrong_claim_token(run).boxed_local()
            })
            .after(&["job-money"]),
            Check::new(
                "refund-invalid-destination",
                "a refund to something that cannot be paid is a 400 that says what is wrong",
                |run| invalid_destination(run).boxed_local(),
            )
            .after(&["job-money"]),
            Check::new(
                "refund-paid",
                "a refund arrives at the customer's invoice, and asking again changes nothing",
                |run| paid(run).boxed_local(),
            )
            .after(&["refund-wrong-claim-token", "refund-invalid-destination"]),
        ],
    }
}

async fn refundable(run: &mut Run) -> Checked<Refundable> {
    run.needs_path(ROUTE).await?;
    run.known.refundable.clone().ok_or_else(|| Stop::skip("no job of this run has anything to refund"))
}

async fn asked(run: &Run, refund: &Refundable, token: Option<&str>, body: &Value) -> Checked<Answer> {
    let call = run.api.post(format!("{}/refund", refund.path)).json(body);
    let call = match token {
        Some(token) => call.bearer(token),
        None => call,
    };
    call.send().await
}

async fn wrong_claim_token(run: &mut Run) -> Checked {
    let refund = refundable(run).await?;
    let body = json!({ "lightningAddress": "nobody@example.com" });
    let other = format!("v1.{}", "A".repeat(43));
    for token in [None, Some("garbage"), Some(other.as_str())] {
        let answer = asked(run, &refund, token, &body).await?;
        answer.holds(answer.status == 401, "status 401", answer.summary())?;
    }
    Ok(())
}

async fn invalid_destination(run: &mut Run) -> Checked {
    let refund = refundable(run).await?;
    for (body, field) in [
        (json!({ "invoice": "lnbc1garbage" }), "invoice"),
        (json!({ "invoice": 5 }), "invoice"),
        (json!({ "lightningAddress": "no address" }), "lightningAddress"),
        (json!({}), "invoice"),
    ] {
        asked(run, &refund, Some(&refund.claim_token), &body).await?.names_field(field)?;
    }
    let now = run.api.get(&refund.path).send().await?.status(200)?;
    now.is("/refund/state", "pending")?;
    now.is("/refund/amountSats", refund.amount.get())
}

/// What can be paid of the refund that an answer shows: the refund less the limit of the routing fee, which the customer bears.
pub(super) fn payable(answer: &Answer) -> Checked<Sats> {
    let amount = answer.number("/refund/amountSats")?;
    let fee_limit = answer.number("/refund/feeLimitSats").unwrap_or(0);
    let payable = answer.number("/refund/payableSats").unwrap_or(amount.saturating_sub(fee_limit));
    answer.holds(payable <= amount, format!("at most {amount} sats to be payable"), payable)?;
    match Sats::new(payable) {
        Ok(payable) if !payable.is_zero() => Ok(payable),
        _ => Err(Stop::skip(format!("a refund of {amount} sats is less than its routing fee may be"))),
    }
}

/// Reads a path until its refund is paid, to this invoice.
pub(super) async fn until_paid(
    run: &Run,
    path: &str,
    authorization: Option<&str>,
    invoice: &Bolt11,
) -> Checked {
    loop {
        let call = run.api.get(path);
        let call = match authorization {
            Some(proof) => call.header("authorization", proof),
            None => call,
        };
        let answer = call.send().await?.status(200)?;
        let state = answer.text_at("/refund/state")?;
        answer.is_one_of("/refund/state", &["pending", "paying", "paid"])?;
        let has_arrived = run.payer.has_received(invoice.payment_hash()).await;
        if state == "paid" && matches!(has_arrived, Ok(Some(true) | None)) {
            return answer.is("/refund/paymentHash", invoice.payment_hash().to_string());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn paid(run: &mut Run) -> Checked {
    let refund = refundable(run).await?;
    let token = Some(refund.claim_token.as_str());
    let payable = payable(&run.api.get(&refund.path).send().await?.status(200)?)?;
    let more = Sats::new(payable.get().saturating_add(1)).unwrap_or(Sats::MAX);
    let too_much = json!({ "invoice": run.refund_invoice(more).await?.as_str() });
    asked(run, &refund, token, &too_much).await?.names_field("invoice")?;
    let invoice = run.refund_invoice(payable).await?;
    let body = json!({ "invoice": invoice.as_str() });
    let first = asked(run, &refund, token, &body).await?.status(202)?;
    first.is_one_of("/refund/state", &["pending", "paying", "paid"])?;
    until_paid(run, &refund.path, None, &invoice).await?;
    let again = asked(run, &refund, token, &body).await?;
    again.holds(
        matches!(again.status, 202 | 409),
        "status 202, or 409 because nothing is due",
        again.summary(),
    )?;
    let after = run.api.get(&refund.path).send().await?.status(200)?;
    after.is("/refund/state", "paid")?;
    after.is("/refund/paymentHash", invoice.payment_hash().to_string())
}
