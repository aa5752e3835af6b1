//! Sessions: opening one, and who may use it.

use super::prices;
use crate::selftest::answer::Answer;
use crate::selftest::bill::Bill;
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::known::{Session, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use futures_util::future::ready;
use reqwest::Method;
use serde_json::json;
use tithe_paywall::{Macaroon, RootKey};

/// The least deposit that is tried, in sats.
const DEPOSIT_MIN: u64 = 100;

/// How many requests the deposit must be enough for.
const REQUESTS: u64 = 28;

pub(super) fn area() -> Area {
    Area {
        name: "sessions",
        section: "Sessions",
        checks: vec![
            Check::new(
                "session-create",
                "a session is created, unpaid, with an invoice and a macaroon",
                |run| create(run).boxed_local(),
            ),
            Check::new(
                "session-invoice",
                "the deposit's invoice is BOLT11 with the amount, hash and expiry beside it",
                |run| ready(invoice(run)).boxed_local(),
            )
            .after(&["session-create"]),
            Check::new("session-unpaid", "the macaroon is worth nothing until the invoice is paid", |run| {
                unpaid(run).boxed_local()
            })
            .after(&["session-create"]),
            Check::new("session-no-macaroon", "every call without a macaroon is a 401", |run| {
                no_macaroon(run).boxed_local()
            })
            .after(&["session-create"]),
            Check::new(
                "session-bad-macaroon",
                "a macaroon that is garbled, altered or of another server is a 401",
                |run| bad_macaroon(run).boxed_local(),
            )
            .after(&["session-create"]),
            Check::new("session-other-macaroon", "the macaroon of another session is a 403", |run| {
                other_macaroon(run).boxed_local()
            })
            .after(&["session-create"]),
            Check::new(
                "session-active",
                "after the deposit is paid, the session is active with that balance",
                |run| active(run).boxed_local(),
            )
            .after(&["session-invoice", "session-unpaid"]),
            Check::new(
                "session-owner-path",
                "the macaroon shows what its session's invoice pays for, and the hash alone does not",
                |run| owner_path(run).boxed_local(),
            )
            .after(&["session-active"]),
        ],
    }
}

/// The macaroon's calls, all of which need one.
pub(super) fn calls(session: &Session) -> [(Method, String); 6] {
    [
        (Method::GET, session.path("")),
        (Method::POST, session.path("/request")),
        (Method::GET, session.path("/requests")),
        (Method::GET, session.path("/keys")),
        (Method::POST, session.path("/topup")),
        (Method::POST, session.path("/close")),
    ]
}

/// A body that is right for each of these calls.
pub(super) fn body() -> serde_json::Value {
    let mut body = prices::order();
    if let serde_json::Value::Object(fields) = &mut body {
        fields.insert("amountSats".to_owned(), DEPOSIT_MIN.into());
    }
    body
}

/// A session with the least deposit that the server takes and that is enough. An operator may set a minimum.
async fn created(run: &Run) -> Checked<(u64, Answer)> {
    let least = prices::most_sats(run).await?.saturating_mul(REQUESTS);
    let left = run.purse.left().to_sats_rounding_down().get();
    let mut deposit = DEPOSIT_MIN.max(least);
    loop {
        let answer = run.api.post("/api/sessions").json(&json!({ "amountSats": deposit })).send().await?;
        let is_too_little = answer.status == 400 && answer.detail().contains("amountSats");
        // Unless a larger one can be paid, this answer is as good as any.
        let larger = deposit.saturating_mul(2);
        if !is_too_little || larger > left.max(deposit) {
            if is_too_little {
                let reason = format!("no deposit within the budget is taken: {}", answer.summary());
                return Err(Stop::OverBudget(reason));
            }
            return Ok((deposit, answer.status(201)?));
        }
        deposit = larger;
    }
}

async fn create(run: &mut Run) -> Checked {
    let (deposit, created) = created(run).await?;
    created.is("/state", "awaiting_payment")?;
    created.is("/trust_tier", "anonymous")?;
    created.is("/invoice/amountSats", deposit)?;
    created.time("/expiresAt")?;
    let macaroon = created.owned("/macaroon")?;
    let fits = !macaroon.contains(|c: char| c.is_whitespace());
    created.holds(fits, "a macaroon without spaces and line breaks", "one with them")?;
    created.is_private()?;
    run.known.session = Some(Session {
        id: created.owned("/sessionId")?,
        macaroon,
        created,
        deposit,
        paid_msats: 0,
        spent_msats: 0,
        requests: Vec::new(),
    });
    Ok(())
}

fn invoice(run: &mut Run) -> Checked {
    let session = learned(run.known.session.as_ref(), "a session")?;
    let bill = Bill::read(&session.created, "/invoice")?;
    let is_anonymous = !bill.description.contains(&session.id);
    session.created.holds(
        is_anonymous,
        "a BOLT11 description without ids",
        excerpt::short(&bill.description),
    )?;
    run.known.deposit = Some(bill);
    Ok(())
}

async fn unpaid(run: &mut Run) -> Checked {
    let session = learned(run.known.session.as_ref(), "a session")?;
    let answer = run.api.get(session.path("")).bearer(&session.macaroon).send().await?;
    if answer.status != 401 {
        let answer = answer.status(200)?;
        answer.is("/state", "awaiting_payment")?;
        answer.is("/balanceMsats", 0)?;
        answer.is_private()?;
    }
    let order = prices::order();
    let answer = run.api.post(session.path("/request")).bearer(&session.macaroon).json(&order).send().await?;
    answer.holds(matches!(answer.status, 401 | 402), "status 402 or 401", answer.summary())?;
    if answer.status == 402 {
        answer.is("/reason", "no_payment")?;
    }
    Ok(())
}

async fn no_macaroon(run: &mut Run) -> Checked {
    let session = learned(run.known.session.as_ref(), "a session")?;
    for (method, path) in calls(&session) {
        let call = run.api.call(method.clone(), path);
        let call = if method == Method::POST { call.json(&body()) } else { call };
        call.send().await?.problem(401, "macaroon_required")?;
    }
    Ok(())
}

async fn bad_macaroon(run: &mut Run) -> Checked {
    let session = learned(run.known.session.as_ref(), "a session")?;
    let macaroon: Macaroon = session.macaroon.parse().map_err(|wrong| {
        session.created.fault("`macaroon` to be a macaroon (libmacaroons v2, base64)", wrong)
    })?;
    let forged = Macaroon::mint(&RootKey::from_bytes(&[7; 32]), macaroon.location(), macaroon.identifier());
    let forged = forged.map(|forged| forged.encode()).unwrap_or_default();
    // A macaroon ends with its signature.
    let mut altered = session.macaroon.clone();
    altered.truncate(altered.len().saturating_sub(8));
    altered.push_str("AAAAAAAA");
    for wrong in ["garbage", &altered, &forged] {
        for (method, path) in calls(&session) {
            let call = run.api.call(method.clone(), path).bearer(wrong);
            let call = if method == Method::POST { call.json(&body()) } else { call };
            call.send().await?.problem(401, "invalid_macaroon")?;
        }
    }
    Ok(())
}

async fn other_macaroon(run: &mut Run) -> Checked {
    let session = learned(run.known.session.as_ref(), "a session")?;
    // The original's clients write the field like this.
    let other = json!({ "amount_sats": session.deposit });
    let other = run.api.post("/api/sessions").json(&other).send().await?.status(201)?.owned("/macaroon")?;
    for (method, path) in calls(&session) {
        let call = run.api.call(method.clone(), path).bearer(&other);
        let call = if method == Method::POST { call.json(&body()) } else { call };
        call.send().await?.problem(403, "wrong_session")?;
    }
    run.known.other_macaroon = Some(other);
    Ok(())
}

async fn active(run: &mut Run) -> Checked {
    let mut session = learned(run.known.session.as_ref(), "a session")?;
    let bill = learned(run.known.deposit.as_ref(), "an invoice")?;
    let paid = run.pay("the deposit of a session", &bill).await?;
    session.paid_msats = bill.amount.to_msats().get();
    let wrong = ["exhausted", "closed", "expired"];
    let answer = run.until_state(&session.path(""), Some(&session.macaroon), &["active"], &wrong).await?;
    answer.is("/sessionId", session.id.clone())?;
    answer.is("/balanceMsats", session.balance_msats())?;
    answer.is("/balanceSats", bill.amount.get())?;
    answer.is("/heldMsats", 0)?;
    answer.is("/spentMsats", 0)?;
    answer.is("/trust_tier", "anonymous")?;
    answer.number("/minimumBalanceSats")?;
    answer.time("/expiresAt")?;
    answer.is_absent("/pendingTopup")?;
    // The macaroon with the proof of payment, as L402 clients send it, is the same credential.
    let l402 = format!("L402 {}:{}", session.macaroon, paid.preimage.reveal());
    let with_proof =
        run.api.get(session.path("")).header("authorization", &l402).send().await?.status(200)?;
    with_proof.is("/balanceMsats", session.balance_msats())?;
    run.known.session = Some(session);
    Ok(())
}

async fn owner_path(run: &mut Run) -> Checked {
    let session = learned(run.known.session.as_ref(), "a session")?;
    let hash = learned(run.known.deposit.as_ref(), "an invoice")?.hash;
    let path = format!("/api/invoices/{hash}");
    let answer = run.api.get(&path).send().await?.status(200)?;
    answer.is("/purpose", "session_deposit")?;
    answer.is("/state", "paid")?;
    answer.is_absent("/ownerPath")?;
    let answer = run.api.get(&path).bearer(&session.macaroon).send().await?.status(200)?;
    answer.is("/ownerPath", session.path(""))
}
